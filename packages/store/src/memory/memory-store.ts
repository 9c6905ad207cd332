import { isTunnelError, TunnelError } from "@spanduct/protocol";
import type { FaultHook, Transaction } from "../fault-point.ts";
import { isFree } from "../lease.ts";
import { revisionConflict } from "../revision-conflict.ts";
import type {
  Acquired,
  AcquireRequest,
  Claimed,
  Commit,
  ExecutionStatus,
  ExecutionSummary,
  ListQuery,
  OutboxRow,
  Pruned,
  RollBack,
  StateStore,
  StoredExecution,
  StoredProgram,
  StoredState,
} from "../state-store.ts";

interface Execution {
  readonly id: string;
  program: string;
  readonly seed: string;
  readonly createdMs: number;
  status: ExecutionStatus;
  reason: string | undefined;
  revision: number;
  attempts: number;
  liveSpans: number;
  updatedMs: number;
  lease: { readonly key: string; readonly holder: string; untilMs: number } | undefined;
  committedBy: string | undefined;
  state: StoredState | undefined;
}

interface Row extends OutboxRow {
  claimedUntilMs: number;
}

/** A store in the memory of the process: for tests, and for hosts that want commit and rollback but not to outlive themselves. */
export function memoryStore(options: { readonly faults?: FaultHook } = {}): StateStore {
  return new MemoryStore(options.faults);
}

class MemoryStore implements StateStore {
  readonly name = "memory";
  readonly faults: FaultHook | undefined;
  readonly #executions: Map<string, Execution> = new Map();
  readonly #programs: Map<string, StoredProgram & { users: number }> = new Map();
  /** By execution, so that a backlog of one does not slow others down; executions without rows are not in it. */
  readonly #outbox: Map<string, Row[]> = new Map();
  #nextSeq = 1;

  constructor(faults: FaultHook | undefined) {
    this.faults = faults;
  }

  async open(): Promise<void> {}

