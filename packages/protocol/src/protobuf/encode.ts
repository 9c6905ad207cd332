import { ClockNumber } from "../clock.ts";
import type { BatchEncoder } from "../codec.ts";
import type { CallSiteData, Id, TracedError } from "../event.ts";
import { LevelNumber } from "../level.ts";
import type { BatchHeader, EventTime } from "../sink.ts";
import { writeUtf8 } from "../utf8.ts";
import { canonicalInteger, type ValueColumns, ValueKind } from "../values.ts";

const INITIAL_BYTES = 4096;
/** More than what any event writes between two checks for room. */
const SLACK = 64;
/** So many UTF-16 units are at most 127 bytes of UTF-8, which a length of one byte can tell. */
const SHORT_TEXT = 42;

const NO_VALUES: ValueColumns = { fields: [], keys: [], kinds: [], raws: [], size: 0 };

/**
 * Writes batches in the protobuf form of `proto/spanduct/v1/tunnel.proto`. Tags are literals, `field << 3 | wire type` (0 varint,
 * 1 eight bytes, 2 length-delimited); above each writer stands the table of its message.
 */
export function createProtobufEncoder(): BatchEncoder {
  return new ProtobufEncoder();
}

/**
 * Where the bytes go. Functions that take one, because guests carry this file and their names can be made short; what is rarely
 * needed in functions of its own, because engines inline by size.
 */
class Writer {
  bytes: Uint8Array = new Uint8Array(INITIAL_BYTES);
  view: DataView = new DataView(this.bytes.buffer);
  pos = 0;
}

/** @throws RangeError when `needed` is no number, as for the length of what is no text */
function room(w: Writer, needed: number): void {
  if (w.pos + needed <= w.bytes.length) return;
  grow(w, needed);
}

function grow(w: Writer, needed: number): void {
  const grown = new Uint8Array(Math.max(w.pos + needed, w.bytes.length * 2));
  grown.set(w.bytes);
  w.bytes = grown;
  w.view = new DataView(grown.buffer);
}

function byte(w: Writer, value: number): void {
  w.bytes[w.pos++] = value;
}

/** @param value not negative, of 64 bits; a `number` is a safe integer */
function varint(w: Writer, value: Id): void {
  if (value > 0x7fff_ffff) return wideVarint(w, BigInt(value));
  let rest = value as number;
  while (rest > 0x7f) {
    byte(w, (rest & 0x7f) | 0x80);
    rest >>= 7;
  }
  byte(w, rest);
}

function wideVarint(w: Writer, value: bigint): void {
  byte(w, Number(value & 0x7fn) | 0x80);
  varint(w, canonicalInteger(value >> 7n));
}

/** @param value of 64 bits; a `number` is a safe integer */
function zigzag(w: Writer, value: number | bigint): void {
  if (typeof value === "number" && value >= -0x4000_0000 && value < 0x4000_0000) varint(w, (value << 1) ^ (value >> 31));
  else varint(w, BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n)));
}

function number(w: Writer, tag: number, value: Id): void {
  byte(w, tag);
  varint(w, value);
}

/** A number whose default 0 is not written. */
function id(w: Writer, tag: number, value: Id): void {
  if (value !== 0) number(w, tag, value);
}

function string(w: Writer, tag: number, text: string): void {
  room(w, text.length * 3 + SLACK);
  byte(w, tag);
  const { bytes, pos: start } = w;
  if (text.length <= SHORT_TEXT) {
    w.pos = writeUtf8(bytes, start + 1, text);
    bytes[start] = w.pos - start - 1;
    return;
  }
  // Bet that every character is one byte.
  const guess = varintLength(text.length);
  const end = writeUtf8(bytes, start + guess, text);
  const length = end - start - guess;
  const actual = varintLength(length);
  if (actual !== guess) bytes.copyWithin(start + actual, start + guess, end);
  varint(w, length);
  w.pos = start + actual + length;
}

/** Open a nested message: a tag and one byte for its length. */
function open(w: Writer, tag: number): number {
  room(w, SLACK);
  byte(w, tag);
  return w.pos++;
}

/** Fill in the length that `open` left; a message of 128 bytes or more moves up to make place for it. */
function close(w: Writer, start: number): void {
  const length = w.pos - start - 1;
  if (length < 0x80) w.bytes[start] = length;
  else closeLong(w, start, length);
}

