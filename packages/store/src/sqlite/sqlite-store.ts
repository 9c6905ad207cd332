import type { DatabaseSync, StatementSync } from "node:sqlite";
import { isTunnelError, TunnelError } from "@spanduct/protocol";
import type { FaultHook, Transaction } from "../fault-point.ts";
import { isFree } from "../lease.ts";
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

/** How a store in SQLite is set up. */
export interface SqliteStoreOptions {
  /**
   * When what is committed is safe from a loss of power, as SQLite's `synchronous` has it; from the death of the process it is safe
   * at once either way. `normal`, the default: when the log is next moved into the database (every 1000 pages), so a loss of power may
   * take the last commits back, never half of one. `full`: at once; every transaction waits for the disk.
   */
  readonly synchronous?: "normal" | "full";
  /** How long to wait for another process that is writing, in milliseconds. The event loop stands still for as long. Default 5000. */
  readonly busyTimeoutMs?: number;
  /** Given by tests. */
  readonly faults?: FaultHook;
}

/**
 * A store in an SQLite file: several processes of one machine may use it at a time. Needs the `node:sqlite` of Node.js 22.13 or later,
 * which is loaded when the store is opened ("unsupported_version" where it is not there). The journal is a write-ahead log (two more files beside `path`).
 *
 * @param path of the file, which is made when it is not there. Tables are named `spanduct_…`: it may be a database of your own
 */
export function sqliteStore(path: string, options: SqliteStoreOptions = {}): StateStore {
  return new SqliteStore(path, options);
}

const SUMMARY = `${SUMMARY_COLUMNS}, (select count(*) from spanduct_outbox o where o.id = e.id) as backlog`;
const STORED = `select ${SUMMARY}, e.seed, e.committed_by, p.digest, s.spans, s.own_metadata, s.trace, s.checksum, s.snapshot
  from spanduct_executions e left join spanduct_states s on s.id = e.id left join spanduct_programs p on p.name = e.program_used
  where e.id = ?`;

class SqliteStore implements StateStore {
  readonly name: string;
  readonly faults: FaultHook | undefined;
  readonly #path: string;
  readonly #options: SqliteStoreOptions;
  readonly #statements: Map<string, StatementSync> = new Map();
  #database: DatabaseSync | undefined;

  constructor(path: string, options: SqliteStoreOptions) {
    this.name = `SQLite ${path}`;
    this.faults = options.faults;
    this.#path = path;
    this.#options = options;
  }

