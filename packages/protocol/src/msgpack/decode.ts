import { clockFromNumber } from "../clock.ts";
import { type BatchDecoder, MAX_BAD_EVENTS, maxReadValues, tooManyItems, WIRE_VERSION } from "../codec.ts";
import { type ErrorLink, nestErrors } from "../error-chain.ts";
import { DecodeError } from "../errors.ts";
import type { CallSiteData, CallSiteKind, TracedError } from "../event.ts";
import { levelFromNumber } from "../level.ts";
import type { Limits } from "../limits.ts";
import type { BatchHeader, EventSink, EventTime } from "../sink.ts";
import { type RawValue, TracedValues, ValueKind } from "../values.ts";
import { MsgpackReader } from "./reader.ts";

const KINDS: readonly (CallSiteKind | undefined)[] = [undefined, "span", "event"];
const HEADER_ITEMS = 5;

type Send = (sink: EventSink) => void;
type OnError = (error: DecodeError) => void;

/**
 * Reads the MessagePack form that `proto/README.md` describes. An event is read to its end before the sink hears of it; a
 * bad one is passed over as MessagePack, and where that cannot be done the rest of the batch is lost.
 */
export class MsgpackDecoder implements BatchDecoder {
  readonly #limits: Limits;
  readonly #reader: MsgpackReader;
  /** How many more events, names and values of the batch are read; looked at before each event. */
  #left = 0;
  /** Time of the last event that had one, relative to the base. */
  #last = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
    this.#reader = new MsgpackReader(limits);
  }

  decode(bytes: Uint8Array, sink: EventSink, onError: OnError): void {
    this.#reader.reset(bytes);
    this.#last = 0;
    try {
      this.#batch(sink, onError);
    } finally {
      this.#reader.release();
    }
  }

  #batch(sink: EventSink, onError: OnError): void {
    const reader = this.#reader;
    const header = this.#try(() => this.#header(), onError);
    if (header === undefined) return;
    sink.batch(header);
    let bad = 0;
    this.#left = this.#limits.maxItemsPerBatch;
    while (!reader.atEnd) {
      const start = reader.pos;
      if (--this.#left < 0) return onError(tooManyItems(this.#limits, start));
      const send = this.#try(() => this.#event(), onError);
      if (send !== undefined) {
        send(sink);
        continue;
      }
      if (++bad === MAX_BAD_EVENTS) {
        onError(new DecodeError("malformed", `${bad} bad events, the rest of the batch is skipped`, reader.pos));
        return;
      }
      reader.pos = start;
      if (this.#try(() => this.#skipItem(), ignore) === undefined) return;
    }
  }

  /** What `read` returns; `undefined` when it refused, which `onError` was told. */
  #try<T>(read: () => T, onError: OnError): T | undefined {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      onError(error);
      return undefined;
    }
  }

  #skipItem(): true {
    this.#reader.skip(1);
    return true;
  }

  #header(): BatchHeader {
    const reader = this.#reader;
    const items = reader.array("the header");
    if (items === 0) reader.fail("a header without version", 0);
    const version = reader.u32();
    if (version !== WIRE_VERSION) {
      throw new DecodeError("unsupported_version", `wire version ${version}, this build reads ${WIRE_VERSION}`, 0);
    }
    this.#expect(items, HEADER_ITEMS, 0);
    const at = reader.pos;
    const header = {
      version,
      clock: clockFromNumber(reader.u32()) ?? reader.fail("unknown clock domain", at),
      baseTimeUnixNano: BigInt(reader.u64()),
      sequence: reader.safe(),
      droppedEvents: reader.safe(),
    };
    reader.skip(items - HEADER_ITEMS);
    return header;
  }

  #event(): Send {
    const reader = this.#reader;
    const start = reader.pos;
    const items = reader.array("the event");
    this.#expect(items, 2, start);
    const kind = reader.integer();
    const time = this.#time();
    const read = (length: number): void => this.#expect(items, length, start);
    const end = (length: number): void => reader.skip(items - length);
    switch (kind) {
      case 2: {
        read(11);
        const id = reader.u64();
        const data = this.#callSite();
        end(11);
        return (sink) => sink.newCallSite(id, data, time);
      }
      case 3: {
        read(6);
        const id = reader.u64();
        const parentId = reader.nil() ? undefined : reader.u64();
        const metadataId = reader.u64();
        const values = this.#values();
        end(6);
        return (sink) => sink.newSpan(id, parentId, metadataId, values, time);
      }
      case 4: {
        read(4);
        const id = reader.u64();
        const followsFrom = reader.u64();
        end(4);
        return (sink) => sink.followsFrom(id, followsFrom, time);
      }
      case 5:
      case 6:
      case 7:
      case 8: {
        read(3);
        const id = reader.u64();
        end(3);
        if (kind === 5) return (sink) => sink.spanEntered(id, time);
        if (kind === 6) return (sink) => sink.spanExited(id, time);
        if (kind === 7) return (sink) => sink.spanCloned(id, time);
        return (sink) => sink.spanDropped(id, time);
      }
      case 9: {
        read(4);
        const id = reader.u64();
        const values = this.#values();
        end(4);
        return (sink) => sink.valuesRecorded(id, values, time);
      }
      case 10: {
        read(5);
        const metadataId = reader.u64();
        const parent = reader.nil() ? undefined : reader.u64();
        const values = this.#values();
        end(5);
        return (sink) => sink.newEvent(metadataId, parent, values, time);
      }
      default:
        end(2);
        return ignore;
    }
  }

  #expect(items: number, needed: number, start: number): void {
    if (items < needed) this.#reader.fail(`${items} items instead of ${needed}`, start);
  }

  /** Takes effect at once: the times after an event that is refused still count from its time. */
  #time(): EventTime {
    const reader = this.#reader;
    const start = reader.pos;
    if (reader.nil()) return undefined;
    const delta = reader.integer();
    const time = typeof delta === "number" ? this.#last + delta : Number(BigInt(this.#last) + delta);
    if (!Number.isSafeInteger(time)) reader.fail("time beyond ±(2^53-1) of the base time", start);
    this.#last = time;
    return time;
  }

  #callSite(): CallSiteData {
    const reader = this.#reader;
    const kindAt = reader.pos;
    const kind = KINDS[reader.u32()] ?? reader.fail("unknown kind of a call site", kindAt);
    const levelAt = reader.pos;
    const level = levelFromNumber(reader.u32()) ?? reader.fail("unknown level", levelAt);
    const name = reader.text();
    const target = reader.text();
    const modulePath = reader.optionalText();
    const file = reader.optionalText();
    const line = reader.nil() ? undefined : reader.u32();
    const fieldsAt = reader.pos;
    const count = reader.array("the list of fields");
    if (count > this.#limits.maxFieldsPerCallSite) reader.exceed("maxFieldsPerCallSite", count, fieldsAt);
    const fields = Array.from({ length: count }, () => reader.text());
    this.#left -= count;
    return {
      kind,
      name,
      target,
      level,
      ...(modulePath !== undefined && { module_path: modulePath }),
      ...(file !== undefined && { file }),
      ...(line !== undefined && { line }),
      fields,
    };
  }

  #values(): TracedValues {
    const reader = this.#reader;
    const start = reader.pos;
    const items = reader.array("the list of values");
    if (items % 3 !== 0) reader.fail(`${items} items, not a multiple of 3`, start);
    this.#left -= items / 3;
    const max = maxReadValues(this.#limits);
    const values = new TracedValues();
    for (let i = 0; i < items; i += 3) {
      if (values.size >= max) reader.exceed("maxValuesPerRecord", values.size, start);
      const key = reader.atText() ? reader.text() : reader.u32();
      const kindAt = reader.pos;
      const kind = reader.u32() as ValueKind;
      values.set(key, kind, this.#value(kind, kindAt));
    }
    return values;
  }

  #value(kind: ValueKind, kindAt: number): RawValue {
    const reader = this.#reader;
    switch (kind) {
      case ValueKind.bool:
        return reader.bool();
      case ValueKind.int:
        return reader.wideInteger(true);
      case ValueKind.uInt:
        return reader.wideInteger(false);
      case ValueKind.float:
        return reader.float();
      case ValueKind.string:
      case ValueKind.object:
        return reader.text();
      case ValueKind.error:
        return this.#error();
      default:
        return reader.fail(`unknown kind ${kind as number} of a value`, kindAt);
    }
  }

  #error(): TracedError {
    const reader = this.#reader;
    const start = reader.pos;
    const items = reader.array("the error");
    this.#expect(items, 2, start);
    const omitted = reader.u32();
    const links: ErrorLink[] = [];
    for (let i = 1; i < items; i++) {
      const at = reader.pos;
      const length = reader.array("the cause");
      this.#expect(length, 3, at);
      const link = { message: reader.text(), type: reader.optionalText(), stack: reader.optionalText() };
      reader.skip(length - 3);
      if (links.length < this.#limits.maxErrorDepth) links.push(link);
    }
    return nestErrors(links, omitted + (items - 1 - links.length));
  }
}

function ignore(): void {
  // An event of a kind that a later version added, or an error that was reported already.
}
