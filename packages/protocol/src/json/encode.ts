import type { BatchEncoder } from "../codec.ts";
import { dispatchEvent } from "../dispatch.ts";
import type { CallSiteData, Id, TracingEvent } from "../event.ts";

import type { BatchHeader, EventTime } from "../sink.ts";
import { UNLIMITED } from "../unlimited.ts";
import { readUtf8 } from "../utf8.ts";
import type { ValueColumns } from "../values.ts";
import { JsonWriter } from "./writer.ts";

const NANOS = 1_000_000_000;
/** 2^64-1 nanoseconds, in whole seconds and the rest. */
const MAX_SECONDS = 18_446_744_073;
const MAX_NANOS = 709_551_615;

/**
 * Batches as JSON lines: a header line, then one event a line in the crate's form, each with a line feed behind it. Without a
 * `batch` first, there is no header line. Times outside 0 to 2^64-1 are left out, so that the host stamps those events.
 */
export class JsonEncoder implements BatchEncoder {
  readonly lastTime = 0;
  readonly #writer: JsonWriter = new JsonWriter();
  #count = 0;
  #baseSeconds = 0;
  #baseNanos = 0;

  get byteLength(): number {
    return this.#writer.byteLength;
  }

  get eventCount(): number {
    return this.#count;
  }

  get memory(): Uint8Array {
    return this.#writer.memory;
  }

  finish(): Uint8Array {
    return this.#writer.bytes;
  }

  batch(header: BatchHeader): void {
    const writer = this.#writer;
    this.#count = 0;
    this.timeBase(header.baseTimeUnixNano);
    writer.clear();
    writer.raw('{"batch":{"version":');
    writer.integer(header.version);
    writer.raw(`,"clock":"${header.clock}","base_time_unix_nano":`);
    writer.integer(header.baseTimeUnixNano);
    writer.raw(',"sequence":');
    writer.integer(header.sequence);
    writer.raw(',"dropped_events":');
    writer.integer(header.droppedEvents);
    writer.raw("}}\n");
  }

  timeBase(unixNano: bigint): void {
    this.#baseSeconds = Number(unixNano / BigInt(NANOS));
    this.#baseNanos = Number(unixNano % BigInt(NANOS));
  }

  newCallSite(id: Id, data: CallSiteData, time: EventTime): void {
    const writer = this.#writer;
    writer.raw('{"new_call_site":{"id":');
    writer.integer(id);
    writer.raw(",");
    writer.callSite(data);
    this.#end(time);
  }

  newSpan(id: Id, parentId: Id | undefined, metadataId: Id, values: ValueColumns, time: EventTime): void {
    const writer = this.#writer;
    writer.raw('{"new_span":{"id":');
    writer.integer(id);
    if (parentId !== undefined) {
      writer.raw(',"parent_id":');
      writer.integer(parentId);
    }
    writer.raw(',"metadata_id":');
    writer.integer(metadataId);
    writer.raw(',"values":');
    writer.values(values);
    this.#end(time);
  }

  followsFrom(id: Id, followsFrom: Id, time: EventTime): void {
    const writer = this.#writer;
    writer.raw('{"follows_from":{"id":');
    writer.integer(id);
    writer.raw(',"follows_from":');
    writer.integer(followsFrom);
    this.#end(time);
  }

  spanEntered(id: Id, time: EventTime): void {
    this.#spanEvent('{"span_entered":{"id":', id, time);
  }

  spanExited(id: Id, time: EventTime): void {
    this.#spanEvent('{"span_exited":{"id":', id, time);
  }

  spanCloned(id: Id, time: EventTime): void {
    this.#spanEvent('{"span_cloned":{"id":', id, time);
  }

  spanDropped(id: Id, time: EventTime): void {
    this.#spanEvent('{"span_dropped":{"id":', id, time);
  }

  valuesRecorded(id: Id, values: ValueColumns, time: EventTime): void {
    const writer = this.#writer;
    writer.raw('{"values_recorded":{"id":');
    writer.integer(id);
    writer.raw(',"values":');
    writer.values(values);
    this.#end(time);
  }

  newEvent(metadataId: Id, parent: Id | undefined, values: ValueColumns, time: EventTime): void {
    const writer = this.#writer;
    writer.raw('{"new_event":{"metadata_id":');
    writer.integer(metadataId);
    if (parent !== undefined) {
      writer.raw(',"parent":');
      writer.integer(parent);
    }
    writer.raw(',"values":');
    writer.values(values);
    this.#end(time);
  }

  #spanEvent(start: string, id: Id, time: EventTime): void {
    this.#writer.raw(start);
    this.#writer.integer(id);
    this.#end(time);
  }

  #end(time: EventTime): void {
    this.#count++;
    if (time !== undefined) this.#time(time);
    this.#writer.raw("}}\n");
  }

  /** Seconds and nanoseconds apart, because their sum is no exact `number`. */
  #time(time: number): void {
    const whole = Math.floor(time / NANOS);
    const sum = this.#baseNanos + (time - whole * NANOS);
    const carry = sum >= NANOS ? 1 : 0;
    const seconds = this.#baseSeconds + whole + carry;
    const nanos = sum - carry * NANOS;
    if (seconds < 0 || seconds > MAX_SECONDS || (seconds === MAX_SECONDS && nanos > MAX_NANOS)) return;
    this.#writer.raw(',"time_unix_nano":');
    if (seconds === 0) return this.#writer.integer(nanos);
    this.#writer.integer(seconds);
    this.#writer.digits(nanos, 9);
  }
}

/**
 * The event as a line of the crate's JSON, without the line feed.
 *
 * @throws DecodeError "malformed": it is not an event
 */
export function printEvent(event: TracingEvent): string {
  const encoder = new JsonEncoder();
  dispatchEvent(event, encoder, UNLIMITED);
  // What was just written is valid.
  return readUtf8(encoder.finish(), 0, encoder.byteLength - 1) as string;
}
