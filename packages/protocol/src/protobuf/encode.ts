import type { BatchEncoder } from "../codec.ts";
import { TunnelError } from "../errors.ts";
import type { CallSiteData, Id, TracedError } from "../event.ts";
import { LevelNumber } from "../level.ts";
import type { BatchHeader, ClockDomain, EventTime } from "../sink.ts";
import { writeUtf8 } from "../utf8.ts";
import { type TracedValues, ValueKind } from "../values.ts";

const INITIAL_BYTES = 4096;
/** More than any tag, length prefix or number needs. */
const SLACK = 64;

const CLOCK: Readonly<Record<ClockDomain, number>> = { wall: 1, frozen: 2, logical: 3, none: 4 };

/**
 * Batches in the protobuf form of `proto/spanduct/v1/tunnel.proto`. Tags are written as literals, `field << 3 | wire type`
 * (0 varint, 1 eight bytes, 2 length-delimited); above each writer stands the table of its message.
 */
export class ProtobufEncoder implements BatchEncoder {
  #bytes = new Uint8Array(INITIAL_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #pos = 0;
  #count = 0;
  #base = 0n;
  /** What times count from, relative to the header's base. */
  #origin = 0;
  /** Time of the last event that had one, relative to the header's base. */
  #last = 0;

  get byteLength(): number {
    return this.#pos;
  }

  get eventCount(): number {
    return this.#count;
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#pos);
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
    this.#pos = 0;
    this.#count = 0;
    this.#origin = 0;
    this.#last = 0;
    this.#base = header.baseTimeUnixNano;
    this.#room(SLACK * 2);
    this.#byte(0x08);
    this.#varint(header.version);
    this.#byte(0x10);
    this.#byte(CLOCK[header.clock]);
    if (header.baseTimeUnixNano !== 0n) {
      this.#byte(0x19);
      this.#view.setBigUint64(this.#pos, header.baseTimeUnixNano, true);
      this.#pos += 8;
    }
    if (header.sequence !== 0) {
      this.#byte(0x20);
      this.#varint(header.sequence);
    }
    if (header.droppedEvents !== 0) {
      this.#byte(0x28);
      this.#varint(header.droppedEvents);
    }
  }

