import { controlWord, type PersistedSpans, type TracingEvent } from "@spanduct/protocol";
import type { LocalSpans, TracingEventReceiver } from "@spanduct/receiver";
import { TracingEventSender } from "@spanduct/sender";

/** How a run of a guest ended. It is settled either way: its receiver is closed. */
export type Outcome<T, Span = unknown> = Committed<T, Span> | RolledBack;

/** The guest came to its end, and the receiver was persisted: what the guest did stands. */
export interface Committed<T, Span = unknown> {
  readonly kind: "committed";
  /** What the guest's code returned. */
  readonly value: T;
  /** Spans that the guest still has open: go on with a new receiver made from them and `receiver.persistMetadata()`. */
  readonly spans: PersistedSpans;
  readonly localSpans: LocalSpans<Span>;
}

/** The guest threw, trapped or was stopped, and the receiver was disposed of: the spans it left open are rolled back. */
export interface RolledBack {
  readonly kind: "rolled_back";
  /** What ended the guest. The trace has it too, as an event `exception` in the span that the guest was in. */
  readonly error: unknown;
}

/** Persist the receiver. */
export function commit<T, Span>(receiver: TracingEventReceiver<Span>, value: T): Outcome<T, Span> {
  try {
    return { kind: "committed", value, ...receiver.persist() };
  } catch (error) {
    // Only a receiver that somebody else has closed.
    return { kind: "rolled_back", error };
  }
}

/** Say in the trace what ended the guest, and dispose of the receiver. */
export function rollBack(receiver: TracingEventReceiver, error: unknown): RolledBack {
  traceError(receiver, error);
  receiver[Symbol.dispose]();
  return { kind: "rolled_back", error };
}

/** Say in the trace what went wrong in the guest, in the span that it is in. */
export function traceError(receiver: TracingEventReceiver, error: unknown): void {
  const host = hostSender(receiver, HOST_CALL_SITE);
  host.control(controlWord(receiver.maxLevel, false));
  const exception = host.event({ name: "exception", level: "error", fields: ["error"] });
  exception.emit({ error: error instanceof Error ? error : new Error(String(error)) });
}

/** Number of a call site of the host's own, one that guests do not come to by counting. */
export const HOST_CALL_SITE: bigint = 2n ** 64n - 1n;

/** Emits events of the host's own into the trace of a guest. @param last number of its first call site; others go down from there */
export function hostSender(receiver: TracingEventReceiver, last: bigint): TracingEventSender {
  const numberOf = (site: number | bigint): bigint => last + 1n - BigInt(site);
  const asHost = (event: TracingEvent): TracingEvent => {
    if ("new_call_site" in event) return { new_call_site: { ...event.new_call_site, id: numberOf(event.new_call_site.id) } };
    if ("new_event" in event) return { new_event: { ...event.new_event, metadata_id: numberOf(event.new_event.metadata_id) } };
    return event;
  };
  return new TracingEventSender((event) => void receiver.tryReceive(asHost(event)), { target: "@spanduct/sandbox" });
}
