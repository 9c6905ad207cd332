import type { BatchEncoder } from "../codec.ts";
import type { Id, TracedError } from "../event.ts";
import { LevelNumber } from "../level.ts";
import type { ClockDomain, EventTime } from "../sink.ts";
import { writeUtf8 } from "../utf8.ts";
import { type ValueColumns, ValueKind } from "../values.ts";

const INITIAL_BYTES = 4096;
/** More than what any event writes between two checks for room. */
const SLACK = 64;

const NO_VALUES: ValueColumns = { fields: [], keys: [], kinds: [], raws: [], size: 0 };

const CLOCK: Readonly<Record<ClockDomain, number>> = { wall: 1, frozen: 2, logical: 3, none: 4 };

/**
 * Writes batches in the protobuf form of `proto/spanduct/v1/tunnel.proto`. Tags are literals, `field << 3 | wire type` (0 varint,
 * 1 eight bytes, 2 length-delimited); above each writer stands the table of its message. Guests carry this file: variables of a
 * closure instead of fields of a class make it a third smaller.
 */
export function createProtobufEncoder(): BatchEncoder {
  let bytes = new Uint8Array(INITIAL_BYTES);
  let view = new DataView(bytes.buffer);
  let pos = 0;
  let count = 0;
  let base = 0n;
  /** What times count from, relative to the header's base. */
  let origin = 0;
  /** Time of the last event that had one, relative to the header's base. */
  let last = 0;

  function room(needed: number): void {
    if (pos + needed <= bytes.length) return;
    const grown = new Uint8Array(Math.max(pos + needed, bytes.length * 2));
    grown.set(bytes);
    bytes = grown;
    view = new DataView(grown.buffer);
  }

  function byte(value: number): void {
    bytes[pos++] = value;
  }

  /** @param value not negative, of 64 bits; a `number` is a safe integer */
  function varint(value: Id): void {
    let wide = value;
    // Beyond 32 bits the low bits go first, until the rest can be shifted as a small integer.
    while (wide > 0x7fff_ffff) {
      byte(Number(BigInt.asUintN(7, BigInt(wide))) | 0x80);
      wide = BigInt(wide) >> 7n;
    }
    let rest = Number(wide);
    while (rest > 0x7f) {
      byte((rest & 0x7f) | 0x80);
      rest >>= 7;
    }
    byte(rest);
  }

  /** @param value of 64 bits; a `number` is a safe integer */
  function zigzag(value: number | bigint): void {
    if (typeof value === "number" && value >= -0x4000_0000 && value < 0x4000_0000) varint((value << 1) ^ (value >> 31));
    else varint(BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n)));
  }

  function number(tag: number, value: Id): void {
    byte(tag);
    varint(value);
  }

  /** A number whose default 0 is not written. */
  function id(tag: number, value: Id): void {
    if (value !== 0) number(tag, value);
  }

  function string(tag: number, text: string): void {
    room(text.length * 3 + SLACK);
    byte(tag);
    const start = pos;
    // Bet that every character is one byte.
    const guess = varintLength(text.length);
    const end = writeUtf8(bytes, start + guess, text);
    const length = end - start - guess;
    const actual = varintLength(length);
    if (actual !== guess) bytes.copyWithin(start + actual, start + guess, end);
    varint(length);
    pos = start + actual + length;
  }

  /** Open a nested message: a tag and one byte for its length. */
  function open(tag: number): number {
    room(SLACK);
    byte(tag);
    return pos++;
  }

  /** Fill in the length that `open` left; a message of 128 bytes or more moves up to make place for it. */
  function close(start: number): void {
    const length = pos - start - 1;
    if (length < 0x80) {
      bytes[start] = length;
      return;
    }
    room(SLACK);
    bytes.copyWithin(start + varintLength(length), start + 1, pos);
    pos = start;
    varint(length);
    pos += length;
  }

  /**
   * | Event field | # | type |
   * |---|---|---|
   * | time_delta_nano | 1 | optional sint64, since the last event of the batch that has one, or the base time |
   * | new_call_site … new_event | 2–10 | oneof; 5–8 are the id of the span itself |
   */
  function event(time: EventTime): number {
    count++;
    const start = open(0x32);
    const at = (time ?? Number.NaN) + origin;
    if (Number.isSafeInteger(at)) {
      byte(0x08);
      zigzag(at - last);
      last = at;
    }
    return start;
  }

  /** Enter, exit, clone and drop are but the id of the span. */
  function spanEvent(tag: number, span: Id, time: EventTime): void {
    const start = event(time);
    number(tag, span);
    close(start);
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
  function message(tag: number, time: EventTime, one: Id, two: Id | undefined, three: Id, of: number, values: ValueColumns): void {
    const start = event(time);
    const inner = open(tag);
    id(0x08, one);
    if (two !== undefined) number(0x10, two);
    id(0x18, three);
    record(of, values);
    close(inner);
    close(start);
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
  function record(tag: number, { keys, kinds, raws, size }: ValueColumns): void {
    for (let i = 0; i < size; i++) {
      const start = open(tag);
      const key = keys[i] as number | string;
      if (typeof key === "string") string(0x12, key);
      else id(0x08, key);
      const raw = raws[i];
      switch (kinds[i]) {
        case ValueKind.bool:
          byte(0x18);
          byte(raw ? 1 : 0);
          break;
        case ValueKind.int:
          if (typeof raw === "bigint" && BigInt.asIntN(64, raw) !== raw) {
            sixteenBytes(0x52, BigInt.asUintN(128, raw));
          } else {
            byte(0x20);
            zigzag(raw as number | bigint);
          }
          break;
        case ValueKind.uInt:
          if (typeof raw === "bigint" && BigInt.asUintN(64, raw) !== raw) sixteenBytes(0x5a, raw);
          else number(0x28, raw as number | bigint);
          break;
        case ValueKind.float:
          byte(0x31);
          view.setFloat64(pos, raw as number, true);
          pos += 8;
          break;
        case ValueKind.string:
          string(0x3a, raw as string);
          break;
        case ValueKind.object:
          string(0x42, raw as string);
          break;
        default:
          error(raw as TracedError);
      }
      close(start);
    }
  }

  function sixteenBytes(tag: number, value: bigint): void {
    byte(tag);
    byte(16);
    view.setBigUint64(pos, BigInt.asUintN(64, value), true);
    view.setBigUint64(pos + 8, value >> 64n, true);
    pos += 16;
  }

  /** Error: causes (1, repeated Cause {message 1, type 2, stack 3; strings}), omitted (2, uint32). */
  function error(outermost: TracedError): void {
    const start = open(0x4a);
    let omitted = 0;
    for (let link: TracedError | null = outermost; link !== null; link = link.source) {
      const cause = open(0x0a);
      string(0x0a, link.message);
      if (link.type !== undefined) string(0x12, link.type);
      if (link.stack !== undefined) string(0x1a, link.stack);
      close(cause);
      omitted = link.omitted ?? 0;
    }
    id(0x10, omitted);
    close(start);
  }

  return {
    get byteLength(): number {
      return pos;
    },

    get eventCount(): number {
      return count;
    },

    finish: () => bytes.subarray(0, pos),

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
    batch(header) {
      pos = 0;
      count = 0;
      origin = 0;
      last = 0;
      base = header.baseTimeUnixNano;
      id(0x08, header.version);
      id(0x10, CLOCK[header.clock]);
      byte(0x19);
      view.setBigUint64(pos, base, true);
      pos += 8;
      id(0x20, header.sequence);
      id(0x28, header.droppedEvents);
    },

    /** Times more than 2^53-1 ns (104 days) from the batch's base are left out, so that the host stamps those events. */
    timeBase(unixNano) {
      origin = Number(unixNano - base);
    },

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
    newCallSite(site, data, time) {
      const start = event(time);
      const message = open(0x12);
      id(0x08, site);
      number(0x10, data.kind === "span" ? 1 : 2);
      number(0x18, LevelNumber[data.level]);
      string(0x22, data.name);
      string(0x2a, data.target);
      if (data.module_path !== undefined) string(0x32, data.module_path);
      if (data.file !== undefined) string(0x3a, data.file);
      if (data.line !== undefined) number(0x40, data.line);
      for (const field of data.fields) string(0x4a, field);
      close(message);
      close(start);
    },

    newSpan: (span, parentId, metadataId, values, time) => message(0x1a, time, span, parentId, metadataId, 0x22, values),
    followsFrom: (span, followsFrom, time) => message(0x22, time, span, followsFrom, 0, 0, NO_VALUES),
    spanEntered: (span, time) => spanEvent(0x28, span, time),
    spanExited: (span, time) => spanEvent(0x30, span, time),
    spanCloned: (span, time) => spanEvent(0x38, span, time),
    spanDropped: (span, time) => spanEvent(0x40, span, time),
    valuesRecorded: (span, values, time) => message(0x4a, time, span, undefined, 0, 0x12, values),
    newEvent: (metadataId, parent, values, time) => message(0x52, time, metadataId, parent, 0, 0x1a, values),
  };
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 0x80)) length++;
  return length;
}