  /** @throws TunnelError "malformed": more than 2^53 ns from the batch's base time; start a batch of its own */
  timeBase(unixNano: bigint): void {
    const origin = Number(unixNano - this.#base);
    if (!Number.isSafeInteger(origin)) {
      throw new TunnelError("malformed", `time ${unixNano} is too far from the batch's base ${this.#base}; start a new batch`);
    }
    this.#origin = origin;
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
  newCallSite(id: Id, data: CallSiteData, time: EventTime): void {
    const event = this.#begin(time);
    const message = this.#nest(0x12);
    this.#id(0x08, id);
    this.#byte(0x10);
    this.#byte(data.kind === "span" ? 1 : 2);
    this.#byte(0x18);
    this.#byte(LevelNumber[data.level]);
    this.#string(0x22, data.name);
    this.#string(0x2a, data.target);
    if (data.module_path !== undefined) this.#string(0x32, data.module_path);
    if (data.file !== undefined) this.#string(0x3a, data.file);
    if (data.line !== undefined) {
      this.#byte(0x40);
      this.#varint(data.line);
    }
    for (const field of data.fields) this.#string(0x4a, field);
    this.#close(message);
    this.#close(event);
  }

  /**
   * | NewSpan field | # | type |
   * |---|---|---|
   * | id | 1 | uint64 |
   * | parent_id | 2 | optional uint64 |
   * | metadata_id | 3 | uint64 |
   * | values | 4 | repeated Value |
   */
  newSpan(id: Id, parentId: Id | undefined, metadataId: Id, values: TracedValues, time: EventTime): void {
    const event = this.#begin(time);
    const message = this.#nest(0x1a);
    this.#id(0x08, id);
    if (parentId !== undefined) this.#id(0x10, parentId);
    this.#id(0x18, metadataId);
    this.#values(0x22, values);
    this.#close(message);
    this.#close(event);
  }

  /** FollowsFrom: id (1, uint64), follows_from (2, uint64). */
  followsFrom(id: Id, followsFrom: Id, time: EventTime): void {
    const event = this.#begin(time);
    const message = this.#nest(0x22);
    this.#id(0x08, id);
    this.#id(0x10, followsFrom);
    this.#close(message);
    this.#close(event);
  }

  spanEntered(id: Id, time: EventTime): void {
    this.#spanEvent(0x28, id, time);
  }

  spanExited(id: Id, time: EventTime): void {
    this.#spanEvent(0x30, id, time);
  }

  spanCloned(id: Id, time: EventTime): void {
    this.#spanEvent(0x38, id, time);
  }

  spanDropped(id: Id, time: EventTime): void {
    this.#spanEvent(0x40, id, time);
  }

  /** ValuesRecorded: id (1, uint64), values (2, repeated Value). */
  valuesRecorded(id: Id, values: TracedValues, time: EventTime): void {
    const event = this.#begin(time);
    const message = this.#nest(0x4a);
    this.#id(0x08, id);
    this.#values(0x12, values);
    this.#close(message);
    this.#close(event);
  }

  /** NewEvent: metadata_id (1, uint64), parent (2, optional uint64), values (3, repeated Value). */
  newEvent(metadataId: Id, parent: Id | undefined, values: TracedValues, time: EventTime): void {
    const event = this.#begin(time);
    const message = this.#nest(0x52);
    this.#id(0x08, metadataId);
    if (parent !== undefined) this.#id(0x10, parent);
    this.#values(0x1a, values);
    this.#close(message);
    this.#close(event);
  }

  /**
   * | Event field | # | type |
   * |---|---|---|
   * | time_delta_nano | 1 | optional sint64, since the last event of the batch that has one, or the base time |
   * | new_call_site … new_event | 2–10 | oneof; 5–8 are the id of the span itself |
   */
  #begin(time: EventTime): number {
    this.#count++;
    const start = this.#nest(0x32);
    if (time !== undefined) {
      const at = time + this.#origin;
      this.#byte(0x08);
      this.#zigzag(at - this.#last);
      this.#last = at;
    }
    return start;
  }

  #spanEvent(tag: number, id: Id, time: EventTime): void {
    const event = this.#begin(time);
    this.#id(tag, id, true);
    this.#close(event);
  }

