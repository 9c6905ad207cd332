import { DecodeError, type PersistedMetadata, type PersistedSpans, TunnelError } from "@spanduct/protocol";
import type { LocalSpans, Relay, TracingEventReceiver } from "@spanduct/receiver";
import { commit, type Outcome, rollBack } from "../outcome.ts";
import { fromPlainError } from "../plain-error.ts";
import type { WorkflowMark } from "./link.ts";
import { muted } from "./muted.ts";
import { type ParentSpan, parentOf, type RunInfo, seedOf } from "./place.ts";

/** What is used of Temporal's `WorkflowInfo`, which has more. */
export interface WorkflowInfo extends RunInfo {
  readonly workflowId: string;
  readonly workflowType: string;
  readonly historyLength: number;
  readonly unsafe: { readonly isReplaying: boolean };
}

/** What the relay of an attempt is made with. */
export interface AttemptOptions {
  /** The same for all attempts of a run, in whatever process. */
  readonly seed: bigint;
  readonly export: "transactional";
  /** What the workflow hangs under: the span that `traceparent` in its memo names. */
  readonly parent?: ParentSpan;
}

/** What a receiver is made with. */
export interface ReceiverState<Span> {
  readonly metadata: PersistedMetadata;
  readonly spans: PersistedSpans;
  readonly localSpans: LocalSpans<Span>;
}

/** How runs are traced; see `TraceTemporalOptions`. */
export interface RunSetup<Span> {
  readonly relay: (attempt: AttemptOptions, info: WorkflowInfo) => Relay<Span>;
  readonly receiver: (state: ReceiverState<Span>, relay: Relay<Span>, info: WorkflowInfo) => TracingEventReceiver<Span>;
  readonly closed: ((info: WorkflowInfo) => Promise<unknown>) | undefined;
  readonly onOutcome: ((outcome: Outcome<void, Span>, info: WorkflowInfo) => void) | undefined;
}

/** What the workflow did in one of its tasks. */
interface Attempt<Span> {
  readonly receiver: TracingEventReceiver<Span>;
  readonly info: WorkflowInfo;
  /** Whether nothing of it is to go out. */
  readonly isMuted: boolean;
  /** Whether the workflow came to the end of the activation at hand. */
  isConcluded: boolean;
  /** Whether that is also the end of the workflow: the workflow's time then, in milliseconds since the Unix epoch. */
  end: number | undefined;
  failure: Error | undefined;
}

const NOTHING: ReceiverState<never> = { metadata: {}, spans: {}, localSpans: [] };

/**
 * One run of a workflow, as its host follows it. An attempt is what the guest does in one workflow task. Whether the server accepts that
 * nobody tells; it shows later:
 *
 * | what comes next | the attempt before |
 * |---|---|
 * | the next task of the same instance of the guest | was accepted: commit |
 * | a new instance, in whose replay there is the task | was accepted: commit |
 * | a new instance, in whose replay there is not | was not accepted: roll back |
 *
 * What is replayed builds up the open spans anew, with the ids and times that they have, and nothing of it goes out: it did when it was
 * live.
 */
export class WorkflowRun<Span> {
  readonly #setup: RunSetup<Span>;
  /** After the last attempt that was accepted. */
  #state: ReceiverState<Span> = NOTHING;
  /** Of the task at hand, or held since. */
  #attempt: Attempt<Span> | undefined;
  /** Held when a new instance of the guest took over. */
  #suspect: Attempt<Span> | undefined;
  /** The last one of this instance; 0 when its begin was missed. */
  #activation = 0;
  /** The end has gone out. */
  #isOver = false;

  constructor(setup: RunSetup<Span>) {
    this.#setup = setup;
  }

  /** @param message whatever the workflow has put into the sink. @returns what was wrong with it */
  take(message: unknown, info: WorkflowInfo): TunnelError | undefined {
    const isBatch = ArrayBuffer.isView(message);
    const mark = (isBatch ? {} : Object(message)) as Partial<WorkflowMark>;
    if (mark.kind === "begin" && Number.isInteger(mark.activation)) return this.#begin(mark.activation as number, info);
    const attempt = this.#attempt;
    if (attempt === undefined) return new TunnelError("receiver_closed", "a message came outside of a task");
    if (isBatch) {
      // Of another realm where workflows do not have a thread of their own.
      attempt.receiver.receiveBatch(new Uint8Array(message.buffer, message.byteOffset, message.byteLength));
    } else if (mark.kind === "failed") {
      attempt.failure = fromPlainError(mark.error);
    } else if (mark.kind === "concluded" && (mark.end === undefined || Number.isFinite(mark.end))) {
      this.#conclude(attempt, mark.end);
    } else {
      return new DecodeError("malformed", "neither a batch nor a mark", 0);
    }
    return undefined;
  }

  /** The worker has ended in good order, so the server has everything: what is held stands. */
  flush(): void {
    const attempt = this.#attempt;
    this.#attempt = undefined;
    if (attempt?.isMuted === false) {
      if (attempt.end !== undefined) this.#end(attempt, attempt.end);
      else if (attempt.isConcluded) this.#accept(attempt);
      else this.#refuse(attempt);
    }
    this.#refuseSuspect();
  }

