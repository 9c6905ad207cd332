import type { CallSiteData, Id } from "./event.ts";
import type { ValueColumns } from "./values.ts";

/**
 * What a guest's timestamps mean. `wall`: real time. `frozen`: real time that advances only between I/O (Cloudflare Workers).
 * `logical`: time of the workflow, the same at every replay. `none`: the guest has no clock and the host stamps arrival.
 */
export type ClockDomain = "wall" | "frozen" | "logical" | "none";

/** What is said once for a batch of events. */
export interface BatchHeader {
  /** Version of the wire form; 1. */
  readonly version: number;
  readonly clock: ClockDomain;
  /** Nanoseconds since the Unix epoch that the times of the batch's events count from; 0 to 2^64-1. */
  readonly baseTimeUnixNano: bigint;
  /** 0 for the first batch of a sender, then one more each time; a jump means that batches were lost. */
  readonly sequence: number;
  /** How many events the sender dropped since it began, ever. */
  readonly droppedEvents: number;
}

/** Nanoseconds after the base time (may be negative), a safe integer; `undefined` where the event carries no time. */
export type EventTime = number | undefined;

/**
 * The waist of the tunnel: whatever makes events calls one of these, whatever takes events is one. Arguments are borrowed for
 * the call: `values` is filled again afterwards. Ids are canonical (`Id`).
 */
export interface EventSink {
  /** A batch begins: the times of its events count from its base time. */
  batch(header: BatchHeader): void;
  /** Times of the events that follow count from here, until the next call or batch; for events that come one by one. */
  timeBase(unixNano: bigint): void;
  newCallSite(id: Id, data: CallSiteData, time: EventTime): void;
  /** @param parentId explicit parent; `undefined` for the contextual one */
  newSpan(id: Id, parentId: Id | undefined, metadataId: Id, values: ValueColumns, time: EventTime): void;
  followsFrom(id: Id, followsFrom: Id, time: EventTime): void;
  spanEntered(id: Id, time: EventTime): void;
  spanExited(id: Id, time: EventTime): void;
  spanCloned(id: Id, time: EventTime): void;
  spanDropped(id: Id, time: EventTime): void;
  valuesRecorded(id: Id, values: ValueColumns, time: EventTime): void;
  /** @param parent explicit parent; `undefined` for the contextual one */
  newEvent(metadataId: Id, parent: Id | undefined, values: ValueColumns, time: EventTime): void;
}