  /**
   * | Value field | # | type |
   * |---|---|---|
   * | field | 1 | uint32, index into the call site's fields; 0 is not written |
   * | name | 2 | optional string, instead of `field` |
   * | bool … u_int128 | 3–11 | oneof |
   */
  #values(tag: number, values: TracedValues): void {
    const { keys, kinds, raws, size } = values;
    for (let i = 0; i < size; i++) {
      const value = this.#nest(tag);
      const key = keys[i] as number | string;
      if (typeof key === "string") {
        this.#string(0x12, key);
      } else if (key !== 0) {
        this.#byte(0x08);
        this.#varint(key);
      }
      const raw = raws[i];
      switch (kinds[i]) {
        case ValueKind.bool:
          this.#byte(0x18);
          this.#byte(raw === true ? 1 : 0);
          break;
        case ValueKind.int:
          if (typeof raw === "bigint") this.#wideInt(raw);
          else {
            this.#byte(0x20);
            this.#zigzag(raw as number);
          }
          break;
        case ValueKind.uInt:
          if (typeof raw === "bigint") this.#wideUInt(raw);
          else {
            this.#byte(0x28);
            this.#varint(raw as number);
          }
          break;
        case ValueKind.float:
          this.#byte(0x31);
          this.#view.setFloat64(this.#pos, raw as number, true);
          this.#pos += 8;
          break;
        case ValueKind.string:
          this.#string(0x3a, raw as string);
          break;
        case ValueKind.object:
          this.#string(0x42, raw as string);
          break;
        default:
          this.#error(raw as TracedError);
      }
      this.#close(value);
    }
  }

  /** Error: causes (1, repeated Cause {message 1, type 2, stack 3; strings}), omitted (2, uint32). */
  #error(error: TracedError): void {
    const message = this.#nest(0x4a);
    let omitted = 0;
    for (let link: TracedError | null = error; link !== null; link = link.source) {
      const cause = this.#nest(0x0a);
      this.#string(0x0a, link.message);
      if (link.type !== undefined) this.#string(0x12, link.type);
      if (link.stack !== undefined) this.#string(0x1a, link.stack);
      this.#close(cause);
      omitted = link.omitted ?? 0;
    }
    if (omitted !== 0) {
      this.#byte(0x10);
      this.#varint(omitted);
    }
    this.#close(message);
  }

  #wideInt(value: bigint): void {
    if (BigInt.asIntN(64, value) === value) {
      this.#byte(0x20);
      this.#bigVarint(value < 0n ? -2n * value - 1n : 2n * value);
    } else {
      this.#sixteenBytes(0x52, BigInt.asUintN(128, value));
    }
  }

  #wideUInt(value: bigint): void {
    if (BigInt.asUintN(64, value) === value) {
      this.#byte(0x28);
      this.#bigVarint(value);
    } else {
      this.#sixteenBytes(0x5a, value);
    }
  }

  #sixteenBytes(tag: number, value: bigint): void {
    this.#byte(tag);
    this.#byte(16);
    this.#view.setBigUint64(this.#pos, BigInt.asUintN(64, value), true);
    this.#view.setBigUint64(this.#pos + 8, value >> 64n, true);
    this.#pos += 16;
  }

  /** Zero is the default and not written, but for members of a oneof (`always`). */
  #id(tag: number, id: Id, always = false): void {
    if (id === 0 && !always) return;
    this.#byte(tag);
    if (typeof id === "number") this.#varint(id);
    else this.#bigVarint(id);
  }

  #string(tag: number, text: string): void {
    this.#room(text.length * 3 + SLACK);
    this.#byte(tag);
    const start = this.#pos;
    // Bet that every character is one byte.
    const guess = varintLength(text.length);
    const end = writeUtf8(this.#bytes, start + guess, text);
    const length = end - start - guess;
    const actual = varintLength(length);
    if (actual !== guess) this.#bytes.copyWithin(start + actual, start + guess, end);
    this.#varint(length);
    this.#pos = start + actual + length;
  }

  /** Open a nested message: a tag and one byte for its length. */
  #nest(tag: number): number {
    this.#room(SLACK);
    this.#byte(tag);
    return this.#pos++;
  }

  /** Fill in the length that `#nest` left open; a message of 128 bytes or more moves up to make place for it. */
  #close(start: number): void {
    const length = this.#pos - start - 1;
    if (length < 0x80) {
      this.#bytes[start] = length;
      return;
    }
    const wider = varintLength(length) - 1;
    this.#room(SLACK);
    this.#bytes.copyWithin(start + 1 + wider, start + 1, this.#pos);
    this.#pos = start;
    this.#varint(length);
    this.#pos += length;
  }

  #byte(byte: number): void {
    this.#bytes[this.#pos++] = byte;
  }

  /** @param value safe integer, not negative */
  #varint(value: number): void {
    let rest = value;
    while (rest > 0x7fff_ffff) {
      this.#byte((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    while (rest > 0x7f) {
      this.#byte((rest & 0x7f) | 0x80);
      rest >>>= 7;
    }
    this.#byte(rest);
  }

  /** @param value safe integer */
  #zigzag(value: number): void {
    if (value >= -0x4000_0000 && value < 0x4000_0000) this.#varint((value << 1) ^ (value >> 31));
    else if (Math.abs(value) < 2 ** 52) this.#varint(value < 0 ? -2 * value - 1 : 2 * value);
    else this.#bigVarint(value < 0 ? -2n * BigInt(value) - 1n : 2n * BigInt(value));
  }

  #bigVarint(value: bigint): void {
    let rest = value;
    while (rest > 0x7fn) {
      this.#byte(Number(rest & 0x7fn) | 0x80);
      rest >>= 7n;
    }
    this.#byte(Number(rest));
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

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 0x80)) length++;
  return length;
}
