import { type EventSink, recordEvents, type TracingEvent } from "@spanduct/protocol";
import type { Clock } from "./clock.ts";

/** Where a sender puts its events. One object per sender; `batches` makes the usual one. */
export interface SenderOutput {
  /**
   * Get ready for one event. Starts the clock when times begin to count anew.
   *
   * @param dropped how many events the sender could not make or deliver so far
   */
  open(clock: Clock | undefined, dropped: number): EventSink;
  /** The event is written: deliver what is due. @returns what the host answered */
  // biome-ignore lint/suspicious/noConfusingVoidType: hooks without an answer return nothing
  delivered(): number | undefined | void;
  /** Writing or delivering failed half-way. @returns how many events are lost by that */
  discard(): number;
  /**
   * Deliver what there is, or where there is nothing the news of drops. Arguments as for `open`.
   *
   * @returns what the host answered
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: hooks without an answer return nothing
  flush(clock: Clock | undefined, dropped: number): number | undefined | void;
  /** The host's control word, where it can be known without sending anything: call sites that are filtered ask. */
  // biome-ignore lint/suspicious/noConfusingVoidType: hooks without an answer return nothing
  control?(): number | undefined | void;
}

/** Called with each event, as in the crate. @returns the host's control word, if there is one */
// biome-ignore lint/suspicious/noConfusingVoidType: hooks without an answer return nothing
export type OnEvent = (event: TracingEvent) => number | void;

/** Hands over each event as an object, at once. @param control takes every answer: a new span may be two events */
export function eachEvent(onEvent: OnEvent, control: (word: unknown) => void): SenderOutput {
  const recorder = recordEvents((event) => control(onEvent(event)));
  return {
    open(clock) {
      if (clock !== undefined) recorder.timeBase(clock.start());
      return recorder;
    },
    delivered: () => undefined,
    discard: () => 1,
    flush: () => undefined,
  };
}
