import { isTunnelError, TunnelError } from "@spanduct/protocol";
import { digest } from "../checksum.ts";
import type { FaultHook, Transaction } from "../fault-point.ts";
import { revisionConflict } from "../revision-conflict.ts";
import { newerSchema } from "../schema-version.ts";
import type {
  Acquired,
  AcquireRequest,
  Claimed,
  Commit,
  ExecutionSummary,
  ListQuery,
  OutboxRow,
  Pruned,
  RollBack,
  StateStore,
  StoredExecution,
  StoredProgram,
} from "../state-store.ts";
import { executionOf, type StoredRow, SUMMARY_COLUMNS, type SummaryRow, summaryOf } from "../summary-row.ts";
import { MIGRATIONS } from "./migrations.ts";

/** A connection: that of `pg`. */
export interface PostgresClient {
  query(
    query: string | { readonly name: string; readonly text: string; readonly values: unknown[] },
  ): Promise<{ readonly rows: unknown[]; readonly rowCount: number | null }>;
  release(destroy?: boolean): void;
  on?(event: "error", listener: (error: Error) => void): unknown;
}

/** Connections: a `Pool` of `pg`. */
export interface PostgresPool {
  connect(): Promise<PostgresClient>;
  end(): Promise<void>;
}

/** How a store in PostgreSQL is set up. */
export interface PostgresStoreOptions {
  /** Schema that the tables are in, made when it is not there: letters, digits and underscores. Default `spanduct`. */
  readonly schema?: string;
  /** Connections of a store that is given an address, default 4. */
  readonly connections?: number;
  /** Given by tests. */
  readonly faults?: FaultHook;
}

/**
 * A store in PostgreSQL (13 or later), for any number of hosts. A commit is as safe as `synchronous_commit` of the server says;
 * leases, claims and acknowledgements do not wait for the disk, because losing one costs only work that is done again.
 *
 * @param connection a `Pool` of `pg`, which stays the caller's, or an address for one of its own:
 * `postgresql://user@host/database`; `pg` is loaded when the store is opened then (TypeError where it is not installed)
 * @throws TypeError for a schema that is not a plain name
 */
export function postgresStore(connection: PostgresPool | string, options: PostgresStoreOptions = {}): StateStore {
  return new PostgresStore(connection, options);
}

/** What migrations of all stores of a database wait for: any number that nobody else is likely to take. */
const MIGRATION_LOCK = 7_298_104_611;

const FOREIGN_KEY_VIOLATION = "23503";

type Query = <Row>(text: string, values?: unknown[]) => Promise<{ readonly rows: Row[]; readonly count: number }>;

class PostgresStore implements StateStore {
  readonly name: string;
  readonly faults: FaultHook | undefined;
  readonly #connection: PostgresPool | string;
  readonly #connections: number;
  readonly #schema: string;
  /** Names of statements, by their text. */
  readonly #names: Map<string, string> = new Map();
  readonly #heard: WeakSet<PostgresClient> = new WeakSet();
  #pool: PostgresPool | undefined;

  constructor(connection: PostgresPool | string, { schema = "spanduct", connections = 4, faults }: PostgresStoreOptions) {
    if (!/^[a-z_][a-z0-9_]{0,62}$/.test(schema)) throw new TypeError(`${JSON.stringify(schema)} is not a plain name`);
    this.name = `PostgreSQL schema ${schema}`;
    this.faults = faults;
    this.#connection = connection;
    this.#connections = connections;
    this.#schema = schema;
  }

