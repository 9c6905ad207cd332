import { ClockNumber } from "../clock.ts";
import type { BatchEncoder } from "../codec.ts";
import type { CallSiteData, Id, TracedError } from "../event.ts";
import { LevelNumber } from "../level.ts";
import type { BatchHeader, EventTime } from "../sink.ts";
import { writeUtf8 } from "../utf8.ts";
import { type RawValue, type ValueColumns, ValueKind } from "../values.ts";

const INITIAL_BYTES = 4096;
/** More than the longest header or number. */
const SLACK = 32;

/** Writes batches in the MessagePack form that `proto/README.md` describes; above each writer stands its array. */
export class MsgpackEncoder implements BatchEncoder {
  #bytes = new Uint8Array(INITIAL_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #pos = 0;
  #count = 0;
  #base = 0n;
  /** What times count from, relative to the header's base. */
  #origin = 0;
  /** Time of the last event that had one. */
  lastTime = 0;

  get byteLength(): number {
    return this.#pos;
  }

  get eventCount(): number {
    return this.#count;
  }

  get memory(): Uint8Array {
    return this.#bytes;
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#pos);
  }

  /** [version, clock, base_time_unix_nano, sequence, dropped_events] */
  batch(header: BatchHeader): void {
    this.#pos = 0;
    this.#count = 0;
    this.#origin = 0;
    this.lastTime = 0;
    this.#base = header.baseTimeUnixNano;
    this.#array(5);
    this.#integer(header.version);
    this.#integer(ClockNumber[header.clock]);
    this.#integer(header.baseTimeUnixNano);
    this.#integer(header.sequence);
    this.#integer(header.droppedEvents);
  }

  /**
   * Times more than 2^53-1 ns (104 days) from the batch's base, and those that count from such a time, are left out, so that the host
   * stamps those events.
   */
  timeBase(unixNano: bigint): void {
    const origin = Number(unixNano - this.#base);
    // A number that is not safe is no longer exact.
    this.#origin = Number.isSafeInteger(origin) ? origin : Number.NaN;
  }

  /** [2, time, id, kind, level, name, target, module_path, file, line, fields] */
  newCallSite(id: Id, data: CallSiteData, time: EventTime): void {
    this.#event(11, 2, time);
    this.#integer(id);
    this.#integer(data.kind === "span" ? 1 : 2);
    this.#integer(LevelNumber[data.level]);
    this.#text(data.name);
    this.#text(data.target);
    this.#optionalText(data.module_path);
    this.#optionalText(data.file);
    this.#optionalInteger(data.line);
    this.#array(data.fields.length);
    for (const field of data.fields) this.#text(field);
  }

  /** [3, time, id, parent_id, metadata_id, values] */
  newSpan(id: Id, parentId: Id | undefined, metadataId: Id, values: ValueColumns, time: EventTime): void {
    this.#event(6, 3, time);
    this.#integer(id);
    this.#optionalInteger(parentId);
    this.#integer(metadataId);
    this.#values(values);
  }

  /** [4, time, id, follows_from] */
  followsFrom(id: Id, followsFrom: Id, time: EventTime): void {
    this.#event(4, 4, time);
    this.#integer(id);
    this.#integer(followsFrom);
  }

  /** [5, time, id] */
  spanEntered(id: Id, time: EventTime): void {
    this.#event(3, 5, time);
    this.#integer(id);
  }

  /** [6, time, id] */
  spanExited(id: Id, time: EventTime): void {
    this.#event(3, 6, time);
    this.#integer(id);
  }

  /** [7, time, id] */
  spanCloned(id: Id, time: EventTime): void {
    this.#event(3, 7, time);
    this.#integer(id);
  }

  /** [8, time, id] */
  spanDropped(id: Id, time: EventTime): void {
    this.#event(3, 8, time);
    this.#integer(id);
  }

  /** [9, time, id, values] */
  valuesRecorded(id: Id, values: ValueColumns, time: EventTime): void {
    this.#event(4, 9, time);
    this.#integer(id);
    this.#values(values);
  }

  /** [10, time, metadata_id, parent, values] */
  newEvent(metadataId: Id, parent: Id | undefined, values: ValueColumns, time: EventTime): void {
    this.#event(5, 10, time);
    this.#integer(metadataId);
    this.#optionalInteger(parent);
    this.#values(values);
  }

  #event(length: number, kind: number, time: EventTime): void {
    this.#count++;
    this.#array(length);
    this.#integer(kind);
    const at = (time ?? Number.NaN) + this.#origin;
    if (!Number.isSafeInteger(at)) {
      this.#nil();
      return;
    }
    const delta = at - this.lastTime;
    this.#integer(Number.isSafeInteger(delta) ? delta : BigInt(at) - BigInt(this.lastTime));
    this.lastTime = at;
  }

