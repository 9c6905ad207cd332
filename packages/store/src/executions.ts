import type { Context, SpanContext } from "@opentelemetry/api";
import { type GuestSpan, type LiveSpan, liveSpans, type OpenTelemetryRelay, type OutboxExecution } from "@spanduct/opentelemetry";
import {
  type Codec,
  isTunnelError,
  type Limits,
  type PersistedMetadata,
  type PersistedSpans,
  TunnelError,
} from "@spanduct/protocol";
import { parseSpans, printState } from "@spanduct/protocol/json";
import { MetadataArena, type TracingEventReceiver } from "@spanduct/receiver";
import { AttemptReceiver } from "./attempt-receiver.ts";
import { backoffMs, type RetryOptions } from "./backoff.ts";
import { checksum } from "./checksum.ts";
import { type Environment, hostName, MACHINE } from "./environment.ts";
import { OutboxExporter } from "./outbox-exporter.ts";
import { ProgramCache } from "./program-cache.ts";
import type { ExecutionStatus, ExecutionSummary, Pruned, StateStore, StoredExecution, StoredState } from "./state-store.ts";

/** How the traces of executions look. */
export interface TracePolicy {
  /** One trace for an execution, or one for each of its runs, each linked to the one before. Default `continuous`. */
  readonly traces?: "continuous" | "linked";
  /** What becomes of the spans of an attempt that is rolled back: exported and flagged, or not exported. Default `mark`. */
  readonly rollback?: "mark" | "discard";
  /** Let spans that stay open be seen by backends: see `AttemptOptions.pendingSpans` of the relay. */
  readonly pendingSpans?: boolean;
  /** Milliseconds after which an open span is ended when its execution is next committed, and says so. Default: none. */
  readonly maxSpanAgeMs?: number;
}

/** What is particular to one program. */
export interface ProgramOptions {
  /** Budgets of its guests that differ from `DEFAULT_LIMITS`. */
  readonly limits?: Partial<Limits>;
  /** Wire form of its guests. Default: protobuf. */
  readonly codec?: Codec;
  /** The most verbose level that is wanted of it, 0 (off) to 5 (trace, the default). */
  readonly maxLevel?: number;
}

/** What `Executions` is made with. */
export interface ExecutionsOptions extends TracePolicy {
  /** Where everything is kept. `close` closes it. */
  readonly store: StateStore;
  /** Where spans go once they are committed. Its span processors should tell when they could not export: `FlushedSpanProcessor`. */
  readonly relay: OpenTelemetryRelay;
  /** Programs that need something other than the defaults, by name. */
  readonly programs?: { readonly [name: string]: ProgramOptions };
  /**
   * For how long an execution is this host's after it was last heard of, in milliseconds; renewed while it works. Afterwards another
   * host may go on from the last commit. Default 10000.
   */
  readonly leaseMs?: number;
  /**
   * When this host exports what is committed, by itself or by others: in the `background`, the default, or only while `drain` is called,
   * for hosts that leave it to others.
   */
  readonly exports?: "background" | "drain";
  /** What is tried again: attempts that the store has failed, and exports. */
  readonly retry?: RetryOptions;
  /** Told what goes wrong in the background, and what guests are refused. What it throws is ignored. */
  readonly onError?: (error: unknown) => void;
  /** Clock and random numbers other than the machine's. */
  readonly environment?: Partial<Environment>;
}

/** How one run is treated. */
export interface RunOptions extends TracePolicy {
  /**
   * 64 bits that ids of spans and traces derive from, for an execution that is new: the same events then give the same ids. Default:
   * random; stored with the execution either way.
   */
  readonly seed?: bigint;
  /** What the execution hangs under (`continuous`) or links to (`linked`), for its first run. */
  readonly parent?: Context | SpanContext;
  /** Name of the run's own span (`linked`). Default: the program. */
  readonly name?: string;
  /** While another host works on the execution: `wait` until its lease ends (the default), or `throw` "execution_busy" at once. */
  readonly ifBusy?: "wait" | "throw";
}

