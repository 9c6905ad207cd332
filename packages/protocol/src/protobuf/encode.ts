import { ClockNumber } from "../clock.ts";
import type { BatchEncoder } from "../codec.ts";
import type { CallSiteData, Id, TracedError } from "../event.ts";
import { LevelNumber } from "../level.ts";
import type { BatchHeader, EventTime } from "../sink.ts";
import { writeUtf8 } from "../utf8.ts";
import { BOOL, ERROR, FLOAT, INT, STRING, U_INT } from "../value-kinds.ts";
import { canonicalInteger, type RawValue, type ValueColumns, type ValueKind } from "../values.ts";

const INITIAL_BYTES = 4096;
/** More than what is written between two checks for room. */
const SLACK = 256;
/** So many UTF-16 units are at most 127 bytes of UTF-8, which a length of one byte can tell. */
const SHORT_TEXT = 42;

/**
 * Writes batches in the protobuf form of `proto/spanduct/v1/tunnel.proto`. Tags are literals, `field << 3 | wire type` (0 varint,
 * 1 eight bytes, 2 length-delimited), but for those of the messages that several tables share; above each writer stands the table
 * of its message.
 */
export function createProtobufEncoder(): BatchEncoder {
  return new ProtobufEncoder();
}

/**
 * Where the bytes go. Functions that take one, because guests carry this file and their names can be made short; what is rarely
 * needed in functions of its own, because engines inline by size. The likely path keeps the position in a variable: one in memory
 * costs as much as a byte.
 */
interface Writer {
  bytes: Uint8Array;
  view: DataView;
  pos: number;
}

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

/** @param value not negative, of 64 bits; a `number` is a safe integer */
function varint(bytes: Uint8Array, at: number, value: Id): number {
  if (value > 0x7fff_ffff) return wideVarint(bytes, at, value);
  let pos = at;
  let rest = value as number;
  while (rest > 0x7f) {
    bytes[pos++] = (rest & 0x7f) | 0x80;
    rest >>= 7;
  }
  bytes[pos++] = rest;
  return pos;
}

/** Numbers and bigints, each in its own arithmetic; `&` sees the lowest 32 bits of any. */
function wideVarint(bytes: Uint8Array, pos: number, value: Id): number {
  bytes[pos] = (typeof value === "number" ? value & 0x7f : Number(value & 0x7fn)) | 0x80;
  return varint(bytes, pos + 1, typeof value === "number" ? Math.floor(value / 0x80) : canonicalInteger(value >> 7n));
}

/** @param value of 64 bits; a `number` is a safe integer */
function zigzag(value: Id): Id {
  return typeof value === "number" && (value << 1) >> 1 === value ? (value << 1) ^ (value >> 31) : wideZigzag(value);
}

/** A bigint only where it has to be: they take ten times as long. */
function wideZigzag(value: Id): Id {
  const twice = Number(value) * 2;
  if (Number.isSafeInteger(twice)) return twice < 0 ? -1 - twice : twice;
  return BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n));
}

function number(w: Writer, tag: number, value: Id): void {
  w.bytes[w.pos] = tag;
  w.pos = varint(w.bytes, w.pos + 1, value);
}

/** A number whose default 0 is not written. */
function id(w: Writer, tag: number, value: Id): void {
  if (value !== 0) number(w, tag, value);
}

/** @throws RangeError when `text` is no text, whose length is no number */
function string(w: Writer, tag: number, text: string): void {
  room(w, text.length * 3 + SLACK);
  const start = open(w, tag);
  w.pos = writeUtf8(w.bytes, start, text);
  close(w, start);
}

/** Open what begins with its length: a tag and one byte for the length. @returns where its content begins */
function open(w: Writer, tag: number): number {
  room(w, SLACK);
  w.bytes[w.pos] = tag;
  w.pos += 2;
  return w.pos;
}

/** Fill in the length that `open` left; 128 bytes or more move up to make place for it. */
function close(w: Writer, start: number): void {
  const length = w.pos - start;
  if (length < 0x80) w.bytes[start - 1] = length;
  else closeLong(w, start, length);
}

function closeLong(w: Writer, start: number, length: number): void {
  room(w, SLACK);
  const { bytes, pos } = w;
  // Written twice, the first time to see how long it is.
  const shift = varint(bytes, pos, length) - pos - 1;
  bytes.copyWithin(start + shift, start, pos);
  varint(bytes, start - 1, length);
  w.pos = pos + shift;
}