function closeLong(w: Writer, start: number, length: number): void {
  room(w, SLACK);
  w.bytes.copyWithin(start + varintLength(length), start + 1, w.pos);
  w.pos = start;
  varint(w, length);
  w.pos += length;
}

function sixteenBytes(w: Writer, tag: number, value: bigint): void {
  byte(w, tag);
  byte(w, 16);
  w.view.setBigUint64(w.pos, BigInt.asUintN(64, value), true);
  w.view.setBigUint64(w.pos + 8, value >> 64n, true);
  w.pos += 16;
}

/** Error: causes (1, repeated Cause {message 1, type 2, stack 3; strings}), omitted (2, uint32). */
function error(w: Writer, outermost: TracedError): void {
  const start = open(w, 0x4a);
  let omitted = 0;
  for (let link: TracedError | null = outermost; link !== null; link = link.source) {
    const cause = open(w, 0x0a);
    string(w, 0x0a, link.message);
    if (link.type !== undefined) string(w, 0x12, link.type);
    if (link.stack !== undefined) string(w, 0x1a, link.stack);
    close(w, cause);
    omitted = link.omitted ?? 0;
  }
  id(w, 0x10, omitted);
  close(w, start);
}

/**
 * | Value field | # | type |
 * |---|---|---|
 * | field | 1 | uint32, index into the call site's fields; 0 is not written |
 * | name | 2 | optional string, instead of `field` |
 * | bool, int, u_int, float | 3, 4, 5, 6 | bool, sint64, uint64, double |
 * | string, object, error | 7, 8, 9 | string, string, Error |
 * | int128, u_int128 | 10, 11 | bytes, for what does not fit 64 bits |
 */
function record(w: Writer, tag: number, { keys, kinds, raws, size }: ValueColumns): void {
  for (let i = 0; i < size; i++) {
    const start = open(w, tag);
    const key = keys[i] as number | string;
    if (typeof key === "string") string(w, 0x12, key);
    else id(w, 0x08, key);
    const raw = raws[i];
    switch (kinds[i]) {
      case ValueKind.bool:
        byte(w, 0x18);
        byte(w, raw ? 1 : 0);
        break;
      case ValueKind.int:
        if (typeof raw === "bigint" && BigInt.asIntN(64, raw) !== raw) {
          sixteenBytes(w, 0x52, BigInt.asUintN(128, raw));
        } else {
          byte(w, 0x20);
          zigzag(w, raw as number | bigint);
        }
        break;
      case ValueKind.uInt:
        if (typeof raw === "bigint" && BigInt.asUintN(64, raw) !== raw) sixteenBytes(w, 0x5a, raw);
        else number(w, 0x28, raw as number | bigint);
        break;
      case ValueKind.float:
        byte(w, 0x31);
        w.view.setFloat64(w.pos, raw as number, true);
        w.pos += 8;
        break;
      case ValueKind.string:
        string(w, 0x3a, raw as string);
        break;
      case ValueKind.object:
        string(w, 0x42, raw as string);
        break;
      default:
        error(w, raw as TracedError);
    }
    close(w, start);
  }
}

class ProtobufEncoder implements BatchEncoder {
  readonly #w: Writer = new Writer();
  eventCount = 0;
  #base = 0n;
  /** What times count from, relative to the header's base. */
  #origin = 0;
  /** Time of the last event that had one. */
  lastTime = 0;

  get byteLength(): number {
    return this.#w.pos;
  }

  get memory(): Uint8Array {
    return this.#w.bytes;
  }

  finish(): Uint8Array {
    return this.#w.bytes.subarray(0, this.#w.pos);
  }