  async acquire(request: AcquireRequest): Promise<Acquired> {
    return this.#transaction("acquire", (): Acquired => {
      const { id, program, seed, lease: key, holder, nowMs, untilMs } = request;
      let execution = this.#executions.get(id);
      if (execution !== undefined && !isFree(this.#summary(execution), nowMs)) {
        return { kind: "refused", execution: this.#stored(execution) };
      }
      this.faults?.("acquire:written");
      if (execution === undefined) {
        execution = {
          id,
          program,
          seed,
          createdMs: nowMs,
          status: "open",
          reason: undefined,
          revision: 0,
          attempts: 0,
          liveSpans: 0,
          updatedMs: nowMs,
          lease: undefined,
          committedBy: undefined,
          state: undefined,
        };
        this.#executions.set(id, execution);
      }
      if (execution.state === undefined) execution.program = program;
      execution.lease = { key, holder, untilMs };
      execution.attempts++;
      return { kind: "acquired", execution: this.#stored(execution) };
    });
  }

  async renew(id: string, lease: string, untilMs: number): Promise<boolean> {
    return this.#transaction("renew", (): boolean => {
      const execution = this.#executions.get(id);
      if (execution?.lease?.key !== lease) return false;
      execution.lease.untilMs = untilMs;
      return true;
    });
  }

  async commit(commit: Commit): Promise<"committed" | "program_changed"> {
    return this.#transaction("commit", (): "committed" | "program_changed" => {
      const { id, lease, revision, status, program, state, liveSpans, outbox, nowMs } = commit;
      const execution = this.#executions.get(id);
      if (execution?.lease?.key !== lease || execution.revision !== revision) throw revisionConflict(id, revision);
      const known = this.#programs.get(program.name);
      const isFirst = execution.state === undefined;
      // A program with fewer call sites has just been forgotten and made anew; more do no harm to what has been written.
      if (known?.digest !== program.digest && (program.next !== undefined || isFirst)) return "program_changed";
      this.faults?.("commit:program");
      this.faults?.("commit:execution");
      this.faults?.("commit:state");
      this.faults?.("commit:outbox");
      const used = (isFirst ? 1 : 0) - (status === "done" ? 1 : 0);
      const users = (known?.users ?? 0) + used;
      if (program.next !== undefined) this.#programs.set(program.name, { ...program.next, users });
      else if (known !== undefined) known.users = users;
      execution.status = status;
      execution.revision++;
      execution.liveSpans = liveSpans;
      execution.updatedMs = nowMs;
      execution.lease = undefined;
      execution.committedBy = lease;
      execution.state = copyOf(state);
      this.#append(id, outbox);
      return "committed";
    });
  }

  async rollBack({ id, lease, outbox, park, nowMs }: RollBack): Promise<void> {
    return this.#transaction("roll back", (): void => {
      const execution = this.#executions.get(id);
      this.faults?.("roll back:outbox");
      this.faults?.("roll back:execution");
      this.#append(id, outbox);
      if (execution?.lease?.key === lease) {
        execution.lease = undefined;
        if (park !== undefined) {
          execution.status = "parked";
          execution.reason = park;
          execution.updatedMs = nowMs;
        }
      }
    });
  }

  async unpark(id: string, nowMs: number): Promise<boolean> {
    return this.#transaction("unpark", (): boolean => {
      const execution = this.#executions.get(id);
      if (execution?.status !== "parked") return false;
      execution.status = "open";
      execution.reason = undefined;
      execution.updatedMs = nowMs;
      return true;
    });
  }

  async load(id: string): Promise<StoredExecution | undefined> {
    const execution = this.#executions.get(id);
    return execution && this.#stored(execution);
  }

  async loadProgram(name: string): Promise<StoredProgram | undefined> {
    const program = this.#programs.get(name);
    return program && { digest: program.digest, metadata: program.metadata };
  }

  async list({ after, limit, status, program }: ListQuery): Promise<ExecutionSummary[]> {
    const found: Execution[] = [];
    for (const execution of this.#executions.values()) {
      if (after !== undefined && execution.id <= after) continue;
      if (status !== undefined && execution.status !== status) continue;
      if (program !== undefined && execution.program !== program) continue;
      found.push(execution);
    }
    found.sort((a, b) => (a.id < b.id ? -1 : 1));
    return found.slice(0, limit).map((execution) => this.#summary(execution));
  }

  async claim(_holder: string, nowMs: number, untilMs: number, limit: number): Promise<Claimed> {
    return this.#transaction("claim", (): Claimed => {
      const mine: Row[][] = [];
      let nextMs: number | undefined;
      for (const rows of this.#outbox.values()) {
        const { claimedUntilMs } = rows[0] as Row;
        if (claimedUntilMs > nowMs) nextMs = Math.min(nextMs ?? claimedUntilMs, claimedUntilMs);
        else if (mine.length < limit) mine.push(rows);
      }
      this.faults?.("claim:written");
      for (const [head] of mine) (head as Row).claimedUntilMs = untilMs;
      const others = mine.flatMap((rows) => rows.slice(1)).sort(bySeq);
      const claimed = [...mine.map(([head]) => head as Row), ...others.slice(0, limit - mine.length)].sort(bySeq);
      return {
        rows: claimed.map(({ seq, id, payload }) => ({ seq, id, payload })),
        ...(nextMs !== undefined && { nextMs }),
      };
    });
  }

  async acknowledge(rows: readonly OutboxRow[]): Promise<void> {
    return this.#transaction("acknowledge", (): void => {
      this.faults?.("acknowledge:written");
      const exported = new Set(rows.map(({ seq }) => seq));
      for (const id of new Set(rows.map(({ id }) => id))) {
        const left = this.#outbox.get(id)?.filter(({ seq }) => !exported.has(seq)) ?? [];
        const [head] = left;
        if (head === undefined) this.#outbox.delete(id);
        else {
          head.claimedUntilMs = 0;
          this.#outbox.set(id, left);
        }
      }
    });
  }

  async postpone(rows: readonly OutboxRow[], untilMs: number): Promise<void> {
    return this.#transaction("postpone", (): void => {
      for (const { id } of rows) {
        const head = this.#outbox.get(id)?.[0];
        if (head !== undefined) head.claimedUntilMs = untilMs;
      }
    });
  }

  async prune(doneBeforeMs: number, limit: number): Promise<Pruned> {
    return this.#transaction("prune", (): Pruned => {
      this.faults?.("prune:executions");
      this.faults?.("prune:programs");
      let executions = 0;
      for (const { id, status, updatedMs } of this.#executions.values()) {
        if (executions === limit) break;
        if (status !== "done" || updatedMs > doneBeforeMs || this.#outbox.has(id)) continue;
        this.#executions.delete(id);
        executions++;
      }
      let programs = 0;
      for (const [name, { users }] of this.#programs) {
        if (programs === limit) break;
        if (users > 0) continue;
        this.#programs.delete(name);
        programs++;
      }
      return { executions, programs };
    });
  }

  async close(): Promise<void> {}

  /** What changes anything does so after its last fault point, so that it is all or nothing. */
  #transaction<T>(name: Transaction, action: () => T): T {
    try {
      this.faults?.(`${name}:before`);
      const result = action();
      this.faults?.(`${name}:after`);
      return result;
    } catch (error) {
      if (isTunnelError(error)) throw error;
      throw new TunnelError("store_failed", error instanceof Error ? error.message : String(error), { cause: error });
    }
  }

  #append(id: string, payloads: readonly string[]): void {
    if (payloads.length === 0) return;
    const rows = this.#outbox.get(id) ?? [];
    for (const payload of payloads) rows.push({ seq: this.#nextSeq++, id, payload, claimedUntilMs: 0 });
    this.#outbox.set(id, rows);
  }

  #summary(execution: Execution): ExecutionSummary {
    const { id, program, status, reason, revision, attempts, liveSpans, lease, createdMs, updatedMs, state } = execution;
    return {
      id,
      program,
      status,
      ...(reason !== undefined && { reason }),
      revision,
      attempts,
      liveSpans,
      backlog: this.#outbox.get(id)?.length ?? 0,
      snapshotBytes: state?.snapshot?.length ?? 0,
      ...(lease !== undefined && { lease: { holder: lease.holder, untilMs: lease.untilMs } }),
      createdMs,
      updatedMs,
    };
  }

  #stored(execution: Execution): StoredExecution {
    const { seed, state, committedBy, status, program } = execution;
    const programDigest = state === undefined || status === "done" ? undefined : this.#programs.get(program)?.digest;
    return {
      ...this.#summary(execution),
      seed,
      ...(state !== undefined && { state: copyOf(state) }),
      ...(committedBy !== undefined && { committedBy }),
      ...(programDigest !== undefined && { programDigest }),
    };
  }
}

function bySeq(a: Row, b: Row): number {
  return a.seq - b.seq;
}

/** With a snapshot of its own: what the caller has may change. */
function copyOf(state: StoredState): StoredState {
  return state.snapshot === undefined ? state : { ...state, snapshot: state.snapshot.slice() };
}