  async open(): Promise<void> {
    const connection = this.#connection;
    this.#pool = typeof connection === "string" ? await newPool(connection, this.#connections) : connection;
    try {
      await this.#migrate();
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async #migrate(): Promise<void> {
    await this.#transaction("migrate", async (query) => {
      await query("select pg_advisory_xact_lock($1)", [MIGRATION_LOCK]);
      await query(`create schema if not exists ${this.#schema}`);
      await query(`create table if not exists ${this.#schema}.schema_version (version integer not null)`);
      const { rows } = await query<{ version: number | null }>(
        `select max(version) as version from ${this.#schema}.schema_version`,
      );
      const done = rows[0]?.version ?? 0;
      if (done > MIGRATIONS.length) throw newerSchema(this.name, done, MIGRATIONS.length);
      if (done === MIGRATIONS.length) return;
      await query(`set local search_path to ${this.#schema}`);
      for (const migration of MIGRATIONS.slice(done)) await query(migration);
      await query("delete from schema_version");
      await query("insert into schema_version values ($1)", [MIGRATIONS.length]);
      this.faults?.("migrate:written");
    });
  }

  async acquire(request: AcquireRequest): Promise<Acquired> {
    const { id, program, seed, lease, holder, nowMs, untilMs } = request;
    return await this.#transaction(
      "acquire",
      async (query): Promise<Acquired> => {
        const { count } = await query(
          `insert into ${this.#schema}.executions as e
           (id, program, status, seed, revision, attempts, live_spans, snapshot_bytes, lease, lease_holder, lease_until,
            created_at, updated_at)
           values ($1, $2, 'open', $3, 0, 1, 0, 0, $4, $5, $6, $7, $7)
           on conflict (id) do update set lease = $4, lease_holder = $5, lease_until = $6, attempts = e.attempts + 1,
             program = case when e.revision = 0 then $2 else e.program end
           where e.status = 'open' and (e.lease is null or e.lease_until <= $7)`,
          [id, program, seed, lease, holder, untilMs, nowMs],
        );
        this.faults?.("acquire:written");
        // Not in the same statement: that would see the state from before a commit that it has waited for.
        const execution = (await this.#load(query, id)) as StoredExecution;
        return { kind: count === 1 ? "acquired" : "refused", execution };
      },
      "quick",
    );
  }

  async renew(id: string, lease: string, untilMs: number): Promise<boolean> {
    return await this.#transaction(
      "renew",
      async (query) => {
        const text = `update ${this.#schema}.executions set lease_until = $1 where id = $2 and lease = $3`;
        return (await query(text, [untilMs, id, lease])).count === 1;
      },
      "quick",
    );
  }

  async commit(commit: Commit): Promise<"committed" | "program_changed"> {
    const { id, lease, revision, status, program, state, liveSpans, outbox, nowMs } = commit;
    return await this.#transaction("commit", async (query): Promise<"committed" | "program_changed" | RolledBack> => {
      if (!(await this.#writeProgram(query, program, revision === 0))) {
        await this.#ensureHeld(query, commit);
        return new RolledBack("program_changed");
      }
      this.faults?.("commit:program");
      // One statement: what takes longest is the way to the server.
      const { rows } = await query<{ committed: number }>(
        `with e as (
           update ${this.#schema}.executions set status = $4, program_used = $5, revision = revision + 1, live_spans = $6,
             snapshot_bytes = $7, lease = null, lease_holder = null, lease_until = 0, committed_by = $2, updated_at = $8
           where id = $1 and lease = $2 and revision = $3
           returning id
         ), s as (
           insert into ${this.#schema}.states (id, spans, own_metadata, trace, checksum, snapshot)
           select e.id, $9, $10, $11, $12, $13::bytea from e
           on conflict (id) do update set spans = excluded.spans, own_metadata = excluded.own_metadata, trace = excluded.trace,
             checksum = excluded.checksum, snapshot = excluded.snapshot
         ), o as (
           insert into ${this.#schema}.outbox (id, payload)
           select e.id, given.payload from e, unnest($14::text[]) with ordinality as given (payload, place) order by given.place
         )
         select count(*)::int as committed from e`,
        [
          id,
          lease,
          revision,
          status,
          status === "done" ? null : program.name,
          liveSpans,
          state.snapshot?.length ?? 0,
          nowMs,
          state.spans,
          state.ownMetadata ?? null,
          state.trace,
          state.checksum,
          state.snapshot ?? null,
          outbox,
        ],
      );
      if (rows[0]?.committed !== 1) throw revisionConflict(id, revision);
      this.faults?.("commit:execution");
      this.faults?.("commit:state");
      this.faults?.("commit:outbox");
      return "committed";
    });
  }

  /** @returns false when what is there is not what the state was written against */
  async #writeProgram(query: Query, { name, digest, next }: Commit["program"], isFirst: boolean): Promise<boolean> {
    const programs = `${this.#schema}.programs`;
    if (next === undefined) {
      if (!isFirst) return true;
      // Kept from being pruned until the execution refers to it.
      const { rows } = await query<{ digest: string }>(`select digest from ${programs} where name = $1 for key share`, [name]);
      return rows[0] !== undefined && rows[0].digest === digest;
    }
    const { count } =
      digest === undefined
        ? await query(`insert into ${programs} (name, digest, metadata) values ($1, $2, $3) on conflict do nothing`, [
            name,
            next.digest,
            next.metadata,
          ])
        : await query(`update ${programs} set digest = $2, metadata = $3 where name = $1 and digest = $4`, [
            name,
            next.digest,
            next.metadata,
            digest,
          ]);
    return count === 1;
  }

  /** Whoever has lost the execution need not hear of its program. */
  async #ensureHeld(query: Query, { id, lease, revision }: Commit): Promise<void> {
    const { count } = await query(`select 1 from ${this.#schema}.executions where id = $1 and lease = $2 and revision = $3`, [
      id,
      lease,
      revision,
    ]);
    if (count === 0) throw revisionConflict(id, revision);
  }

  async rollBack({ id, lease, outbox, park, nowMs }: RollBack): Promise<void> {
    await this.#transaction("roll back", async (query) => {
      await this.#append(query, id, outbox);
      this.faults?.("roll back:outbox");
      await query(
        `update ${this.#schema}.executions set lease = null, lease_holder = null, lease_until = 0,
           status = case when $3::text is null then status else 'parked' end, reason = coalesce($3, reason),
           updated_at = case when $3::text is null then updated_at else $4 end
         where id = $1 and lease = $2`,
        [id, lease, park ?? null, nowMs],
      );
      this.faults?.("roll back:execution");
    });
  }

  async unpark(id: string, nowMs: number): Promise<boolean> {
    return await this.#transaction("unpark", async (query) => {
      const text = `update ${this.#schema}.executions set status = 'open', reason = null, updated_at = $2
        where id = $1 and status = 'parked'`;
      return (await query(text, [id, nowMs])).count === 1;
    });
  }

  async load(id: string): Promise<StoredExecution | undefined> {
    return await this.#attempt((query) => this.#load(query, id));
  }

  async loadProgram(name: string): Promise<StoredProgram | undefined> {
    return await this.#attempt(async (query) => {
      const text = `select digest, metadata from ${this.#schema}.programs where name = $1`;
      return (await query<StoredProgram>(text, [name])).rows[0];
    });
  }

  async list({ after, limit, status, program }: ListQuery): Promise<ExecutionSummary[]> {
    return await this.#attempt(async (query) => {
      const { rows } = await query<SummaryRow>(
        `select ${this.#summary} from ${this.#schema}.executions e
         where e.id > $1 and ($2::text is null or e.status = $2) and ($3::text is null or e.program = $3) order by e.id limit $4`,
        [after ?? "", status ?? null, program ?? null, limit],
      );
      return rows.map(summaryOf);
    });
  }

  async claim(holder: string, nowMs: number, untilMs: number, limit: number): Promise<Claimed> {
    const outbox = `${this.#schema}.outbox`;
    return await this.#transaction(
      "claim",
      async (query): Promise<Claimed> => {
        const next = await query<{ next: string | null }>(
          `select min(claimed_until) as next from ${outbox} where claimed_until > 0 and claimed_until > $1`,
          [nowMs],
        );
        const nextMs = next.rows[0]?.next;
        // The first row of an execution stands for all of its rows: whoever has it has the others.
        const heads = await query<SeqRow>(
          `with heads as materialized (
             select o.seq from ${outbox} o
             where o.claimed_until <= $1 and not exists (select 1 from ${outbox} p where p.id = o.id and p.seq < o.seq)
             order by o.seq limit $2 for update of o skip locked
           )
           update ${outbox} set claimed_by = $3, claimed_until = $4 from heads where ${this.#schema}.outbox.seq = heads.seq
           returning outbox.seq, outbox.id, outbox.payload`,
          [nowMs, limit, holder, untilMs],
        );
        const room = limit - heads.count;
        const others =
          heads.count === 0 || room === 0
            ? []
            : (
                await query<SeqRow>(
                  `select o.seq, o.id, o.payload from ${outbox} o where o.id = any($1) and o.seq <> all($2) order by o.seq limit $3`,
                  [heads.rows.map(({ id }) => id), heads.rows.map(({ seq }) => seq), room],
                )
              ).rows;
        this.faults?.("claim:written");
        const rows = [...heads.rows, ...others].map(({ seq, id, payload }) => ({ seq: Number(seq), id, payload }));
        rows.sort((a, b) => a.seq - b.seq);
        return { rows, ...(typeof nextMs === "string" && { nextMs: Number(nextMs) }) };
      },
      "quick",
    );
  }

  async acknowledge(rows: readonly OutboxRow[]): Promise<void> {
    await this.#transaction(
      "acknowledge",
      async (query) => {
        await query(`delete from ${this.#schema}.outbox where seq = any($1)`, [rows.map(({ seq }) => seq)]);
        this.faults?.("acknowledge:written");
      },
      "quick",
    );
  }

  async postpone(rows: readonly OutboxRow[], untilMs: number): Promise<void> {
    await this.#transaction(
      "postpone",
      async (query) => {
        const text = `update ${this.#schema}.outbox set claimed_until = $1 where seq = any($2)`;
        await query(text, [untilMs, rows.map(({ seq }) => seq)]);
      },
      "quick",
    );
  }

  async prune(doneBeforeMs: number, limit: number): Promise<Pruned> {
    const { executions, programs } = { executions: `${this.#schema}.executions`, programs: `${this.#schema}.programs` };
    return await this.#transaction("prune", async (query): Promise<Pruned> => {
      const removed = await query(
        `delete from ${executions} where id in (
           select e.id from ${executions} e where e.status = 'done' and e.updated_at <= $1
             and not exists (select 1 from ${this.#schema}.outbox o where o.id = e.id)
           limit $2 for update skip locked)`,
        [doneBeforeMs, limit],
      );
      this.faults?.("prune:executions");
      await query("savepoint programs");
      let freed = 0;
      try {
        const unused = await query(
          `delete from ${programs} where name in (
             select p.name from ${programs} p
             where not exists (select 1 from ${executions} e where e.program_used = p.name) limit $1)`,
          [limit],
        );
        freed = unused.count;
      } catch (error) {
        if ((error as { readonly code?: unknown }).code !== FOREIGN_KEY_VIOLATION) throw error;
        // An execution has begun to use one of them in the meantime.
        await query("rollback to savepoint programs");
      }
      this.faults?.("prune:programs");
      return { executions: removed.count, programs: freed };
    });
  }

  async close(): Promise<void> {
    const pool = this.#pool;
    this.#pool = undefined;
    if (typeof this.#connection === "string") await pool?.end();
  }

  get #summary(): string {
    return `${SUMMARY_COLUMNS}, (select count(*) from ${this.#schema}.outbox o where o.id = e.id) as backlog`;
  }

  async #load(query: Query, id: string): Promise<StoredExecution | undefined> {
    const { rows } = await query<StoredRow>(
      `select ${this.#summary}, e.seed, e.committed_by, p.digest, s.spans, s.own_metadata, s.trace, s.checksum, s.snapshot
       from ${this.#schema}.executions e left join ${this.#schema}.states s on s.id = e.id
         left join ${this.#schema}.programs p on p.name = e.program_used
       where e.id = $1`,
      [id],
    );
    return rows[0] && executionOf(rows[0]);
  }

  async #append(query: Query, id: string, payloads: readonly string[]): Promise<void> {
    for (const payload of payloads) {
      await query(`insert into ${this.#schema}.outbox (id, payload) values ($1, $2)`, [id, payload]);
    }
  }

  /** A statement that the server works out once for each connection. */
  #prepared(text: string, values: unknown[]): { readonly name: string; readonly text: string; readonly values: unknown[] } {
    let name = this.#names.get(text);
    if (name === undefined) {
      // Of the text: stores of several schemas may share connections. PostgreSQL takes 63 characters.
      name = `spanduct_${digest(text).slice(0, 40)}`;
      this.#names.set(text, name);
    }
    return { name, text, values };
  }

  /** A connection that is lost between two queries is an event that would end the process; the next query says it too. */
  #hear(client: PostgresClient): void {
    if (this.#heard.has(client)) return;
    this.#heard.add(client);
    client.on?.("error", () => undefined);
  }

  /** Queries on one connection, each by itself. */
  async #attempt<T>(action: (query: Query) => Promise<T>, name?: Transaction): Promise<T> {
    let client: PostgresClient | undefined;
    let isBroken = true;
    try {
      if (this.#pool === undefined) throw new TunnelError("store_failed", `${this.name} is not open`);
      if (name !== undefined) this.faults?.(`${name}:before`);
      const connected = await this.#pool.connect();
      client = connected;
      this.#hear(connected);
      const result = await action(async <Row>(text: string, values?: unknown[]) => {
        const { rows, rowCount } = await connected.query(values === undefined ? text : this.#prepared(text, values));
        return { rows: rows as Row[], count: rowCount ?? 0 };
      });
      isBroken = false;
      if (name !== undefined) this.faults?.(`${name}:after`);
      return result;
    } catch (error) {
      // What the store says itself is no reason to connect anew.
      if (isTunnelError(error)) isBroken = false;
      throw this.#failure(error);
    } finally {
      client?.release(isBroken);
    }
  }

  /**
   * All of `action` or nothing.
   *
   * @param durability `quick`: that it is done need not outlive a loss of power of the server
   */
  async #transaction<T>(
    name: Transaction,
    action: (query: Query) => Promise<T | RolledBack>,
    durability: "durable" | "quick" = "durable",
  ): Promise<T> {
    return await this.#attempt(async (query) => {
      await query(durability === "quick" ? "begin; set local synchronous_commit = off" : "begin");
      let result: T | RolledBack;
      try {
        result = await action(query);
      } catch (error) {
        await query("rollback").catch(() => undefined);
        throw error;
      }
      await query(result instanceof RolledBack ? "rollback" : "commit");
      return result instanceof RolledBack ? (result.result as T) : result;
    }, name);
  }

  #failure(error: unknown): TunnelError {
    if (isTunnelError(error)) return error;
    const reason = error instanceof Error ? error.message : String(error);
    return new TunnelError("store_failed", `${this.name}: ${reason}`, { cause: error });
  }
}

/** A transaction that ends without having done anything, and what it says. */
class RolledBack {
  readonly result: unknown;
  constructor(result: unknown) {
    this.result = result;
  }
}

interface SeqRow {
  readonly seq: string;
  readonly id: string;
  readonly payload: string;
}

async function newPool(connectionString: string, max: number): Promise<PostgresPool> {
  let pg: Pick<typeof import("pg"), "Pool">;
  try {
    ({ default: pg } = await import("pg"));
  } catch (cause) {
    throw new TypeError("the package pg is not installed", { cause });
  }
  const pool = new pg.Pool({ connectionString, max, connectionTimeoutMillis: 10_000 });
  // A connection that is lost between two queries: the next query says so, or the next use makes another.
  pool.on("error", () => undefined);
  pool.on("connect", (client) => client.on("error", () => undefined));
  return pool;
}