/** One attempt at a run, as its action gets it. */
export interface Attempt {
  readonly id: string;
  readonly program: string;
  /** Takes the guest's events. Settled by the host half of a sandbox, or left for `run` to settle. */
  readonly receiver: TracingEventReceiver<GuestSpan>;
  /** The guest as it was committed last; `undefined`: it has not begun, or keeps no state of its own. */
  readonly snapshot: Uint8Array | undefined;
  /** How often the execution was committed. */
  readonly revision: number;
  /** Which attempt at the execution it is, from 1; those that were rolled back or died with their host count. */
  readonly attempt: number;
  /** Aborted when the execution is another host's by now: what this attempt does will be rolled back. */
  readonly signal: AbortSignal;
}

/** What an action leaves. */
export interface Finished {
  /** The guest's own state, for the next run. Borrowed until `run` is over. */
  readonly snapshot?: Uint8Array | undefined;
  /** Whether the execution has come to its end. Spans that are open then are closed, and say so. */
  readonly done?: boolean;
}

/** What a run came to. */
export interface RunResult {
  /** Whether the execution has come to its end. */
  readonly done: boolean;
  /** How often it was committed. */
  readonly revision: number;
  /** False: it had come to its end before, and nothing was run. */
  readonly ran: boolean;
}

/** State from elsewhere. */
export interface AdoptedState {
  readonly metadata: PersistedMetadata;
  readonly spans: PersistedSpans;
  readonly snapshot?: Uint8Array;
}

/** An execution with what is open in it. Plain data, but for big integers among ids. */
export interface ExecutionDetails extends ExecutionSummary {
  readonly spans: readonly LiveSpan[];
}

/** Which executions to list. */
export interface ListOptions {
  readonly status?: ExecutionStatus;
  readonly program?: string;
  /** Only ids greater than this one. */
  readonly after?: string;
}

/** What to prune. */
export interface PruneOptions {
  /** Executions that are done for at least so long, in milliseconds. Default 0. */
  readonly olderThanMs?: number;
  /** How many are removed in one transaction. Default 500. */
  readonly batch?: number;
  /** Told after each transaction what was removed so far. */
  readonly onProgress?: (soFar: Pruned) => void;
}

const PAGE = 500;
const FIRST_POLL_MS = 20;
const LAST_POLL_MS = 500;

interface Run {
  readonly id: string;
  readonly program: string;
  readonly action: (attempt: Attempt) => Promise<Finished> | Finished;
  readonly options: RunOptions;
  readonly initial: { readonly metadata: PersistedMetadata; readonly spans: PersistedSpans } | undefined;
}

/** An attempt whose lease is held, or may be. */
interface Begun {
  readonly lease: string;
  relay?: OutboxExecution;
  receiver?: AttemptReceiver<GuestSpan>;
  /** What it comes to if the commit has gone through, which is not known. */
  committed?: RunResult;
  /** Why it is rolled back, for the caller; nothing: it is tried again. */
  error?: { readonly thrown: unknown };
  isUndone?: boolean;
}

/** The store has failed; everything can be tried again. */
class StoreFailure extends Error {
  override readonly cause: unknown;
  constructor(cause: unknown) {
    super("the store failed");
    this.cause = cause;
  }
}

/**
 * Runs executions whose tracing is part of their transaction: the guest's snapshot, the receiver's state, call sites and finished
 * spans are committed together or not at all. What is committed is exported afterwards, by this host or whichever opens the store
 * next. Several hosts may run the executions of one store.
 */
export class Executions {
  readonly #options: ExecutionsOptions;
  readonly #store: StateStore;
  readonly #relay: OpenTelemetryRelay;
  readonly #environment: Environment;
  readonly #holder: string;
  readonly #programs: ProgramCache;
  readonly #arena: MetadataArena = new MetadataArena();
  readonly #exporter: OutboxExporter;
  readonly #leaseMs: number;
  readonly #stop: AbortController = new AbortController();
  /** Runs of this process, by execution: the next waits for the last. */
  readonly #running: Map<string, Promise<unknown>> = new Map();
  #opened: Promise<void> | undefined;

