import { type BatchDecoder, MAX_BAD_EVENTS, tooManyItems, WIRE_VERSION } from "../codec.ts";
import { DecodeError } from "../errors.ts";
import type { CallSiteData, Id, TracingEvent } from "../event.ts";
import { DEFAULT_LIMITS, type Limits } from "../limits.ts";
import { recordEvents } from "../recorder.ts";
import type { BatchHeader, ClockDomain, EventSink, EventTime } from "../sink.ts";
import { utf8Length, writeUtf8 } from "../utf8.ts";
import { TracedValues } from "../values.ts";
import { Key, keySet } from "./keys.ts";
import { CALL_SITE_KEYS, CALL_SITE_REQUIRED, CallSiteDraft, readValues } from "./parts.ts";
import { JsonScanner } from "./scanner.ts";

const LINE_FEED = 0x0a;
const NANOS = 1_000_000_000;

type OnError = (error: DecodeError) => void;

/** Members of an event of one kind. */
interface Shape {
  readonly allowed: number;
  readonly required: number;
}

const SPAN_EVENT: Shape = { allowed: keySet(Key.id, Key.time_unix_nano), required: keySet(Key.id) };

const HEADER: Shape = {
  allowed: keySet(Key.version, Key.clock, Key.base_time_unix_nano, Key.sequence, Key.dropped_events),
  required: keySet(Key.version),
};

const NEW_CALL_SITE: Shape = {
  allowed: CALL_SITE_KEYS | keySet(Key.id, Key.time_unix_nano),
  required: CALL_SITE_REQUIRED | keySet(Key.id),
};

const NEW_SPAN: Shape = {
  allowed: keySet(Key.id, Key.parent_id, Key.metadata_id, Key.values, Key.time_unix_nano),
  required: keySet(Key.id, Key.metadata_id, Key.values),
};

const FOLLOWS_FROM: Shape = {
  allowed: keySet(Key.id, Key.follows_from, Key.time_unix_nano),
  required: keySet(Key.id, Key.follows_from),
};

const VALUES_RECORDED: Shape = {
  allowed: keySet(Key.id, Key.values, Key.time_unix_nano),
  required: keySet(Key.id, Key.values),
};

const NEW_EVENT: Shape = {
  allowed: keySet(Key.metadata_id, Key.parent, Key.values, Key.time_unix_nano),
  required: keySet(Key.metadata_id, Key.values),
};

/**
 * Reads JSON lines: the crate's events, one a line, and our batch headers, which may stand before any of them; empty lines
 * count for nothing. Without a header the sink sees no batch, so nothing is known about loss. An event is read into the fields
 * below and handed to the sink only once its line was read to the end; a bad line is reported and skipped.
 */
export class JsonDecoder implements BatchDecoder {
  readonly #limits: Limits;
  readonly #scanner: JsonScanner;
  readonly #values: TracedValues = new TracedValues();
  readonly #draft: CallSiteDraft = new CallSiteDraft();

  /** What times count from, as the sink was told. */
  #hasBase = false;
  #baseSeconds = 0;
  #baseNanos = 0;

  // The event or header being read; `unknown` for an empty line.
  #kind: Key = Key.unknown;
  #id: Id = 0;
  /** Parent of a span or event, or the span that one follows from. */
  #other: Id | undefined;
  #metadata: Id = 0;
  #data: CallSiteData | undefined;
  #hasTime = false;
  #header: BatchHeader | undefined;

  constructor(limits: Limits) {
    this.#limits = limits;
    this.#scanner = new JsonScanner(limits);
  }

  decode(bytes: Uint8Array, sink: EventSink, onError: OnError): void {
    this.#hasBase = false;
    this.#scanner.cacheTexts();
    try {
      this.#lines(bytes, sink, onError);
    } finally {
      this.#release();
    }
  }