  /**
   * | Batch field | # | type |
   * |---|---|---|
   * | version | 1 | uint32 |
   * | clock | 2 | ClockDomain |
   * | base_time_unix_nano | 3 | fixed64 |
   * | sequence | 4 | uint64 |
   * | dropped_events | 5 | uint64 |
   * | events | 6 | repeated Event |
   */
  batch(header: BatchHeader): void {
    const w = this.#w;
    w.pos = 0;
    this.eventCount = 0;
    this.#origin = 0;
    this.lastTime = 0;
    this.#base = header.baseTimeUnixNano;
    id(w, 0x08, header.version);
    id(w, 0x10, ClockNumber[header.clock]);
    byte(w, 0x19);
    w.view.setBigUint64(w.pos, this.#base, true);
    w.pos += 8;
    id(w, 0x20, header.sequence);
    id(w, 0x28, header.droppedEvents);
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

  /**
   * | NewCallSite field | # | type |
   * |---|---|---|
   * | id | 1 | uint64 |
   * | kind | 2 | CallSiteKind |
   * | level | 3 | Level |
   * | name | 4 | string |
   * | target | 5 | string |
   * | module_path | 6 | optional string |
   * | file | 7 | optional string |
   * | line | 8 | optional uint32 |
   * | fields | 9 | repeated string |
   */
  newCallSite(site: Id, data: CallSiteData, time: EventTime): void {
    const w = this.#w;
    const start = this.#event(time);
    const inner = open(w, 0x12);
    id(w, 0x08, site);
    number(w, 0x10, data.kind === "span" ? 1 : 2);
    number(w, 0x18, LevelNumber[data.level]);
    string(w, 0x22, data.name);
    string(w, 0x2a, data.target);
    if (data.module_path !== undefined) string(w, 0x32, data.module_path);
    if (data.file !== undefined) string(w, 0x3a, data.file);
    if (data.line !== undefined) number(w, 0x40, data.line);
    for (const field of data.fields) string(w, 0x4a, field);
    close(w, inner);
    close(w, start);
  }

  newSpan(span: Id, parentId: Id | undefined, metadataId: Id, values: ValueColumns, time: EventTime): void {
    this.#message(0x1a, time, span, parentId, metadataId, 0x22, values);
  }

  followsFrom(span: Id, followsFrom: Id, time: EventTime): void {
    this.#message(0x22, time, span, followsFrom, 0, 0, NO_VALUES);
  }

  spanEntered(span: Id, time: EventTime): void {
    this.#ofSpan(0x28, span, time);
  }

  spanExited(span: Id, time: EventTime): void {
    this.#ofSpan(0x30, span, time);
  }

  spanCloned(span: Id, time: EventTime): void {
    this.#ofSpan(0x38, span, time);
  }

  spanDropped(span: Id, time: EventTime): void {
    this.#ofSpan(0x40, span, time);
  }

  valuesRecorded(span: Id, values: ValueColumns, time: EventTime): void {
    this.#message(0x4a, time, span, undefined, 0, 0x12, values);
  }

  newEvent(metadataId: Id, parent: Id | undefined, values: ValueColumns, time: EventTime): void {
    this.#message(0x52, time, metadataId, parent, 0, 0x1a, values);
  }

  /**
   * | Event field | # | type |
   * |---|---|---|
   * | time_delta_nano | 1 | optional sint64, since the last event of the batch that has one, or the base time |
   * | new_call_site … new_event | 2–10 | oneof; 5–8 are the id of the span itself |
   */
  #event(time: EventTime): number {
    const w = this.#w;
    this.eventCount++;
    const start = open(w, 0x32);
    const at = (time ?? Number.NaN) + this.#origin;
    if (Number.isSafeInteger(at)) {
      byte(w, 0x08);
      const delta = at - this.lastTime;
      zigzag(w, Number.isSafeInteger(delta) ? delta : BigInt(at) - BigInt(this.lastTime));
      this.lastTime = at;
    }
    return start;
  }

  #ofSpan(tag: number, span: Id, time: EventTime): void {
    const start = this.#event(time);
    number(this.#w, tag, span);
    close(this.#w, start);
  }

  /**
   * The messages that carry ids and values. Fields 1 and 3 are left out when 0, field 2 when it is `undefined`.
   *
   * | # | NewSpan | FollowsFrom | ValuesRecorded | NewEvent |
   * |---|---|---|---|---|
   * | 1 | id, uint64 | id, uint64 | id, uint64 | metadata_id, uint64 |
   * | 2 | parent_id, optional uint64 | follows_from, uint64 | values, repeated Value | parent, optional uint64 |
   * | 3 | metadata_id, uint64 | | | values, repeated Value |
   * | 4 | values, repeated Value | | | |
   */
  #message(tag: number, time: EventTime, one: Id, two: Id | undefined, three: Id, of: number, values: ValueColumns): void {
    const w = this.#w;
    const start = this.#event(time);
    const inner = open(w, tag);
    id(w, 0x08, one);
    if (two !== undefined) number(w, 0x10, two);
    id(w, 0x18, three);
    record(w, of, values);
    close(w, inner);
    close(w, start);
  }
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 0x80)) length++;
  return length;
}
