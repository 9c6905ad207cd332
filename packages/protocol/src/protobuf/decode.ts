import { ClockNumber, clockFromNumber } from "../clock.ts";
import { type BatchDecoder, MAX_BAD_EVENTS, maxReadValues, tooManyItems, WIRE_VERSION } from "../codec.ts";
import { type ErrorLink, nestErrors } from "../error-chain.ts";
import { DecodeError } from "../errors.ts";
import type { CallSiteData, CallSiteKind, Id, TracedError } from "../event.ts";
import { levelFromNumber } from "../level.ts";
import type { Limits } from "../limits.ts";
import { ShortTexts } from "../short-texts.ts";
import type { BatchHeader, ClockDomain, EventSink, EventTime } from "../sink.ts";
import { readUtf8 } from "../utf8.ts";
import { canonicalInteger, TracedValues, ValueKind } from "../values.ts";

const KINDS: readonly (CallSiteKind | undefined)[] = [undefined, "span", "event"];
const NO_BYTES = new Uint8Array(0);
const NO_VIEW = new DataView(NO_BYTES.buffer);

type OnError = (error: DecodeError) => void;

/**
 * Reads the protobuf form of `proto/spanduct/v1/tunnel.proto`. An event is read into the fields below and handed to the sink
 * only once it was read to its end. Tags are literals, `field << 3 | wire type`, as in the encoder, where the tables stand.
 */
export class ProtobufDecoder implements BatchDecoder {
  readonly #limits: Limits;
  readonly #maxValues: number;
  readonly #values: TracedValues = new TracedValues();
  /** Hosts keep texts, and guests say the same short ones again and again. */
  readonly #texts: ShortTexts = new ShortTexts();
  #bytes: Uint8Array = NO_BYTES;
  #view: DataView = NO_VIEW;
  #pos = 0;
  /** How many more events, names and values of the batch are read; looked at before each event. */
  #left = 0;
  /** Time of the last event that had one, relative to the base. */
  #last = 0;

  // The event being read; `#tag` is that of its member of `Event.kind`, 0 for a kind of a later version.
  #tag = 0;
  #time: EventTime;
  #id: Id = 0;
  /** Parent of a span or event, or the span that one follows from. */
  #other: Id | undefined;
  #metadata: Id = 0;
  /** The highest index among the keys of the values. */
  #highestField = -1;
  #data: CallSiteData | undefined;

  constructor(limits: Limits) {
    this.#limits = limits;
    this.#maxValues = maxReadValues(limits);
  }

  decode(bytes: Uint8Array, sink: EventSink, onError: OnError): void {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#pos = 0;
    this.#last = 0;
    try {
      this.#batch(sink, onError);
    } finally {
      // Keep no guest's memory alive between batches.
      this.#bytes = NO_BYTES;
      this.#view = NO_VIEW;
      this.#data = undefined;
      this.#values.release();
    }
  }

  #batch(sink: EventSink, onError: OnError): void {
    const header = this.#tryHeader(onError);
    if (header === undefined) return;
    sink.batch(header);
    let bad = 0;
    this.#left = this.#limits.maxItemsPerBatch;
    for (;;) {
      const end = this.#tryFrame(onError);
      if (end < 0) return;
      if (--this.#left < 0) return onError(tooManyItems(this.#limits, end));
      if (this.#tryEvent(end, onError)) {
        this.#dispatch(sink);
      } else if (++bad === MAX_BAD_EVENTS) {
        onError(new DecodeError("malformed", `${bad} bad events, the rest of the batch is skipped`, end));
        return;
      }
    }
  }

  /** The header; the position is then at the tag of the first event, or at the end. */
  #tryHeader(onError: OnError): BatchHeader | undefined {
    const end = this.#bytes.length;
    let version = 0;
    let clock: ClockDomain = "none";
    let baseTimeUnixNano = 0n;
    let sequence = 0;
    let droppedEvents = 0;
    try {
      while (this.#pos < end) {
        const start = this.#pos;
        const tag = this.#short();
        if (tag === 0x32) {
          this.#pos = start;
          break;
        }
        if (tag === 0x08) version = this.#u32();
        else if (tag === 0x10)
          clock = clockFromNumber(this.#u32() || ClockNumber.none) ?? this.#fail("unknown clock domain", start);
        else if (tag === 0x19) baseTimeUnixNano = this.#fixed64(end);
        else if (tag === 0x20) sequence = this.#safe();
        else if (tag === 0x28) droppedEvents = this.#safe();
        else this.#skip(tag, end);
        this.#within(end);
      }
      if (version !== WIRE_VERSION) {
        throw new DecodeError("unsupported_version", `wire version ${version}, this build reads ${WIRE_VERSION}`, 0);
      }
    } catch (error) {
      onError(asDecodeError(error));
      return undefined;
    }
    return { version, clock, baseTimeUnixNano, sequence, droppedEvents };
  }