  /** Drive `sink` with the one event in `bytes`. */
  decodeEvent(bytes: Uint8Array, sink: EventSink): void {
    this.#hasBase = false;
    try {
      const error = this.#tryLine(bytes, 0, bytes.length);
      if (error !== undefined) throw error;
      if (this.#kind === Key.unknown || this.#kind === Key.batch) {
        throw new DecodeError("malformed", this.#kind === Key.batch ? "a batch header, not an event" : "no event", 0);
      }
      this.#dispatch(sink);
    } finally {
      this.#release();
    }
  }

  #lines(bytes: Uint8Array, sink: EventSink, onError: OnError): void {
    const { maxItemsPerBatch } = this.#limits;
    let bad = 0;
    // One header does not count.
    let left = maxItemsPerBatch + 1;
    for (let start = 0; start < bytes.length; ) {
      if (bytes[start] === LINE_FEED) {
        start++;
        continue;
      }
      const newline = bytes.indexOf(LINE_FEED, start);
      const end = newline < 0 ? bytes.length : newline;
      const error = this.#tryLine(bytes, start, end);
      if (left > maxItemsPerBatch && this.#kind !== Key.batch) left--;
      if (--left < 0) return onError(tooManyItems(this.#limits, start));
      if (error === undefined) {
        left -= this.#items();
        this.#dispatch(sink);
      } else {
        onError(error);
        if (error.code === "unsupported_version") return;
        if (++bad === MAX_BAD_EVENTS) {
          return onError(new DecodeError("malformed", `${bad} bad lines, the rest of the batch is skipped`, end));
        }
      }
      start = end + 1;
    }
  }

  /** What the line brings besides an event. */
  #items(): number {
    switch (this.#kind) {
      case Key.new_call_site:
        return (this.#data as CallSiteData).fields.length;
      case Key.new_span:
      case Key.new_event:
      case Key.values_recorded:
        return this.#values.size;
      default:
        return 0;
    }
  }

  /** Read one line into this decoder's fields. */
  #tryLine(bytes: Uint8Array, start: number, end: number): DecodeError | undefined {
    const scanner = this.#scanner;
    try {
      scanner.reset(bytes, start, end);
      this.#kind = Key.unknown;
      if (scanner.atEnd()) return undefined;
      scanner.open("the event");
      if (!scanner.more()) scanner.fail("an event without kind");
      const at = scanner.offset;
      this.#kind = scanner.key();
      this.#body(at);
      if (scanner.more()) scanner.fail("an event of two kinds");
      scanner.expectEnd();
      return undefined;
    } catch (error) {
      if (error instanceof DecodeError) return error;
      throw error;
    }
  }

  #body(at: number): void {
    switch (this.#kind) {
      case Key.span_entered:
      case Key.span_exited:
      case Key.span_cloned:
      case Key.span_dropped:
        return this.#members(SPAN_EVENT);
      case Key.new_span:
        return this.#members(NEW_SPAN);
      case Key.new_event:
        return this.#members(NEW_EVENT);
      case Key.values_recorded:
        return this.#members(VALUES_RECORDED);
      case Key.follows_from:
        return this.#members(FOLLOWS_FROM);
      case Key.new_call_site:
        this.#draft.clear();
        this.#members(NEW_CALL_SITE);
        this.#data = this.#draft.finish();
        return;
      case Key.batch:
        return this.#readHeader();
      default:
        this.#scanner.fail("unknown kind of event", at);
    }
  }

  #members({ allowed, required }: Shape): void {
    const scanner = this.#scanner;
    let seen = 0;
    this.#other = undefined;
    this.#hasTime = false;
    scanner.open("the event's content");
    for (;;) {
      const key = scanner.member(allowed, seen);
      if (key === Key.unknown) break;
      seen |= 1 << key;
      switch (key) {
        case Key.id:
          this.#id = scanner.u64();
          break;
        case Key.metadata_id:
          this.#metadata = scanner.u64();
          break;
        case Key.follows_from:
          this.#other = scanner.u64();
          break;
        case Key.parent_id:
        case Key.parent:
          this.#other = scanner.tryNull() ? undefined : scanner.u64();
          break;
        case Key.values:
          readValues(scanner, this.#limits, this.#values);
          break;
        case Key.time_unix_nano:
          this.#hasTime = !scanner.tryNull();
          if (this.#hasTime) scanner.time();
          break;
        default:
          this.#draft.read(key, scanner, this.#limits);
      }
    }
    scanner.require(required, seen);
  }

  #readHeader(): void {
    const scanner = this.#scanner;
    const start = scanner.offset;
    let version = 0;
    let clock: ClockDomain = "none";
    let baseTimeUnixNano = 0n;
    let sequence = 0;
    let droppedEvents = 0;
    let seen = 0;
    scanner.open("the batch header");
    for (;;) {
      const key = scanner.member(HEADER.allowed, seen);
      if (key === Key.unknown) break;
      seen |= 1 << key;
      switch (key) {
        case Key.version:
          version = scanner.u32();
          break;
        case Key.clock:
          clock = readClock(scanner);
          break;
        case Key.base_time_unix_nano:
          baseTimeUnixNano = BigInt(scanner.u64());
          break;
        case Key.sequence:
          sequence = scanner.safe();
          break;
        case Key.dropped_events:
          droppedEvents = scanner.safe();
      }
    }
    scanner.require(HEADER.required, seen);
    if (version !== WIRE_VERSION) {
      throw new DecodeError("unsupported_version", `wire version ${version}, this build reads ${WIRE_VERSION}`, start);
    }
    this.#header = { version, clock, baseTimeUnixNano, sequence, droppedEvents };
  }

  #dispatch(sink: EventSink): void {
    switch (this.#kind) {
      case Key.new_span:
        return sink.newSpan(this.#id, this.#other, this.#metadata, this.#values, this.#time(sink));
      case Key.span_entered:
        return sink.spanEntered(this.#id, this.#time(sink));
      case Key.span_exited:
        return sink.spanExited(this.#id, this.#time(sink));
      case Key.span_dropped:
        return sink.spanDropped(this.#id, this.#time(sink));
      case Key.span_cloned:
        return sink.spanCloned(this.#id, this.#time(sink));
      case Key.new_event:
        return sink.newEvent(this.#metadata, this.#other, this.#values, this.#time(sink));
      case Key.values_recorded:
        return sink.valuesRecorded(this.#id, this.#values, this.#time(sink));
      case Key.follows_from:
        return sink.followsFrom(this.#id, this.#other as Id, this.#time(sink));
      case Key.new_call_site:
        return sink.newCallSite(this.#id, this.#data as CallSiteData, this.#time(sink));
      case Key.batch: {
        const header = this.#header as BatchHeader;
        this.#setBase(Number(header.baseTimeUnixNano / BigInt(NANOS)), Number(header.baseTimeUnixNano % BigInt(NANOS)));
        return sink.batch(header);
      }
    }
  }

  /** Time of the event that was read, for the sink; what is too far from the base becomes the base. */
  #time(sink: EventSink): EventTime {
    if (!this.#hasTime) return undefined;
    const { seconds, nanos } = this.#scanner;
    if (this.#hasBase) {
      const time = (seconds - this.#baseSeconds) * NANOS + (nanos - this.#baseNanos);
      if (Number.isSafeInteger(time)) return time;
    }
    this.#setBase(seconds, nanos);
    sink.timeBase(BigInt(seconds) * BigInt(NANOS) + BigInt(nanos));
    return 0;
  }

  #setBase(seconds: number, nanos: number): void {
    this.#hasBase = true;
    this.#baseSeconds = seconds;
    this.#baseNanos = nanos;
  }

  /** Keep nobody's memory alive between batches. */
  #release(): void {
    this.#scanner.release();
    this.#values.release();
    this.#draft.clear();
    this.#data = undefined;
  }
}

function readClock(scanner: JsonScanner): ClockDomain {
  const at = scanner.offset;
  const clock = scanner.text();
  switch (clock) {
    case "wall":
    case "frozen":
    case "logical":
    case "none":
      return clock;
    default:
      return scanner.fail("unknown clock domain", at);
  }
}

/**
 * Drive `sink` with the one event in `input`, a line of the crate's JSON. Many in a row are cheaper through `JsonDecoder`.
 *
 * @throws DecodeError "malformed" or "limit_exceeded"; `offset` counts bytes of UTF-8, for a string too
 */
export function decodeEvent(input: string | Uint8Array, sink: EventSink, limits: Limits): void {
  new JsonDecoder(limits).decodeEvent(jsonBytes(input), sink);
}

/**
 * The event in `text`, a line of the crate's JSON. Names of values that look like array indices come first in the object, as
 * JavaScript has it; where their order counts, use `decodeEvent`.
 *
 * @param limits of strings, fields and error chains; default `DEFAULT_LIMITS`
 * @throws DecodeError "malformed" or "limit_exceeded"; `offset` counts bytes of UTF-8, for a string too
 */
export function parseEvent(text: string | Uint8Array, limits: Limits = DEFAULT_LIMITS): TracingEvent {
  let event: TracingEvent | undefined;
  const recorder = recordEvents((made) => {
    event = made;
  });
  decodeEvent(text, recorder, limits);
  return event as unknown as TracingEvent;
}

/** @throws DecodeError "malformed": a string with a lone surrogate */
export function jsonBytes(input: string | Uint8Array): Uint8Array {
  if (typeof input !== "string") return input;
  // With the flag, a pair is one character and no match.
  const lone = input.search(/[\ud800-\udfff]/u);
  if (lone >= 0) throw new DecodeError("malformed", "lone surrogate", utf8Length(input.slice(0, lone)));
  const bytes = new Uint8Array(utf8Length(input));
  writeUtf8(bytes, 0, input);
  return bytes;
}