  async open(): Promise<void> {
    const { DatabaseSync } = await loadSqlite();
    const { synchronous = "normal", busyTimeoutMs = 5000 } = this.#options;
    let database: DatabaseSync | undefined;
    try {
      database = new DatabaseSync(this.#path);
      database.exec(`pragma busy_timeout = ${busyTimeoutMs}; pragma journal_mode = wal; pragma synchronous = ${synchronous};
        pragma foreign_keys = on;`);
      this.#database = database;
      this.#migrate();
    } catch (error) {
      database?.close();
      this.#database = undefined;
      this.#statements.clear();
      throw this.#failure(error);
    }
  }

  #migrate(): void {
    this.#transaction("migrate", () => {
      const database = this.#open();
      database.exec("create table if not exists spanduct_schema (version integer not null) strict");
      const { version } = (database.prepare("select max(version) as version from spanduct_schema").get() ?? {}) as {
        version: number | null;
      };
      const done = version ?? 0;
      if (done > MIGRATIONS.length) throw newerSchema(this.name, done, MIGRATIONS.length);
      if (done === MIGRATIONS.length) return;
      for (const migration of MIGRATIONS.slice(done)) database.exec(migration);
      database.exec(`delete from spanduct_schema; insert into spanduct_schema values (${MIGRATIONS.length})`);
      this.faults?.("migrate:written");
    });
  }

  async acquire(request: AcquireRequest): Promise<Acquired> {
    const { id, program, seed, lease, holder, nowMs, untilMs } = request;
    return this.#transaction("acquire", (): Acquired => {
      const before = this.#load(id);
      if (before !== undefined && !isFree(before, nowMs)) return { kind: "refused", execution: before };
      if (before === undefined) {
        this.#run(
          `insert into spanduct_executions
           (id, program, status, seed, revision, attempts, live_spans, snapshot_bytes, lease, lease_holder, lease_until,
            created_at, updated_at)
           values (?, ?, 'open', ?, 0, 1, 0, 0, ?, ?, ?, ?, ?)`,
          [id, program, seed, lease, holder, untilMs, nowMs, nowMs],
        );
      } else {
        this.#run(
          `update spanduct_executions set lease = ?, lease_holder = ?, lease_until = ?, attempts = attempts + 1,
           program = iif(revision = 0, ?, program) where id = ?`,
          [lease, holder, untilMs, program, id],
        );
      }
      this.faults?.("acquire:written");
      return { kind: "acquired", execution: this.#load(id) as StoredExecution };
    });
  }

  async renew(id: string, lease: string, untilMs: number): Promise<boolean> {
    return this.#transaction(
      "renew",
      () => this.#run("update spanduct_executions set lease_until = ? where id = ? and lease = ?", [untilMs, id, lease]) === 1,
    );
  }

  async commit(commit: Commit): Promise<"committed" | "program_changed"> {
    const { id, lease, revision, status, program, state, liveSpans, outbox, nowMs } = commit;
    return this.#transaction("commit", (): "committed" | "program_changed" => {
      const execution = this.#get<{ revision: number; lease: string | null; program_used: string | null }>(
        "select revision, lease, program_used from spanduct_executions where id = ?",
        [id],
      );
      if (execution?.lease !== lease || execution.revision !== revision) throw revisionConflict(id, revision);
      const isFirst = execution.program_used === null;
      if (program.next !== undefined || isFirst) {
        const known = this.#get<{ digest: string }>("select digest from spanduct_programs where name = ?", [program.name]);
        if (known?.digest !== program.digest) return "program_changed";
      }
      if (program.next !== undefined) {
        this.#run(
          `insert into spanduct_programs (name, digest, metadata) values (?, ?, ?)
           on conflict (name) do update set digest = excluded.digest, metadata = excluded.metadata`,
          [program.name, program.next.digest, program.next.metadata],
        );
      }
      this.faults?.("commit:program");
      this.#run(
        `update spanduct_executions set status = ?, program_used = ?, revision = revision + 1, live_spans = ?, snapshot_bytes = ?,
         lease = null, lease_holder = null, lease_until = 0, committed_by = ?, updated_at = ? where id = ?`,
        [status, status === "done" ? null : program.name, liveSpans, state.snapshot?.length ?? 0, lease, nowMs, id],
      );
      this.faults?.("commit:execution");
      this.#run(
        `insert into spanduct_states (id, spans, own_metadata, trace, checksum, snapshot) values (?, ?, ?, ?, ?, ?)
         on conflict (id) do update set spans = excluded.spans, own_metadata = excluded.own_metadata, trace = excluded.trace,
           checksum = excluded.checksum, snapshot = excluded.snapshot`,
        [id, state.spans, state.ownMetadata ?? null, state.trace, state.checksum, state.snapshot ?? null],
      );
      this.faults?.("commit:state");
      this.#append(id, outbox);
      this.faults?.("commit:outbox");
      return "committed";
    });
  }

  async rollBack({ id, lease, outbox, park, nowMs }: RollBack): Promise<void> {
    this.#transaction("roll back", () => {
      this.#append(id, outbox);
      this.faults?.("roll back:outbox");
      const isHeld =
        this.#run(
          "update spanduct_executions set lease = null, lease_holder = null, lease_until = 0 where id = ? and lease = ?",
          [id, lease],
        ) === 1;
      if (isHeld && park !== undefined) {
        this.#run("update spanduct_executions set status = 'parked', reason = ?, updated_at = ? where id = ?", [park, nowMs, id]);
      }
      this.faults?.("roll back:execution");
    });
  }

  async unpark(id: string, nowMs: number): Promise<boolean> {
    return this.#transaction(
      "unpark",
      () =>
        this.#run(
          "update spanduct_executions set status = 'open', reason = null, updated_at = ? where id = ? and status = 'parked'",
          [nowMs, id],
        ) === 1,
    );
  }

  async load(id: string): Promise<StoredExecution | undefined> {
    return this.#attempt(() => this.#load(id));
  }

  async loadProgram(name: string): Promise<StoredProgram | undefined> {
    return this.#attempt(() => {
      const row = this.#get<StoredProgram>("select digest, metadata from spanduct_programs where name = ?", [name]);
      return row && { digest: row.digest, metadata: row.metadata };
    });
  }

  async list({ after, limit, status, program }: ListQuery): Promise<ExecutionSummary[]> {
    return this.#attempt(() =>
      this.#all<SummaryRow>(
        `select ${SUMMARY} from spanduct_executions e
         where e.id > ? and (? is null or e.status = ?) and (? is null or e.program = ?) order by e.id limit ?`,
        [after ?? "", status ?? null, status ?? null, program ?? null, program ?? null, limit],
      ).map(summaryOf),
    );
  }

  async claim(holder: string, nowMs: number, untilMs: number, limit: number): Promise<Claimed> {
    return this.#transaction("claim", (): Claimed => {
      const next = this.#get<{ next: number | null }>(
        "select min(claimed_until) as next from spanduct_outbox where claimed_until > 0 and claimed_until > ?",
        [nowMs],
      );
      // The first row of an execution stands for all of its rows.
      const heads = this.#all<{ seq: number; id: string }>(
        `select o.seq, o.id from spanduct_outbox o
         where o.claimed_until <= ?
           and not exists (select 1 from spanduct_outbox p where p.id = o.id and p.seq < o.seq)
         order by o.seq limit ?`,
        [nowMs, limit],
      );
      const rows: OutboxRow[] = [];
      for (const { seq, id } of heads) {
        if (rows.length >= limit) break;
        this.#run("update spanduct_outbox set claimed_by = ?, claimed_until = ? where seq = ?", [holder, untilMs, seq]);
        rows.push(
          ...this.#all<OutboxRow>("select seq, id, payload from spanduct_outbox where id = ? order by seq limit ?", [
            id,
            limit - rows.length,
          ]),
        );
      }
      this.faults?.("claim:written");
      return {
        rows: rows.map(({ seq, id, payload }) => ({ seq, id, payload })),
        ...(typeof next?.next === "number" && { nextMs: next.next }),
      };
    });
  }

  async acknowledge(rows: readonly OutboxRow[]): Promise<void> {
    this.#transaction("acknowledge", () => {
      for (const { seq } of rows) this.#run("delete from spanduct_outbox where seq = ?", [seq]);
      this.faults?.("acknowledge:written");
    });
  }

  async postpone(rows: readonly OutboxRow[], untilMs: number): Promise<void> {
    this.#transaction("postpone", () => {
      for (const { seq } of rows) this.#run("update spanduct_outbox set claimed_until = ? where seq = ?", [untilMs, seq]);
    });
  }

  async prune(doneBeforeMs: number, limit: number): Promise<Pruned> {
    return this.#transaction("prune", (): Pruned => {
      const executions = this.#run(
        `delete from spanduct_executions where id in (
           select e.id from spanduct_executions e where e.status = 'done' and e.updated_at <= ?
             and not exists (select 1 from spanduct_outbox o where o.id = e.id)
           limit ?)`,
        [doneBeforeMs, limit],
      );
      this.faults?.("prune:executions");
      const programs = this.#run(
        `delete from spanduct_programs where name in (
           select p.name from spanduct_programs p
           where not exists (select 1 from spanduct_executions e where e.program_used = p.name) limit ?)`,
        [limit],
      );
      this.faults?.("prune:programs");
      return { executions, programs };
    });
  }

  async close(): Promise<void> {
    this.#statements.clear();
    this.#database?.close();
    this.#database = undefined;
  }

  #load(id: string): StoredExecution | undefined {
    const row = this.#get<StoredRow>(STORED, [id]);
    return row && executionOf(row);
  }

  #append(id: string, payloads: readonly string[]): void {
    for (const payload of payloads) this.#run("insert into spanduct_outbox (id, payload) values (?, ?)", [id, payload]);
  }

  #open(): DatabaseSync {
    if (this.#database === undefined) throw new TunnelError("store_failed", `${this.name} is not open`);
    return this.#database;
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#open().prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #run(sql: string, values: readonly Value[]): number {
    return Number(this.#statement(sql).run(...values).changes);
  }

  #get<Row>(sql: string, values: readonly Value[]): Row | undefined {
    return this.#statement(sql).get(...values) as Row | undefined;
  }

  #all<Row>(sql: string, values: readonly Value[]): Row[] {
    return this.#statement(sql).all(...values) as unknown as Row[];
  }

  #attempt<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** All of `action` or nothing. Writers wait for each other from the start, so none has to give up half-way. */
  #transaction<T>(name: Transaction, action: () => T): T {
    return this.#attempt(() => {
      const database = this.#open();
      this.faults?.(`${name}:before`);
      this.#run("begin immediate", []);
      let result: T;
      try {
        result = action();
        this.#run("commit", []);
      } catch (error) {
        try {
          database.exec("rollback");
        } catch {
          // A full disk has rolled back by itself.
        }
        throw error;
      }
      this.faults?.(`${name}:after`);
      return result;
    });
  }

  #failure(error: unknown): TunnelError {
    if (isTunnelError(error)) return error;
    const reason = error instanceof Error ? error.message : String(error);
    return new TunnelError("store_failed", `${this.name}: ${reason}`, { cause: error });
  }
}

type Value = string | number | null | Uint8Array;

async function loadSqlite(): Promise<typeof import("node:sqlite")> {
  try {
    return await import("node:sqlite");
  } catch (cause) {
    throw new TunnelError("unsupported_version", `node:sqlite needs Node.js 22.13 or later, this is ${process.version}`, {
      cause,
    });
  }
}