  /** [key, kind, value, key, kind, value, …] */
  #values({ keys, kinds, raws, size }: ValueColumns): void {
    this.#array(size * 3);
    for (let i = 0; i < size; i++) {
      const key = keys[i] as number | string;
      const kind = kinds[i] as ValueKind;
      if (typeof key === "string") this.#text(key);
      else this.#integer(key);
      this.#integer(kind);
      this.#value(kind, raws[i] as RawValue);
    }
  }

  #value(kind: ValueKind, raw: RawValue): void {
    switch (kind) {
      case ValueKind.bool:
        return this.#byte(raw === true ? 0xc3 : 0xc2);
      case ValueKind.int:
      case ValueKind.uInt:
        return this.#wideInteger(raw as number | bigint);
      case ValueKind.float:
        return this.#float(raw as number);
      case ValueKind.string:
      case ValueKind.object:
        return this.#text(raw as string);
      case ValueKind.error:
        return this.#error(raw as TracedError);
    }
  }

  /** [omitted, [message, type, stack], …], outermost first */
  #error(error: TracedError): void {
    let length = 1;
    let omitted = 0;
    for (let link: TracedError | null = error; link !== null; link = link.source) {
      length++;
      omitted = link.omitted ?? 0;
    }
    this.#array(length);
    this.#integer(omitted);
    for (let link: TracedError | null = error; link !== null; link = link.source) {
      this.#array(3);
      this.#text(link.message);
      this.#optionalText(link.type);
      this.#optionalText(link.stack);
    }
  }

  #optionalText(text: string | undefined): void {
    if (text === undefined) this.#nil();
    else this.#text(text);
  }

  #optionalInteger(value: Id | undefined): void {
    if (value === undefined) this.#nil();
    else this.#integer(value);
  }

  #nil(): void {
    this.#byte(0xc0);
  }

  #byte(byte: number): void {
    this.#room(1);
    this.#bytes[this.#pos++] = byte;
  }

  #array(length: number): void {
    this.#room(SLACK);
    if (length < 16) this.#bytes[this.#pos++] = 0x90 | length;
    else if (length < 0x1_0000) this.#prefixed16(0xdc, length);
    else this.#prefixed32(0xdd, length);
  }

  #float(value: number): void {
    this.#room(SLACK);
    this.#bytes[this.#pos++] = 0xcb;
    this.#view.setFloat64(this.#pos, value);
    this.#pos += 8;
  }

  /** @param value int or u_int; what fits neither 64-bit form goes as sixteen bytes, little-endian, two's complement */
  #wideInteger(value: number | bigint): void {
    if (typeof value === "number" || (value >= -(2n ** 63n) && value < 2n ** 64n)) {
      this.#integer(value);
      return;
    }
    this.#room(SLACK);
    this.#bytes[this.#pos++] = 0xc4;
    this.#bytes[this.#pos++] = 16;
    this.#view.setBigUint64(this.#pos, BigInt.asUintN(64, value), true);
    this.#view.setBigUint64(this.#pos + 8, BigInt.asUintN(64, value >> 64n), true);
    this.#pos += 16;
  }

  /** @param value from -2^63 to 2^64-1, in the shortest form that holds it */
  #integer(value: number | bigint): void {
    this.#room(SLACK);
    if (value >= 0) {
      if (value < 0x80) this.#bytes[this.#pos++] = Number(value);
      else if (value < 0x100) {
        this.#bytes[this.#pos++] = 0xcc;
        this.#bytes[this.#pos++] = Number(value);
      } else if (value < 0x1_0000) this.#prefixed16(0xcd, Number(value));
      else if (value < 0x1_0000_0000) this.#prefixed32(0xce, Number(value));
      else this.#prefixed64(0xcf, BigInt(value));
    } else if (value >= -0x20) this.#bytes[this.#pos++] = Number(value) & 0xff;
    else if (value >= -0x80) {
      this.#bytes[this.#pos++] = 0xd0;
      this.#bytes[this.#pos++] = Number(value) & 0xff;
    } else if (value >= -0x8000) this.#prefixed16(0xd1, Number(value) & 0xffff);
    else if (value >= -0x8000_0000) this.#prefixed32(0xd2, Number(value));
    else this.#prefixed64(0xd3, BigInt.asUintN(64, BigInt(value)));
  }

  #text(text: string): void {
    this.#room(text.length * 3 + SLACK);
    // Bet that every character is one byte.
    const start = this.#pos;
    const guess = textHeaderLength(text.length);
    const end = writeUtf8(this.#bytes, start + guess, text);
    const length = end - start - guess;
    const actual = textHeaderLength(length);
    if (actual !== guess) this.#bytes.copyWithin(start + actual, start + guess, end);
    if (actual === 1) this.#bytes[this.#pos++] = 0xa0 | length;
    else if (actual === 2) {
      this.#bytes[this.#pos++] = 0xd9;
      this.#bytes[this.#pos++] = length;
    } else if (actual === 3) this.#prefixed16(0xda, length);
    else this.#prefixed32(0xdb, length);
    this.#pos += length;
  }

  #prefixed16(prefix: number, value: number): void {
    this.#bytes[this.#pos] = prefix;
    this.#view.setUint16(this.#pos + 1, value);
    this.#pos += 3;
  }

  #prefixed32(prefix: number, value: number): void {
    this.#bytes[this.#pos] = prefix;
    this.#view.setUint32(this.#pos + 1, value);
    this.#pos += 5;
  }

  #prefixed64(prefix: number, value: bigint): void {
    this.#bytes[this.#pos] = prefix;
    this.#view.setBigUint64(this.#pos + 1, value);
    this.#pos += 9;
  }

  #room(bytes: number): void {
    const needed = this.#pos + bytes;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

/** Bytes in front of text of so many bytes. */
function textHeaderLength(length: number): number {
  if (length < 32) return 1;
  if (length < 0x100) return 2;
  return length < 0x1_0000 ? 3 : 5;
}