  /** Move to the next event; returns where it ends, or -1 when there is none. */
  #tryFrame(onError: OnError): number {
    const end = this.#bytes.length;
    try {
      while (this.#pos < end) {
        const start = this.#pos;
        const tag = this.#short();
        if (tag === 0x32) return this.#length(end);
        if (tag >= 0x08 && tag < 0x30) this.#fail("header field after the first event", start);
        this.#skip(tag, end);
        this.#within(end);
      }
    } catch (error) {
      onError(asDecodeError(error));
    }
    return -1;
  }

  /** Read the event that ends at `end` into this decoder's fields. Whatever happens, the position is then `end`. */
  #tryEvent(end: number, onError: OnError): boolean {
    try {
      this.#event(end);
      return true;
    } catch (error) {
      onError(asDecodeError(error));
      this.#pos = end;
      return false;
    }
  }

  #event(end: number): void {
    const before = this.#last;
    this.#tag = 0;
    this.#time = undefined;
    while (this.#pos < end) {
      const at = this.#pos;
      const tag = this.#short();
      switch (tag) {
        case 0x08:
          // Takes effect at once: the times after an event that is refused still count from its time.
          this.#time = this.#last = this.#timeAfter(before);
          continue;
        case 0x12:
          this.#newCallSite(this.#length(end));
          break;
        case 0x1a:
          this.#newSpan(this.#length(end));
          break;
        case 0x22:
          this.#followsFrom(this.#length(end));
          break;
        case 0x28:
        case 0x30:
        case 0x38:
        case 0x40:
          this.#id = this.#u64();
          break;
        case 0x4a:
          this.#valuesRecorded(this.#length(end));
          break;
        case 0x52:
          this.#newEvent(this.#length(end));
          break;
        default:
          this.#skip(tag, end);
          continue;
      }
      if (this.#tag !== 0) this.#fail("an event of two kinds", at);
      this.#tag = tag;
    }
    this.#within(end);
  }

  /** The delta that starts here, added to `last`. */
  #timeAfter(last: number): number {
    const start = this.#pos;
    const delta = this.#s64();
    const time = typeof delta === "number" ? last + delta : Number(BigInt(last) + delta);
    if (!Number.isSafeInteger(time)) this.#fail("time beyond ±(2^53-1) of the base time", start);
    return time;
  }

  #dispatch(sink: EventSink): void {
    const id = this.#id;
    const time = this.#time;
    switch (this.#tag) {
      case 0x12:
        return sink.newCallSite(id, this.#data as CallSiteData, time);
      case 0x1a:
        return sink.newSpan(id, this.#other, this.#metadata, this.#values, time);
      case 0x22:
        return sink.followsFrom(id, this.#other as Id, time);
      case 0x28:
        return sink.spanEntered(id, time);
      case 0x30:
        return sink.spanExited(id, time);
      case 0x38:
        return sink.spanCloned(id, time);
      case 0x40:
        return sink.spanDropped(id, time);
      case 0x4a:
        return sink.valuesRecorded(id, this.#values, time);
      case 0x52:
        return sink.newEvent(this.#metadata, this.#other, this.#values, time);
    }
  }

  #newCallSite(end: number): void {
    const start = this.#pos;
    let kind = 0;
    let level = 0;
    let name = "";
    let target = "";
    let modulePath: string | undefined;
    let file: string | undefined;
    let line: number | undefined;
    const fields: string[] = [];
    this.#id = 0;
    while (this.#pos < end) {
      const tag = this.#short();
      if (tag === 0x08) this.#id = this.#u64();
      else if (tag === 0x10) kind = this.#u32();
      else if (tag === 0x18) level = this.#u32();
      else if (tag === 0x22) name = this.#string(end);
      else if (tag === 0x2a) target = this.#string(end);
      else if (tag === 0x32) modulePath = this.#string(end);
      else if (tag === 0x3a) file = this.#string(end);
      else if (tag === 0x40) line = this.#u32();
      else if (tag === 0x4a) {
        if (fields.length === this.#limits.maxFieldsPerCallSite) this.#exceed("maxFieldsPerCallSite", fields.length);
        fields.push(this.#string(end));
        this.#left--;
      } else this.#skip(tag, end);
    }
    this.#within(end);
    this.#data = {
      kind: KINDS[kind] ?? this.#fail(`unknown kind ${kind} of a call site`, start),
      name,
      target,
      level: levelFromNumber(level) ?? this.#fail(`unknown level ${level}`, start),
      ...(modulePath !== undefined && { module_path: modulePath }),
      ...(file !== undefined && { file }),
      ...(line !== undefined && { line }),
      fields,
    };
  }

  #newSpan(end: number): void {
    const values = this.#values;
    values.clear();
    this.#highestField = -1;
    this.#id = 0;
    this.#other = undefined;
    this.#metadata = 0;
    while (this.#pos < end) {
      const tag = this.#short();
      if (tag === 0x22) this.#readValues(tag, end);
      else if (tag === 0x08) this.#id = this.#u64();
      else if (tag === 0x10) this.#other = this.#u64();
      else if (tag === 0x18) this.#metadata = this.#u64();
      else this.#skip(tag, end);
    }
    this.#within(end);
  }

  #followsFrom(end: number): void {
    this.#id = 0;
    this.#other = 0;
    while (this.#pos < end) {
      const tag = this.#short();
      if (tag === 0x08) this.#id = this.#u64();
      else if (tag === 0x10) this.#other = this.#u64();
      else this.#skip(tag, end);
    }
    this.#within(end);
  }

  #valuesRecorded(end: number): void {
    const values = this.#values;
    values.clear();
    this.#highestField = -1;
    this.#id = 0;
    while (this.#pos < end) {
      const tag = this.#short();
      if (tag === 0x12) this.#readValues(tag, end);
      else if (tag === 0x08) this.#id = this.#u64();
      else this.#skip(tag, end);
    }
    this.#within(end);
  }

  #newEvent(end: number): void {
    const values = this.#values;
    values.clear();
    this.#highestField = -1;
    this.#other = undefined;
    this.#metadata = 0;
    while (this.#pos < end) {
      const tag = this.#short();
      if (tag === 0x1a) this.#readValues(tag, end);
      else if (tag === 0x08) this.#metadata = this.#u64();
      else if (tag === 0x10) this.#other = this.#u64();
      else this.#skip(tag, end);
    }
    this.#within(end);
  }

  /**
   * The value whose tag was read last, and all that follow it at once. Writers make nearly all of them of less than 128 bytes: the index
   * of a field, in ascending order and below 128, then an integer, a float or a string. Where one turns out to be anything else, it is
   * read again.
   */
  #readValues(valueTag: number, end: number): void {
    const bytes = this.#bytes;
    const values = this.#values;
    let start = this.#pos;
    for (;;) {
      const length = bytes[start] as number;
      const stop = start + 1 + length;
      let pos = start + 1;
      let field = 0;
      if (bytes[pos] === 0x08) {
        field = bytes[pos + 1] as number;
        pos += 2;
      }
      if (length >= 0x80 || stop > end || field >= 0x80 || field <= this.#highestField) break;
      const tag = bytes[pos++];
      if (tag === 0x20) {
        this.#pos = pos;
        const integer = this.#s64();
        if (this.#pos !== stop) break;
        values.push(field, ValueKind.int, integer);
      } else if (tag === 0x3a) {
        const textLength = stop - pos - 1;
        if (bytes[pos] !== textLength || textLength > this.#limits.maxStringBytes) break;
        const text = this.#text(pos + 1, textLength);
        if (text === undefined) break;
        values.push(field, ValueKind.string, text);
      } else if (tag === 0x31 && pos + 8 === stop) {
        values.push(field, ValueKind.float, this.#view.getFloat64(pos, true));
      } else {
        break;
      }
      this.#highestField = field;
      this.#left--;
      if (stop === end || bytes[stop] !== valueTag) {
        this.#pos = stop;
        return;
      }
      start = stop + 1;
    }
    this.#pos = start;
    this.#value(this.#length(end));
  }

  /** The value that ends at `end`. */
  #value(end: number): void {
    this.#left--;
    const values = this.#values;
    const start = this.#pos;
    let field = 0;
    let name: string | undefined;
    let kind: ValueKind | 0 = 0;
    let raw: boolean | number | bigint | string | TracedError = 0;
    while (this.#pos < end) {
      const tag = this.#short();
      switch (tag) {
        case 0x08:
          field = this.#u32();
          break;
        case 0x12:
          name = this.#string(end);
          break;
        case 0x18:
          kind = ValueKind.bool;
          raw = this.#u64() !== 0;
          break;
        case 0x20:
          kind = ValueKind.int;
          raw = this.#s64();
          break;
        case 0x28:
          kind = ValueKind.uInt;
          raw = this.#u64();
          break;
        case 0x31:
          kind = ValueKind.float;
          if (this.#pos + 8 > end) this.#fail("truncated", end);
          raw = this.#view.getFloat64(this.#pos, true);
          this.#pos += 8;
          break;
        case 0x3a:
          kind = ValueKind.string;
          raw = this.#string(end);
          break;
        case 0x42:
          kind = ValueKind.object;
          raw = this.#string(end);
          break;
        case 0x4a:
          kind = ValueKind.error;
          raw = this.#error(this.#length(end));
          break;
        case 0x52:
          kind = ValueKind.int;
          raw = canonicalInteger(BigInt.asIntN(128, this.#sixteenBytes(end)));
          break;
        case 0x5a:
          kind = ValueKind.uInt;
          raw = canonicalInteger(this.#sixteenBytes(end));
          break;
        default:
          this.#skip(tag, end);
      }
    }
    this.#within(end);
    if (kind === 0) this.#fail("a value without a value", start);
    if (values.size >= this.#maxValues) this.#exceed("maxValuesPerRecord", values.size);
    // Writers give fields in ascending order, so that none comes twice.
    if (name === undefined && field > this.#highestField) {
      this.#highestField = field;
      values.push(field, kind, raw);
    } else {
      values.set(name ?? field, kind, raw);
    }
  }

  #error(end: number): TracedError {
    const start = this.#pos;
    const links: ErrorLink[] = [];
    let cut = 0;
    let omitted = 0;
    while (this.#pos < end) {
      const tag = this.#short();
      if (tag === 0x0a) {
        const link = this.#cause(this.#length(end));
        if (links.length < this.#limits.maxErrorDepth) links.push(link);
        else cut++;
      } else if (tag === 0x10) omitted = this.#u32();
      else this.#skip(tag, end);
    }
    this.#within(end);
    if (links.length === 0) this.#fail("an error without a cause", start);
    return nestErrors(links, cut + omitted);
  }

  #cause(end: number): ErrorLink {
    let message = "";
    let type: string | undefined;
    let stack: string | undefined;
    while (this.#pos < end) {
      const tag = this.#short();
      if (tag === 0x0a) message = this.#string(end);
      else if (tag === 0x12) type = this.#string(end);
      else if (tag === 0x1a) stack = this.#string(end);
      else this.#skip(tag, end);
    }
    this.#within(end);
    return { message, type, stack };
  }

  #string(end: number): string {
    const start = this.#pos;
    const stop = this.#length(end);
    const length = stop - this.#pos;
    if (length > this.#limits.maxStringBytes) this.#exceed("maxStringBytes", length);
    const text = this.#text(this.#pos, length);
    if (text === undefined) this.#fail("invalid UTF-8", start);
    this.#pos = stop;
    return text;
  }

  /** As `readUtf8`. */
  #text(start: number, length: number): string | undefined {
    const bytes = this.#bytes;
    if (length <= ShortTexts.WIDTH && start + ShortTexts.WIDTH <= bytes.length) {
      const text = this.#texts.get(bytes, this.#view, start, length);
      if (text !== undefined) return text;
    }
    return readUtf8(bytes, start, start + length);
  }

  /** Where the length-delimited field that starts here ends; never beyond `end`. */
  #length(end: number): number {
    const start = this.#pos;
    const length = this.#short();
    if (length > end - this.#pos) this.#fail(`length ${length} runs past the end`, start);
    return this.#pos + length;
  }

  #fixed64(end: number): bigint {
    if (this.#pos + 8 > end) this.#fail("truncated", end);
    const value = this.#view.getBigUint64(this.#pos, true);
    this.#pos += 8;
    return value;
  }

  #sixteenBytes(end: number): bigint {
    const start = this.#pos;
    const stop = this.#length(end);
    if (stop - this.#pos !== 16) this.#fail("a wide integer is 16 bytes", start);
    return this.#fixed64(end) | (this.#fixed64(end) << 64n);
  }

  /** As `#u32`, for what is mostly one byte: tags and lengths. */
  #short(): number {
    const byte = this.#bytes[this.#pos] as number;
    if (byte < 0x80) {
      this.#pos++;
      return byte;
    }
    // Also where the bytes are at their end.
    return this.#u32();
  }

  #u32(): number {
    const start = this.#pos;
    const value = this.#u64();
    if (typeof value === "bigint" || value > 0xffff_ffff) this.#fail("number beyond 32 bits", start);
    return value;
  }

  #safe(): number {
    const start = this.#pos;
    const value = this.#u64();
    if (typeof value === "bigint") this.#fail("number beyond 2^53-1", start);
    return value;
  }

  #s64(): number | bigint {
    const value = this.#u64();
    if (typeof value === "number") {
      if (value <= 0x7fff_ffff) return (value >>> 1) ^ -(value & 1);
      return value % 2 === 0 ? value / 2 : -(value - 1) / 2 - 1;
    }
    return canonicalInteger((value >> 1n) ^ -(value & 1n));
  }

  /** One varint in canonical form. May run past the end of the message, which `#within` then reports. */
  #u64(): number | bigint {
    const bytes = this.#bytes;
    let pos = this.#pos;
    let byte = bytes[pos++] as number;
    let value = byte & 0x7f;
    if (byte >= 0x80) {
      byte = bytes[pos++] as number;
      value |= (byte & 0x7f) << 7;
      if (byte >= 0x80) {
        byte = bytes[pos++] as number;
        value |= (byte & 0x7f) << 14;
        if (byte >= 0x80) {
          byte = bytes[pos++] as number;
          value |= (byte & 0x7f) << 21;
          if (byte >= 0x80) return this.#longVarint(value);
        }
      }
    }
    this.#pos = pos;
    return value;
  }

  /** Bytes five to ten of a varint whose first 28 bits are `low`. */
  #longVarint(low: number): number | bigint {
    const start = this.#pos;
    let high = 0;
    let unit = 1;
    for (let pos = start + 4; pos < start + 10; unit *= 0x80) {
      const byte = this.#bytes[pos++];
      if (byte === undefined) this.#fail("truncated", start);
      high += (byte & 0x7f) * unit;
      if (byte < 0x80) {
        if (high >= 2 ** 36) break;
        this.#pos = pos;
        return high < 2 ** 25 ? high * 2 ** 28 + low : (BigInt(high) << 28n) | BigInt(low);
      }
    }
    this.#fail("varint beyond 64 bits", start);
  }

  #skip(tag: number, end: number): void {
    const start = this.#pos;
    if (tag >>> 3 === 0) this.#fail("field number 0", start);
    switch (tag & 7) {
      case 0:
        this.#u64();
        return;
      case 1:
        this.#pos += 8;
        return;
      case 2:
        this.#pos = this.#length(end);
        return;
      case 5:
        this.#pos += 4;
        return;
      default:
        this.#fail(`wire type ${tag & 7}`, start);
    }
  }

  #within(end: number): void {
    if (this.#pos > end) this.#fail("truncated", end);
  }

  #exceed(limit: keyof Limits, actual: number): never {
    throw new DecodeError("limit_exceeded", `${limit} is ${this.#limits[limit]}, found ${actual} or more`, this.#pos);
  }

  /** A reading that has run past the end read nothing: that comes first. */
  #fail(reason: string, offset: number): never {
    const { length } = this.#bytes;
    throw new DecodeError("malformed", this.#pos > length ? "truncated" : reason, Math.min(offset, length));
  }
}

function asDecodeError(error: unknown): DecodeError {
  if (error instanceof DecodeError) return error;
  throw error;
}
