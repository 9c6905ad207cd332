import type { ClockDomain, EventTime, TraceContext, TracedValues } from "@spanduct/protocol";
import type { CallSite } from "./arena.ts";
import type { ValueShape } from "./value-shape.ts";

/** Values by name, on loan for the call and only to be read. */
export interface RelayedValues extends TracedValues {
  /**
   * Their names and types as one object that may be kept. Absent where the call site has seen too many, and for names that it does not
   * declare.
   */
  readonly shape?: ValueShape | undefined;
}

/** Where a span or an event belongs. */
export interface Parent<Span> {
  /**
   * The enclosing span: the explicit one, or for the contextual parent the span that the guest entered last. `undefined`: none
   * that this host knows, so it hangs under whatever the host has (its root span, a new trace).
   */
  readonly span: Span | undefined;
  /** Whether the guest named the parent. */
  readonly explicit: boolean;
}

/** A span that is still open when a receiver starts, as an earlier receiver left it. */
export interface RestoredSpan<Span> {
  readonly callSite: CallSite;
  readonly id: number | bigint;
  /** All its values, those the call site does not declare left out. */
  readonly values: TracedValues;
  /** The same host's own span, where `LocalSpans` still had it. */
  readonly local: Span | undefined;
  /** What `saveSpan` returned, through JSON; `undefined` when another relay or the genuine crate wrote the state. */
  readonly saved: unknown;
}

/** Events lost on the way, as far as the receiver can tell. */
export interface Loss {
  /** Batches that never arrived, by their sequence numbers. */
  readonly batches: number;
  /** Events that the sender said it dropped. */
  readonly events: number;
}

/**
 * Where a receiver hands what it understood: one object for one attempt at an execution. `Span` is the relay's own handle.
 * Names are those of Rust's `tracing` subscribers. Arguments are borrowed for the call: `values` and `parent` are filled
 * again afterwards. What a method throws is reported as `relay_failed`; the execution goes on.
 *
 * The life of an attempt: `restoreSpan` for every open span, then events, then either `suspend`, `exit` of entered spans,
 * `saveSpan` of every open span, `commit`; or `rollback`, `exit` of entered spans, `tryClose` of spans of this attempt.
 */
export interface Relay<Span = unknown> {
  /**
   * The most verbose level that this execution needs, 0 (off) to 5 (trace). Asked after each batch and passed on to the guest;
   * a relay whose root is not sampled says 0. Absent: 5.
   */
  readonly maxLevel?: number;
  /**
   * What the guest needs to propagate its spans, asked once every open span is restored; `undefined` when there is no span of the
   * host's above the guest.
   */
  readonly traceContext?: TraceContext | undefined;
  /** Times of the events that follow count from `baseUnixNano` and mean `clock`. Events before the first call have no time. */
  timeBase?(baseUnixNano: bigint, clock: ClockDomain): void;
  /** A call site that the arena had not seen. */
  registerCallSite?(callSite: CallSite): void;
  /**
   * @param values where they have a `shape`, their `raws` may be kept with it: nobody writes to them again
   * @returns its handle, anything but `undefined`
   */
  newSpan(callSite: CallSite, id: number | bigint, values: RelayedValues, parent: Parent<Span>, time: EventTime): Span;
  record(span: Span, values: RelayedValues, time: EventTime): void;
  recordFollowsFrom(span: Span, followsFrom: Span, time: EventTime): void;
  enter(span: Span, time: EventTime): void;
  exit(span: Span, time: EventTime): void;
  tryClose(span: Span, time: EventTime): void;
  event(callSite: CallSite, values: RelayedValues, parent: Parent<Span>, time: EventTime): void;
  /** Something did not arrive. */
  loss?(loss: Loss): void;

  /**
   * Go on with a span that an earlier attempt left open; `undefined` when that cannot be done, and the span is created anew when
   * the guest next enters it. Absent: only `LocalSpans` restore.
   */
  restoreSpan?(span: RestoredSpan<Span>): Span | undefined;
  /** What `restoreSpan` needs in another process: plain JSON, no bigints. */
  saveSpan?(span: Span): unknown;

  /** The attempt is about to be persisted; the exits that follow are the receiver's, the guest is still inside those spans. */
  suspend?(): void;
  /** The attempt is persisted: what it did stands. The last call. */
  commit?(): void;
  /** The attempt failed. The exits and closes that follow are the receiver's; then nothing more comes. */
  rollback?(): void;
}
