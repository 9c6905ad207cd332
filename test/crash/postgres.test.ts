import { afterAll, beforeAll, describe, expect } from "vitest";
import { missingPostgres, type PostgresServer, startPostgres } from "../support/postgres.ts";
import { openAddress } from "./address.ts";
import { crashMatrix } from "./matrix.ts";

const missing = missingPostgres();
if (missing !== undefined) process.stderr.write(`SKIPPED: crashes on PostgreSQL, ${missing}\n`);

describe.skipIf(missing !== undefined)(`PostgreSQL${missing === undefined ? "" : ` (SKIPPED: ${missing})`}`, () => {
  let server: PostgresServer;
  let schemas = 0;
  beforeAll(async () => {
    // Hosts are killed here, never the server.
    server = await startPostgres({ fsync: "off" });
  }, 60_000);
  afterAll(() => server.stop());

  crashMatrix("crash matrix", () => {
    const schema = `crash_${schemas++}`;
    const address = `postgres:${schema}:${server.address}`;
    return {
      address,
      open: () => openAddress(address),
      async check() {
        // What a host that is dead had begun is undone: nothing of it holds a lock.
        const query = "select count(*)::int as count from pg_stat_activity where state = 'idle in transaction'";
        const idle = async (): Promise<unknown> => (await server.query(query)) as unknown;
        await expect.poll(idle).toEqual([{ count: 0 }]);
      },
      dispose: async () => void (await server.query(`drop schema if exists ${schema} cascade`)),
    };
  });
});