/** As two's complement: what is set is cut to 64 bits. */
function sixteenBytes(w: Writer, tag: number, value: bigint): void {
  number(w, tag, 16);
  w.view.setBigUint64(w.pos, value, true);
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
function record(w: Writer, field: number, { keys, kinds, raws, size }: ValueColumns): void {
  for (let i = 0; i < size; i++) {
    const start = open(w, (field << 3) | 2);
    const key = keys[i] as number | string;
    const kind = kinds[i];
    const raw = raws[i];
    let { bytes } = w;
    let pos = start;
    if (typeof key === "string") {
      string(w, 0x12, key);
      ({ bytes, pos } = w);
    } else if (key !== 0) {
      bytes[pos] = 0x08;
      pos = varint(bytes, pos + 1, key);
    }
    if (kind === STRING && (raw as string).length <= SHORT_TEXT) {
      bytes[pos] = 0x3a;
      const end = writeUtf8(bytes, pos + 2, raw as string);
      bytes[pos + 1] = end - pos - 2;
      pos = end;
    } else if (kind === INT && typeof raw === "number") {
      bytes[pos] = 0x20;
      pos = varint(bytes, pos + 1, zigzag(raw));
    } else if (kind === FLOAT) {
      bytes[pos] = 0x31;
      w.view.setFloat64(pos + 1, raw as number, true);
      pos += 9;
    } else {
      w.pos = pos;
      rare(w, kind, raw);
      pos = w.pos;
    }
    w.pos = pos;
    close(w, start);
  }
}

/** What few values are. */
function rare(w: Writer, kind: ValueKind | undefined, raw: RawValue | undefined): void {
  if (kind === BOOL) number(w, 0x18, raw ? 1 : 0);
  else if (kind === ERROR) error(w, raw as TracedError);
  else if (kind === INT && BigInt.asIntN(64, raw as bigint) === raw) number(w, 0x20, wideZigzag(raw));
  else if (kind === INT) sixteenBytes(w, 0x52, raw as bigint);
  else if (kind !== U_INT) string(w, kind === STRING ? 0x3a : 0x42, raw as string);
  else if (typeof raw === "bigint" && BigInt.asUintN(64, raw) !== raw) sixteenBytes(w, 0x5a, raw);
  else number(w, 0x28, raw as number | bigint);
}

class ProtobufEncoder implements BatchEncoder, Writer {
  bytes: Uint8Array = new Uint8Array(INITIAL_BYTES);
  view: DataView = new DataView(this.bytes.buffer);
  pos = 0;
  eventCount = 0;
  #base = 0n;
  /** What times count from, relative to the header's base. */
  #origin = 0;
  /** Time of the last event that had one. */
  lastTime = 0;

  get byteLength(): number {
    return this.pos;
  }

  get memory(): Uint8Array {
    return this.bytes;
  }

  finish(): Uint8Array {
    return this.bytes.subarray(0, this.pos);
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
    this.pos = 0;
    this.eventCount = 0;
    this.#origin = 0;
    this.lastTime = 0;
    this.#base = header.baseTimeUnixNano;
    id(this, 0x08, header.version);
    id(this, 0x10, ClockNumber[header.clock]);
    this.bytes[this.pos] = 0x19;
    this.view.setBigUint64(this.pos + 1, this.#base, true);
    this.pos += 9;
    id(this, 0x20, header.sequence);
    id(this, 0x28, header.droppedEvents);
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
    const start = this.#event(time);
    const inner = open(this, 0x12);
    id(this, 0x08, site);
    number(this, 0x10, data.kind === "span" ? 1 : 2);
    number(this, 0x18, LevelNumber[data.level]);
    string(this, 0x22, data.name);
    string(this, 0x2a, data.target);
    if (data.module_path !== undefined) string(this, 0x32, data.module_path);
    if (data.file !== undefined) string(this, 0x3a, data.file);
    if (data.line !== undefined) number(this, 0x40, data.line);
    for (const field of data.fields) string(this, 0x4a, field);
    close(this, inner);
    close(this, start);
  }

  newSpan(span: Id, parentId: Id | undefined, metadataId: Id, values: ValueColumns, time: EventTime): void {
    this.#message(3, time, span, parentId, metadataId, 4, values);
  }

  followsFrom(span: Id, followsFrom: Id, time: EventTime): void {
    this.#message(4, time, span, followsFrom, 0);
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
    this.#message(9, time, span, undefined, 0, 2, values);
  }

  newEvent(metadataId: Id, parent: Id | undefined, values: ValueColumns, time: EventTime): void {
    this.#message(10, time, metadataId, parent, 0, 3, values);
  }

  /**
   * | Event field | # | type |
   * |---|---|---|
   * | time_delta_nano | 1 | optional sint64, since the last event of the batch that has one, or the base time |
   * | new_call_site … new_event | 2–10 | oneof; 5–8 are the id of the span itself |
   */
  #event(time: EventTime): number {
    this.eventCount++;
    const start = open(this, 0x32);
    const at = (time ?? Number.NaN) + this.#origin;
    if (Number.isSafeInteger(at)) {
      const delta = at - this.lastTime;
      const isShort = (delta << 1) >> 1 === delta;
      number(this, 0x08, isShort ? (delta << 1) ^ (delta >> 31) : wideZigzag(BigInt(at) - BigInt(this.lastTime)));
      this.lastTime = at;
    }
    return start;
  }

  #ofSpan(tag: number, span: Id, time: EventTime): void {
    const start = this.#event(time);
    number(this, tag, span);
    close(this, start);
  }

  /**
   * The messages that carry ids and values. Fields 1 and 3 are left out when 0, field 2 when it is `undefined`; the values are field
   * `of`. Written out, because engines would not inline that much.
   *
   * | # | NewSpan | FollowsFrom | ValuesRecorded | NewEvent |
   * |---|---|---|---|---|
   * | 1 | id, uint64 | id, uint64 | id, uint64 | metadata_id, uint64 |
   * | 2 | parent_id, optional uint64 | follows_from, uint64 | values, repeated Value | parent, optional uint64 |
   * | 3 | metadata_id, uint64 | | | values, repeated Value |
   * | 4 | values, repeated Value | | | |
   */
  #message(field: number, time: EventTime, one: Id, two: Id | undefined, three: Id, of = 0, values?: ValueColumns): void {
    const start = this.#event(time);
    const { bytes } = this;
    const inner = this.pos + 2;
    bytes[inner - 2] = (field << 3) | 2;
    let pos = inner;
    if (one !== 0) {
      bytes[pos] = 0x08;
      pos = varint(bytes, pos + 1, one);
    }
    if (two !== undefined) {
      bytes[pos] = 0x10;
      pos = varint(bytes, pos + 1, two);
    }
    if (three !== 0) {
      bytes[pos] = 0x18;
      pos = varint(bytes, pos + 1, three);
    }
    this.pos = pos;
    if (values !== undefined) record(this, of, values);
    close(this, inner);
    close(this, start);
  }
}
