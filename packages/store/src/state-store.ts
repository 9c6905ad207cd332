import type { FaultHook } from "./fault-point.ts";

// Everything that a store keeps is text and bytes that it need not understand. Times are milliseconds since the Unix epoch, of the
// host's clock; hosts that share a store need clocks that differ by far less than a lease.

/** `open`: can be run. `done`: came to its end. `parked`: its state cannot be used, somebody has to look. */
export type ExecutionStatus = "open" | "done" | "parked";

/** What is known of an execution without its state. Plain data. */
export interface ExecutionSummary {
  readonly id: string;
  readonly program: string;
  readonly status: ExecutionStatus;
  /** Why it is parked. */
  readonly reason?: string;
  /** How often it was committed. */
  readonly revision: number;
  /** How many attempts were begun, those that hosts died in included. */
  readonly attempts: number;
  /** Spans that were open at the last commit. */
  readonly liveSpans: number;
  /** Outbox rows that wait for their export. */
  readonly backlog: number;
  /** Bytes of the guest's snapshot. */
  readonly snapshotBytes: number;
  /** Who works on it, and until when if nothing more is heard. */
  readonly lease?: { readonly holder: string; readonly untilMs: number };
  readonly createdMs: number;
  /** The last commit, or when it was parked. */
  readonly updatedMs: number;
}

/** State of an execution as of its last commit. */
export interface StoredState {
  /** Live spans: the text of `printState`. */
  readonly spans: string;
  /** Call sites that are not as the program has them: the text of `printState`. */
  readonly ownMetadata?: string;
  /** Where it belongs among traces: JSON of `SavedTrace`. */
  readonly trace: string;
  /** The guest's own snapshot. */
  readonly snapshot?: Uint8Array;
  /** Of the state and what it belongs to, see `checksum.ts`. */
  readonly checksum: string;
}

/** An execution as it is stored. */
export interface StoredExecution extends ExecutionSummary {
  /** What ids of spans derive from: 16 hexadecimal digits. */
  readonly seed: string;
  /** Absent before the first commit. */
  readonly state?: StoredState;
  /** Of the program that it uses; absent when it is done or was never committed. */
  readonly programDigest?: string;
  /** The lease that committed last. */
  readonly committedBy?: string;
}

/** Call sites of a program, shared by its executions. */
export interface StoredProgram {
  /** Of `metadata`; changes with it. */
  readonly digest: string;
  /** The text of `printState`. Call sites are only ever added while an execution that is not done uses the program. */
  readonly metadata: string;
}

/** Asks for an execution to work on. */
export interface AcquireRequest {
  readonly id: string;
  /** Of an execution that is new, or was never committed. */
  readonly program: string;
  /** Of an execution that is new. */
  readonly seed: string;
  /** Identifies this lease: unique. */
  readonly lease: string;
  /** Name of the host, for whoever lists executions. */
  readonly holder: string;
  readonly nowMs: number;
  readonly untilMs: number;
}

/** What came of it. */
export type Acquired =
  | { readonly kind: "acquired"; readonly execution: StoredExecution }
  /** Nothing was changed: it is done, parked, or leased to another until `execution.lease.untilMs`. */
  | { readonly kind: "refused"; readonly execution: StoredExecution };

/** A commit: everything in it is written, or nothing. */
export interface Commit {
  readonly id: string;
  /** The lease that it was worked on under; given back. */
  readonly lease: string;
  /** The revision that the attempt began with; one more afterwards. */
  readonly revision: number;
  readonly status: "open" | "done";
  readonly program: {
    readonly name: string;
    /** Of the program that `state` was written against; absent: there was none. */
    readonly digest?: string;
    /** What replaces it. */
    readonly next?: StoredProgram;
  };
  readonly state: StoredState;
  readonly liveSpans: number;
  /** JSON of `Outbox`, one row each, in order. */
  readonly outbox: readonly string[];
  readonly nowMs: number;
}

/** The end of an attempt that does not count. */
export interface RollBack {
  readonly id: string;
  /** Given back if it is still held. */
  readonly lease: string;
  /** What is exported of it. */
  readonly outbox: readonly string[];
  /** Take the execution aside, if the lease is still held. */
  readonly park?: string;
  readonly nowMs: number;
}

/** A row of the outbox. */
export interface OutboxRow {
  /** Ascending within an execution in the order of its commits. */
  readonly seq: number;
  readonly id: string;
  readonly payload: string;
}

/** What an exporter got. */
export interface Claimed {
  readonly rows: readonly OutboxRow[];
  /** When there will be more to claim, unless those who have it are done before; absent: when something is committed. */
  readonly nextMs?: number;
}

/** Which executions. */
export interface ListQuery {
  /** Only ids greater than this one (by code units of UTF-16 or bytes of UTF-8, as the store compares). */
  readonly after?: string;
  readonly limit: number;
  readonly status?: ExecutionStatus;
  readonly program?: string;
}

/** What a step of pruning removed. */
export interface Pruned {
  readonly executions: number;
  readonly programs: number;
}

/**
 * Keeps executions, what they leave to be exported, and their programs' call sites. Every method is one transaction: all of it happens
 * or nothing, and what has happened outlives the process. Several hosts may use one store at a time.
 *
 * @throws TunnelError "store_failed" by every method: nothing has happened, except that after a `commit` whose connection was lost it
 * may have: `load` tells
 */
export interface StateStore {
  /** What it is, for messages: `SQLite state.db`. */
  readonly name: string;
  /** Given by tests. */
  readonly faults?: FaultHook | undefined;
  /**
   * Bring the schema up to date. Called before anything else, once.
   *
   * @throws TunnelError "unsupported_version": the schema is newer than this build, or the runtime too old for the store
   */
  open(): Promise<void>;
  /** Begin an attempt: make the execution if it is new, lease it, count the attempt. */
  acquire(request: AcquireRequest): Promise<Acquired>;
  /** Hold on to a lease. @returns whether it is still held */
  renew(id: string, lease: string, untilMs: number): Promise<boolean>;
  /**
   * @returns "program_changed": another execution has changed what is stored for the program; nothing has happened, write the state
   * against what is there now
   * @throws TunnelError "revision_conflict": the lease is another's by now, or the revision has changed; nothing has happened
   */
  commit(commit: Commit): Promise<"committed" | "program_changed">;
  rollBack(rollBack: RollBack): Promise<void>;
  /** Let a parked execution be run again. @returns whether it was parked */
  unpark(id: string, nowMs: number): Promise<boolean>;
  load(id: string): Promise<StoredExecution | undefined>;
  loadProgram(name: string): Promise<StoredProgram | undefined>;
  /** By id, ascending. */
  list(query: ListQuery): Promise<ExecutionSummary[]>;
  /**
   * Rows to export that nobody else exports, at most `limit`, by `seq`. Whoever has the first row of an execution has all of its rows,
   * so each execution's rows are exported in order.
   */
  claim(holder: string, nowMs: number, untilMs: number, limit: number): Promise<Claimed>;
  /** These rows are exported; they are removed. */
  acknowledge(rows: readonly OutboxRow[]): Promise<void>;
  /** These rows could not be exported: nobody claims them before `untilMs`. */
  postpone(rows: readonly OutboxRow[], untilMs: number): Promise<void>;
  /**
   * Remove at most `limit` executions that were done at `doneBeforeMs` and have nothing left to export, and at most as many programs
   * that no execution uses which is not done.
   */
  prune(doneBeforeMs: number, limit: number): Promise<Pruned>;
  close(): Promise<void>;
}
