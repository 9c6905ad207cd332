import { type PostgresClient, postgresStore } from "@spanduct/store/postgres";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { storeContract } from "../../../../test/contract/store.ts";
import { missingPostgres, type PostgresServer, startPostgres } from "../../../../test/support/postgres.ts";
import { contents, impatient, isRolledBack, ScriptedHost, workflow } from "../../../../test/support/scripted-executions.ts";

const missing = missingPostgres();
if (missing !== undefined) process.stderr.write(`SKIPPED: PostgreSQL, ${missing}\n`);

describe.skipIf(missing !== undefined)(`PostgreSQL${missing === undefined ? "" : ` (SKIPPED: ${missing})`}`, () => {
  let server: PostgresServer;
  let schemas = 0;
  beforeAll(async () => {
    // Nothing here outlives the server.
    server = await startPostgres({ fsync: "off" });
  }, 60_000);
  afterAll(() => server.stop());

  storeContract("postgresStore", async () => {
    const schema = `contract_${schemas++}`;
    return {
      host: (faults) => postgresStore(server.address, { schema, ...(faults && { faults }) }),
      damage: async (id) => void (await server.query(`update ${schema}.states set snapshot = '\\xff' where id = $1`, [id])),
      age: async () => void (await server.query(`update ${schema}.schema_version set version = 99`)),
      dispose: async () => void (await server.query(`drop schema if exists ${schema} cascade`)),
    };
  });

  it("connections that are lost in the middle of anything: rolled back, tried again, nothing is lost", async () => {
    const schema = `lost_${schemas++}`;
    const script = workflow(6);
    const alone = new ScriptedHost(postgresStore(server.address, { schema: `${schema}_alone` }));
    await alone.finish("order", script);
    await alone.executions.drain();
    await alone.executions.close();

    const pool = new pg.Pool({ connectionString: server.address, application_name: schema });
    pool.on("error", () => undefined);
    pool.on("connect", (client) => client.on("error", () => undefined));
    const cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1";
    let turns = 0;
    const connect = async (): Promise<PostgresClient> => {
      const client = await pool.connect();
      const query = client.query.bind(client) as PostgresClient["query"];
      return {
        release: (destroy) => client.release(destroy),
        query: async (given) => {
          if (++turns % 11 === 0) await server.query(cut, [schema]);
          return await query(given);
        },
      };
    };
    const tested = new ScriptedHost(postgresStore({ connect, end: () => pool.end() }, { schema }), {
      retry: { attempts: 20 },
    });
    await tested.finish("order", script);
    await tested.executions.drain().catch(() => undefined);
    expect(tested.errors.length).toBeGreaterThan(3);
    expect(await tested.executions.inspect("order")).toMatchObject({ status: "done", revision: 6 });
    // What it had claimed when a connection was lost is its own until the lease is over.
    const later = new ScriptedHost(postgresStore(server.address, { schema }), { environment: impatient(Date.now()) });
    await later.executions.drain();
    const exported = [...tested.exported, ...later.exported];
    expect(contents(exported.filter((span) => !isRolledBack(span)))).toEqual(alone.committed);
    expect(await later.executions.inspect("order")).toMatchObject({ backlog: 0 });
    await later.executions.close();
    await tested.executions.close();
    await pool.end();
  });

  it("a pool that was given stays its owner's; an address that leads nowhere is store_failed", async () => {
    const pool = new pg.Pool({ connectionString: server.address });
    pool.on("error", () => undefined);
    const store = postgresStore(pool, { schema: `pool_${schemas++}` });
    await store.open();
    await store.close();
    expect((await pool.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
    await pool.end();
    await expect(postgresStore("postgresql://nobody@localhost/none?host=/nowhere").open()).rejects.toMatchObject({
      code: "store_failed",
    });
    expect(() => postgresStore(pool, { schema: 'x"; drop' })).toThrow(TypeError);
  });
});