  #begin(activation: number, info: WorkflowInfo): TunnelError | undefined {
    const before = this.#attempt;
    if (activation === 1) {
      this.#startAnew();
    } else if (activation !== this.#activation + 1 || this.#activation === 0) {
      this.#activation = 0;
      this.#attempt = undefined;
      if (before?.isMuted === false) this.#accept(before);
      return new TunnelError("receiver_closed", `activation ${activation} of a run whose begin is not known`);
    } else if (before !== undefined) {
      if (!before.isMuted && before.info.historyLength === info.historyLength) {
        // One more in the same task.
        this.#activation = activation;
        before.isConcluded = false;
        this.#expectConclusion(before);
        return undefined;
      }
      this.#accept(before);
    }
    this.#activation = activation;
    this.#judgeSuspect(info);
    this.#attempt = this.#newAttempt(info, info.unsafe.isReplaying || this.#isOver);
    this.#expectConclusion(this.#attempt);
    return undefined;
  }

  #newAttempt(info: WorkflowInfo, isMuted: boolean): Attempt<Span> {
    const { relay, receiver } = this.#setup;
    const parent = parentOf(info);
    const own = relay({ seed: seedOf(info), export: "transactional", ...(parent && { parent }) }, info);
    return {
      receiver: receiver(this.#state, isMuted ? muted(own) : own, info),
      info,
      isMuted,
      isConcluded: false,
      end: undefined,
      failure: undefined,
    };
  }

  /** The guest is a new instance, which begins with nothing. */
  #startAnew(): void {
    this.#refuseSuspect();
    if (this.#attempt?.isMuted === false) this.#suspect = this.#attempt;
    this.#attempt = undefined;
    this.#state = NOTHING;
  }

  #judgeSuspect({ historyLength, unsafe: { isReplaying } }: WorkflowInfo): void {
    const suspect = this.#suspect;
    if (suspect === undefined) return;
    if (isReplaying && historyLength < suspect.info.historyLength) return;
    if (isReplaying && historyLength === suspect.info.historyLength) {
      this.#suspect = undefined;
      this.#settle(suspect, commit(suspect.receiver, undefined));
    } else {
      this.#refuseSuspect();
    }
  }

  #refuseSuspect(): void {
    if (this.#suspect !== undefined) this.#refuse(this.#suspect);
    this.#suspect = undefined;
  }

  /** All that the guest says in one activation comes in one turn of the event loop. */
  #expectConclusion(attempt: Attempt<Span>): void {
    setImmediate(() => {
      if (attempt.isConcluded || this.#attempt !== attempt) return;
      this.#attempt = undefined;
      this.#refuse(attempt);
    });
  }

  #conclude(attempt: Attempt<Span>, end: number | undefined): void {
    attempt.isConcluded = true;
    if (end === undefined || attempt.isMuted) return;
    attempt.end = end;
    const { closed } = this.#setup;
    if (closed === undefined) return this.#end(attempt, end);
    const settled = (): void => {
      if (this.#attempt === attempt) this.#end(attempt, end);
    };
    closed(attempt.info).then(settled, settled);
  }

  #end(attempt: Attempt<Span>, time: number): void {
    this.#attempt = undefined;
    this.#accept(attempt);
    this.#closeSpans(attempt.info, time);
    this.#state = NOTHING;
    this.#isOver = true;
  }

  /** Nobody is left to close them. */
  #closeSpans(info: WorkflowInfo, time: number): void {
    const open = Object.entries(this.#state.spans).reverse();
    if (open.length === 0) return;
    const { receiver } = this.#newAttempt(info, false);
    const baseTimeUnixNano = BigInt(Math.floor(time)) * 1_000_000n;
    receiver.batch({ version: 1, clock: "logical", baseTimeUnixNano, sequence: 0, droppedEvents: 0 });
    for (const [id, { ref_count }] of open) {
      for (let i = 0; i < ref_count; i++) receiver.spanDropped(Number(id), 0);
    }
    receiver.persist();
  }

  /** Go on from where this attempt ended. */
  #accept(attempt: Attempt<Span>): void {
    const outcome = commit<void, Span>(attempt.receiver, undefined);
    if (outcome.kind === "committed") {
      const { spans, localSpans } = outcome;
      const metadata = attempt.receiver.persistMetadata();
      // Those of a replay are held back for ever; what was saved of them is good.
      this.#state = { metadata, spans, localSpans: attempt.isMuted ? [] : localSpans };
    }
    this.#settle(attempt, outcome);
  }

  #refuse(attempt: Attempt<Span>): void {
    const error = attempt.failure ?? new Error("the workflow task failed");
    this.#settle(attempt, rollBack(attempt.receiver, error));
  }

  #settle(attempt: Attempt<Span>, outcome: Outcome<void, Span>): void {
    if (!attempt.isMuted) this.#setup.onOutcome?.(outcome, attempt.info);
  }
}