  constructor(options: ExecutionsOptions) {
    const { store, relay, leaseMs = 10_000, exports = "background", retry = {}, environment } = options;
    this.#options = options;
    this.#store = store;
    this.#relay = relay;
    const machine = { ...MACHINE, ...environment };
    this.#environment = { ...machine, nowMs: () => Math.floor(machine.nowMs()) };
    this.#holder = hostName();
    this.#leaseMs = Math.ceil(leaseMs);
    this.#programs = new ProgramCache(store);
    this.#exporter = new OutboxExporter({
      store,
      relay,
      environment: this.#environment,
      holder: this.#holder,
      leaseMs: this.#leaseMs,
      retry,
      inBackground: exports === "background",
      onError: (error) => this.#report(error),
    });
  }

  /**
   * Run an execution from where it was committed last; one that is new is made. `action` gets the guest's snapshot and a receiver that
   * has its open spans, and runs the guest for as long as it likes. When it returns, everything is committed; when it throws, or the
   * receiver was disposed of, everything is rolled back and the error is passed on. When the store fails, the attempt is rolled back and
   * `action` is called again, after a while, with the state that is stored.
   *
   * An execution that is done is not run again. One that another host works on is waited for until that host's lease ends
   * (`ifBusy`).
   *
   * @throws TunnelError "revision_conflict": another host took over; the attempt is rolled back
   * @throws TunnelError "execution_busy": another host works on it, and goes on doing so
   * @throws TypeError: an id or the name of a program is empty or has characters that databases refuse (U+0000, lone surrogates)
   * @throws TunnelError "snapshot_mismatch": its state is damaged, or of another program, or `action` threw this code: it is parked
   * @throws TunnelError "execution_parked": it was parked before
   * @throws TunnelError "store_failed": and went on failing; "unsupported_version": the store is newer than this build
   */
  async run(
    id: string,
    program: string,
    action: (attempt: Attempt) => Promise<Finished> | Finished,
    options: RunOptions = {},
  ): Promise<RunResult> {
    return await this.#alone({ id, program, action, options, initial: undefined });
  }

  /**
   * Take over an execution from elsewhere, for instance from a host of the Rust crate: the state is checked and committed as its first.
   *
   * @throws TunnelError "revision_conflict": there is an execution of this id that was committed
   * @throws TunnelError "snapshot_mismatch": no receiver can have written the state; the execution is parked
   */
  async adopt(id: string, program: string, state: AdoptedState, options: RunOptions = {}): Promise<RunResult> {
    const { metadata, spans, snapshot } = state;
    const action = (): Finished => ({ snapshot });
    return await this.#alone({ id, program, action, options, initial: { metadata, spans } });
  }

  /** Executions by id, a page at a time from the store. */
  async *list(options: ListOptions = {}): AsyncGenerator<ExecutionSummary, void, undefined> {
    await this.#use();
    let { after } = options;
    for (;;) {
      const page = await this.#store.list({ ...options, ...(after !== undefined && { after }), limit: PAGE });
      yield* page;
      if (page.length < PAGE) return;
      after = page.at(-1)?.id;
    }
  }

  /**
   * An execution and its open spans as of the last commit, without running it.
   *
   * @returns `undefined`: there is none of this id
   * @throws TunnelError "snapshot_mismatch": its state is damaged
   */
  async inspect(id: string): Promise<ExecutionDetails | undefined> {
    await this.#use();
    const execution = await this.#store.load(id);
    if (execution === undefined) return undefined;
    const { state, seed: _seed, committedBy: _committedBy, programDigest: _digest, ...summary } = execution;
    const { metadata, spans } = await this.#read(execution, execution.program);
    return { ...summary, spans: state === undefined ? [] : liveSpans(metadata, spans) };
  }

  /**
   * The state of an execution as of its last commit, in the form that the Rust crate reads too.
   *
   * @returns `undefined`: there is none of this id, or nothing was committed
   * @throws TunnelError "snapshot_mismatch": it is damaged
   */
  async state(id: string): Promise<AdoptedState | undefined> {
    await this.#use();
    const execution = await this.#store.load(id);
    if (execution?.state === undefined) return undefined;
    const { snapshot } = execution.state;
    return { ...(await this.#read(execution, execution.program)), ...(snapshot !== undefined && { snapshot }) };
  }

  /** Let a parked execution be run again, from the state that it has. @returns whether it was parked */
  async unpark(id: string): Promise<boolean> {
    await this.#use();
    return await this.#store.unpark(id, this.#environment.nowMs());
  }

  /** Remove executions that are done and exported, and call sites of programs that nobody uses; a batch per transaction. */
  async prune(options: PruneOptions = {}): Promise<Pruned> {
    const { olderThanMs = 0, batch = PAGE, onProgress } = options;
    await this.#use();
    const doneBeforeMs = this.#environment.nowMs() - Math.ceil(olderThanMs);
    let soFar: Pruned = { executions: 0, programs: 0 };
    for (;;) {
      const { executions, programs } = await this.#store.prune(doneBeforeMs, batch);
      soFar = { executions: soFar.executions + executions, programs: soFar.programs + programs };
      onProgress?.(soFar);
      if (executions < batch && programs < batch) return soFar;
    }
  }

  /**
   * Export everything that is committed and that no other host is exporting. Happens by itself, in the background, after each commit
   * and after the first use; call it to know that it is done.
   *
   * @param options `onProgress`: told how many rows of the outbox were exported so far
   * @throws what a span processor failed with: it is tried again later
   */
  async drain(options: { readonly onProgress?: (rows: number) => void } = {}): Promise<void> {
    await this.#use();
    await this.#exporter.drain(options.onProgress);
  }

  /** Wait for runs and for the export that is under way, then close the store. What is left in the outbox stays there. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.allSettled([...this.#running.values()]);
    await this.#exporter.close();
    await this.#store.close();
  }

  async #use(): Promise<void> {
    if (this.#stop.signal.aborted) throw new TunnelError("store_failed", `${this.#store.name} is closed`);
    await this.#open();
  }

  #open(): Promise<void> {
    this.#opened ??= this.#store.open().then(
      // What earlier hosts have left behind.
      () => this.#exporter.wake(),
      (error: unknown) => {
        this.#opened = undefined;
        throw error;
      },
    );
    return this.#opened;
  }

  async #alone(run: Run): Promise<RunResult> {
    ensureName(run.id);
    ensureName(run.program);
    if (this.#stop.signal.aborted) throw new TunnelError("store_failed", `${this.#store.name} is closed`);
    const before = this.#running.get(run.id);
    const mine = (before ?? Promise.resolve()).then(
      () => this.#run(run),
      () => this.#run(run),
    );
    this.#running.set(run.id, mine);
    try {
      return await mine;
    } finally {
      if (this.#running.get(run.id) === mine) this.#running.delete(run.id);
    }
  }

  async #run(run: Run): Promise<RunResult> {
    const { random, wait, unique } = this.#environment;
    const { retry = {} } = this.#options;
    let begun: Begun | undefined;
    for (let failures = 0; ; ) {
      try {
        await stored(() => this.#open());
        const settled = begun && (await this.#settle(run, begun));
        if (settled !== undefined) return settled;
        begun = { lease: unique() };
        return (await this.#attempt(run, begun)) ?? ((await this.#settle(run, begun)) as RunResult);
      } catch (error) {
        if (!(error instanceof StoreFailure)) throw error;
        if (++failures > (retry.attempts ?? 8) || this.#stop.signal.aborted) throw error.cause;
        this.#report(error.cause);
        await wait(backoffMs(failures, retry, random()), this.#stop.signal);
      }
    }
  }

  /** @returns nothing: it is to be rolled back, because of `begun.error` */
  async #attempt(run: Run, begun: Begun): Promise<RunResult | undefined> {
    const execution = await this.#acquire(run, begun.lease);
    if (execution.status === "done") return { done: true, revision: execution.revision, ran: false };
    const lost = new AbortController();
    const over = new AbortController();
    void this.#holdLease(run.id, begun.lease, lost, over.signal);
    try {
      const finished = await this.#act(run, begun, execution, lost.signal);
      if (finished === undefined) return undefined;
      return await this.#commit(run, begun, execution, finished);
    } finally {
      // Without a reason an error is made, which takes longer than all the rest.
      over.abort("over");
    }
  }

  /** The lease, or an execution that is done. Another host's lease is waited for, but not that it is renewed. */
  async #acquire({ id, program, options, initial }: Run, lease: string): Promise<StoredExecution> {
    const { nowMs, wait, seed } = this.#environment;
    const newSeed = BigInt.asUintN(64, options.seed ?? seed())
      .toString(16)
      .padStart(16, "0");
    let waitsFor: { readonly holder: string; readonly untilMs: number } | undefined;
    for (let pollMs = FIRST_POLL_MS; ; pollMs = Math.min(pollMs * 2, LAST_POLL_MS)) {
      const now = nowMs();
      const untilMs = now + this.#leaseMs;
      const request = { id, program, seed: newSeed, lease, holder: this.#holder, nowMs: now, untilMs };
      const { kind, execution } = await stored(() => this.#store.acquire(request));
      if (kind === "acquired") {
        if (initial === undefined || execution.revision === 0) return execution;
        await stored(() => this.#store.rollBack({ id, lease, outbox: [], nowMs: now }));
        throw new TunnelError("revision_conflict", `execution ${JSON.stringify(id)} is there already`);
      }
      if (execution.status === "done") return execution;
      if (execution.status === "parked") {
        throw new TunnelError("execution_parked", `execution ${JSON.stringify(id)}: ${execution.reason}`);
      }
      const held = execution.lease;
      if (held === undefined) continue;
      waitsFor ??= held;
      const isRenewed = held.holder === waitsFor.holder && held.untilMs > waitsFor.untilMs;
      const isOther = isRenewed || held.holder !== waitsFor.holder;
      if (isOther || options.ifBusy === "throw" || this.#stop.signal.aborted) {
        throw new TunnelError("execution_busy", `${held.holder} works on execution ${JSON.stringify(id)}`);
      }
      await wait(Math.max(Math.min(held.untilMs - now, pollMs), 1), this.#stop.signal);
    }
  }

  async #holdLease(id: string, lease: string, lost: AbortController, over: AbortSignal): Promise<void> {
    const { nowMs, wait } = this.#environment;
    for (;;) {
      await wait(this.#leaseMs / 3, over, "background");
      if (over.aborted) return;
      try {
        if (await this.#store.renew(id, lease, nowMs() + this.#leaseMs)) continue;
        if (!over.aborted) lost.abort();
        return;
      } catch (error) {
        this.#report(error);
      }
    }
  }

  /** Let the action run. @returns nothing: it failed, see `begun.error` */
  async #act(run: Run, begun: Begun, execution: StoredExecution, signal: AbortSignal): Promise<Finished | undefined> {
    const { id, program } = run;
    try {
      if (execution.program !== program) {
        const reason = `its state is of program ${JSON.stringify(execution.program)}, not ${JSON.stringify(program)}`;
        throw new TunnelError("snapshot_mismatch", `execution ${JSON.stringify(id)}: ${reason}`);
      }
      const state = run.initial ?? (await this.#read(execution, program));
      begun.relay = this.#relayOf(run, execution);
      begun.receiver = this.#receiverOf(program, state, begun.relay);
      const finished = await run.action({
        id,
        program,
        receiver: begun.receiver,
        snapshot: execution.state?.snapshot,
        revision: execution.revision,
        attempt: execution.attempts,
        signal,
      });
      const { snapshot } = finished;
      if (snapshot !== undefined && !(snapshot instanceof Uint8Array)) throw new TypeError("the snapshot is not a Uint8Array");
      if (!begun.receiver.isSettled) begun.receiver.persist();
      if (begun.receiver.spans === undefined) throw new TunnelError("receiver_closed", "the attempt was rolled back");
      return finished;
    } catch (thrown) {
      if (thrown instanceof StoreFailure) throw thrown;
      begun.error = { thrown };
      return undefined;
    }
  }

  #relayOf({ program, id, options }: Run, execution: StoredExecution): OutboxExecution {
    const { traces, rollback, pendingSpans, maxSpanAgeMs } = { ...this.#options, ...options };
    const { parent, name = program } = options;
    return this.#relay.outboxExecution({
      seed: BigInt(`0x${execution.seed}`),
      attempt: execution.revision,
      name,
      attributes: {
        "spanduct.execution.id": id,
        "spanduct.execution.program": program,
        "spanduct.execution.run": execution.revision + 1,
      },
      ...(execution.state !== undefined && { previous: JSON.parse(execution.state.trace) }),
      ...(traces !== undefined && { traces }),
      ...(rollback !== undefined && { rollback }),
      ...(pendingSpans !== undefined && { pendingSpans }),
      ...(maxSpanAgeMs !== undefined && { maxSpanAgeMs }),
      ...(parent !== undefined && { parent }),
    });
  }

  #receiverOf(
    program: string,
    { metadata, spans }: { readonly metadata: PersistedMetadata; readonly spans: PersistedSpans },
    relay: OutboxExecution,
  ): AttemptReceiver<GuestSpan> {
    let damage: TunnelError | undefined;
    const receiver = new AttemptReceiver<GuestSpan>(metadata, spans, [], {
      ...this.#options.programs?.[program],
      relay,
      arena: this.#arena,
      program,
      onError: (error) => {
        if (isTunnelError(error.cause) && error.cause.code === "snapshot_mismatch") damage ??= error.cause;
        this.#report(error);
      },
    });
    if (damage === undefined) return receiver;
    receiver[Symbol.dispose]();
    throw damage;
  }

  /** @throws TunnelError "snapshot_mismatch" */
  async #read(
    execution: StoredExecution,
    program: string,
  ): Promise<{ readonly metadata: PersistedMetadata; readonly spans: PersistedSpans }> {
    const { id, revision, state } = execution;
    if (state === undefined && revision === 0) return { metadata: {}, spans: {} };
    if (state === undefined) throw new TunnelError("snapshot_mismatch", `execution ${JSON.stringify(id)} has lost its state`);
    if (checksum(id, program, revision, state) !== state.checksum) {
      throw new TunnelError("snapshot_mismatch", `the state of execution ${JSON.stringify(id)} is not what was committed`);
    }
    const metadata = await stored(() => this.#programs.metadata(program, execution.programDigest, state.ownMetadata));
    return { metadata, spans: parseSpans(state.spans) };
  }

  /** @returns nothing: it came too late, see `begun.error` */
  async #commit(run: Run, begun: Begun, execution: StoredExecution, finished: Finished): Promise<RunResult | undefined> {
    const { id, program } = run;
    const { revision } = execution;
    const receiver = begun.receiver as AttemptReceiver<GuestSpan>;
    const relay = begun.relay as OutboxExecution;
    const done = finished.done === true;
    const metadata = receiver.persistMetadata();
    const open = receiver.spans as PersistedSpans;
    const outbox = payloads(relay, ...(done ? this.#closeAll(run, execution, metadata, open) : []));
    const spans = done ? "{}" : printState(open);
    const liveSpans = done ? 0 : Object.values(open).filter(isOpen).length;
    const trace = JSON.stringify(relay.trace);
    const result: RunResult = { done, revision: revision + 1, ran: true };
    for (;;) {
      const write = await stored(() => this.#programs.write(program, metadata));
      const content: Omit<StoredState, "checksum"> = {
        spans,
        trace,
        ...(write.ownMetadata !== undefined && { ownMetadata: write.ownMetadata }),
        ...(finished.snapshot !== undefined && { snapshot: finished.snapshot }),
      };
      const state = { ...content, checksum: checksum(id, program, revision + 1, content) };
      const status = done ? "done" : "open";
      const nowMs = this.#environment.nowMs();
      begun.committed = result;
      let outcome: "committed" | "program_changed";
      try {
        outcome = await stored(() =>
          this.#store.commit({
            id,
            lease: begun.lease,
            revision,
            status,
            program: write.program,
            state,
            liveSpans,
            outbox,
            nowMs,
          }),
        );
      } catch (thrown) {
        if (thrown instanceof StoreFailure) throw thrown;
        delete begun.committed;
        begun.error = { thrown };
        return undefined;
      }
      if (outcome === "committed") {
        this.#programs.written(write);
        if (outbox.length > 0) this.#exporter.wake();
        return result;
      }
      this.#programs.forget(program);
    }
  }

  /** Close what the guest has left open at its end. */
  #closeAll(run: Run, execution: StoredExecution, metadata: PersistedMetadata, spans: PersistedSpans): OutboxExecution[] {
    if (Object.keys(spans).length === 0) return [];
    const options: RunOptions = { ...run.options, traces: "continuous", pendingSpans: false };
    const relay = this.#relayOf({ ...run, options }, execution);
    relay.finish();
    this.#receiverOf(run.program, { metadata, spans }, relay).persist();
    return [relay];
  }

  /**
   * End an attempt that is not committed, or of which that is not known: roll it back and give the lease back.
   *
   * @returns what it came to, if it was committed after all; nothing: it may be tried again
   * @throws what the attempt failed with
   */
  async #settle({ id }: Run, begun: Begun): Promise<RunResult | undefined> {
    const { lease, committed, error } = begun;
    if (committed !== undefined) {
      const execution = await stored(() => this.#store.load(id));
      if (execution?.committedBy === lease) {
        this.#exporter.wake();
        return committed;
      }
      delete begun.committed;
    }
    if (begun.isUndone !== true) {
      begun.isUndone = true;
      begun.receiver?.[Symbol.dispose]();
      if (begun.receiver?.spans !== undefined) begun.relay?.undo();
    }
    const outbox = begun.relay === undefined ? [] : payloads(begun.relay);
    const park = error !== undefined && isMismatch(error.thrown) ? error.thrown.reason : undefined;
    const nowMs = this.#environment.nowMs();
    await stored(() => this.#store.rollBack({ id, lease, outbox, nowMs, ...(park !== undefined && { park }) }));
    if (outbox.length > 0) this.#exporter.wake();
    if (error !== undefined) throw error.thrown;
    return undefined;
  }

  #report(error: unknown): void {
    try {
      this.#options.onError?.(error);
    } catch {
      // How a host reports is no reason to lose what was done.
    }
  }
}

function ensureName(text: string): void {
  if (text === "" || /[\0\p{Surrogate}]/u.test(text)) throw new TypeError(`${JSON.stringify(text)} is no name`);
}

/** What attempts leave, as rows. */
function payloads(...relays: readonly OutboxExecution[]): string[] {
  return relays
    .map((relay) => relay.outbox())
    .filter(({ records }) => records.length > 0)
    .map((outbox) => JSON.stringify(outbox));
}

/** Whether the span counts as live: one that was closed for its age does not. */
function isOpen({ relay }: PersistedSpans[string]): boolean {
  return (relay as { readonly closed?: unknown } | undefined)?.closed !== true;
}

function isMismatch(error: unknown): error is TunnelError {
  return isTunnelError(error) && error.code === "snapshot_mismatch";
}

/** Do something with the store, and tell its failures from everybody else's. */
async function stored<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (isTunnelError(error) && error.code === "store_failed") throw new StoreFailure(error);
    throw error;
  }
}
