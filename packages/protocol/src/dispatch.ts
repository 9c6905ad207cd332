import { maxReadValues } from "./codec.ts";
import { type ErrorLink, MAX_ERROR_NESTING, nestErrors } from "./error-chain.ts";
import { DecodeError } from "./errors.ts";
import type { CallSiteData, CallSiteKind, Id, Level, TracedError } from "./event.ts";
import { LevelNumber } from "./level.ts";
import type { Limits } from "./limits.ts";
import type { EventSink, EventTime } from "./sink.ts";
import { utf8Length } from "./utf8.ts";
import { canonicalInteger, type RawValue, TracedValues, ValueKind } from "./values.ts";

type Fields = { readonly [key: string]: unknown };
type Send = (sink: EventSink, time: EventTime) => void;

const MAX_U32 = 0xffff_ffff;
const MAX_U64 = 2n ** 64n - 1n;
const MAX_U128 = 2n ** 128n - 1n;
const MAX_I128 = 2n ** 127n - 1n;

/**
 * Check an event object that comes from who knows where (a structured clone, a guest in the same realm) and drive `sink` with
 * it. The sink sees all of the event or nothing. Only own enumerable properties count, each is read once; unknown keys are
 * ignored and optional keys may be `null`. Ids, 64- and 128-bit integers may be `bigint` throughout and arrive canonical.
 * An event with `time_unix_nano` gets a time base of its own. What the sink throws passes through.
 *
 * @throws DecodeError "malformed": not an event, or a getter or proxy in it threw
 * @throws DecodeError "limit_exceeded": a string, list of fields or chain of errors above `limits`
 */
export function dispatchEvent(event: unknown, sink: EventSink, limits: Limits): void {
  let send: Send;
  let timeUnixNano: bigint | undefined;
  try {
    const reader = new EventReader(limits);
    const [kind, body] = reader.only(event, "the event");
    const fields = reader.object(body, kind);
    send = reader.event(kind, fields);
    const time = own(fields, "time_unix_nano");
    if (!isNone(time)) timeUnixNano = BigInt(reader.integer(time, "time_unix_nano", 0n, MAX_U64));
  } catch (error) {
    if (error instanceof DecodeError) throw error;
    throw new DecodeError("malformed", "the event threw when it was read", 0, { cause: error });
  }
  if (timeUnixNano === undefined) return send(sink, undefined);
  sink.timeBase(timeUnixNano);
  send(sink, 0);
}

/** Reads parts of events from objects; a part that is not what it should be is a `DecodeError`. @internal */
export class EventReader {
  readonly #limits: Limits;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  event(kind: string, fields: Fields): Send {
    switch (kind) {
      case "new_call_site": {
        const id = this.id(fields, "id");
        const data = this.callSite(fields);
        return (sink, time) => sink.newCallSite(id, data, time);
      }
      case "new_span": {
        const id = this.id(fields, "id");
        const parentId = this.optionalId(fields, "parent_id");
        const metadataId = this.id(fields, "metadata_id");
        const values = this.values(fields);
        return (sink, time) => sink.newSpan(id, parentId, metadataId, values, time);
      }
      case "follows_from": {
        const id = this.id(fields, "id");
        const followsFrom = this.id(fields, "follows_from");
        return (sink, time) => sink.followsFrom(id, followsFrom, time);
      }
      case "span_entered": {
        const id = this.id(fields, "id");
        return (sink, time) => sink.spanEntered(id, time);
      }
      case "span_exited": {
        const id = this.id(fields, "id");
        return (sink, time) => sink.spanExited(id, time);
      }
      case "span_cloned": {
        const id = this.id(fields, "id");
        return (sink, time) => sink.spanCloned(id, time);
      }
      case "span_dropped": {
        const id = this.id(fields, "id");
        return (sink, time) => sink.spanDropped(id, time);
      }
      case "values_recorded": {
        const id = this.id(fields, "id");
        const values = this.values(fields);
        return (sink, time) => sink.valuesRecorded(id, values, time);
      }
      case "new_event": {
        const metadataId = this.id(fields, "metadata_id");
        const parent = this.optionalId(fields, "parent");
        const values = this.values(fields);
        return (sink, time) => sink.newEvent(metadataId, parent, values, time);
      }
      default:
        return fail(`unknown kind of event ${quote(kind)}`);
    }
  }

  /** The one key of an externally tagged object, and what stands under it. */
  only(value: unknown, where: string): [key: string, body: unknown] {
    const fields = this.object(value, where);
    const keys = Object.keys(fields);
    if (keys.length !== 1) fail(`${where} has ${keys.length} keys instead of one`);
    const key = keys[0] as string;
    return [key, fields[key]];
  }

  object(value: unknown, where: string): Fields {
    if (typeof value !== "object" || value === null || Array.isArray(value)) fail(`${where} is not an object`);
    return value as Fields;
  }

  /** @param min 0n, or below every safe integer @param max above every safe integer */
  integer(value: unknown, where: string, min: bigint, max: bigint): number | bigint {
    if (typeof value === "number") {
      if (!Number.isSafeInteger(value)) fail(`${where} is not a safe integer; beyond 2^53-1 give a bigint`);
      if (value < 0 && min === 0n) fail(`${where} is out of range`);
      // Minus zero becomes zero.
      return value + 0;
    }
    if (typeof value !== "bigint") fail(`${where} is not an integer`);
    if (value < min || value > max) fail(`${where} is out of range`);
    return canonicalInteger(value);
  }

  /** The data of a call site among `fields`. */
  callSite(fields: Fields): CallSiteData {
    const kind = own(fields, "kind");
    if (kind !== "span" && kind !== "event") fail("kind is neither span nor event");
    const level = own(fields, "level");
    if (typeof level !== "string" || level === "off" || !Object.hasOwn(LevelNumber, level)) fail("unknown level");
    const modulePath = this.#optionalString(fields, "module_path");
    const file = this.#optionalString(fields, "file");
    const line = own(fields, "line");
    return {
      kind: kind as CallSiteKind,
      name: this.#string(own(fields, "name"), "name"),
      target: this.#string(own(fields, "target"), "target"),
      level: level as Level,
      ...(modulePath !== undefined && { module_path: modulePath }),
      ...(file !== undefined && { file }),
      ...(!isNone(line) && { line: this.#u32(line, "line") }),
      fields: this.#fieldNames(own(fields, "fields")),
    };
  }

  #fieldNames(list: unknown): string[] {
    if (!Array.isArray(list)) fail("fields is not an array");
    const { length } = list as unknown[];
    if (length > this.#limits.maxFieldsPerCallSite) this.#exceed("maxFieldsPerCallSite", length);
    const names: string[] = [];
    for (let i = 0; i < length; i++) names.push(this.#string((list as unknown[])[i], "a field's name"));
    return names;
  }

  /** The map under `values`. */
  values(fields: Fields): TracedValues {
    const map = this.object(own(fields, "values"), "values");
    const names = Object.keys(map);
    if (names.length > maxReadValues(this.#limits)) this.#exceed("maxValuesPerRecord", maxReadValues(this.#limits));
    // Columns of the length that they need: those that grow one by one are several times as large.
    const kinds = new Array<ValueKind>(names.length);
    const raws = new Array<RawValue>(names.length);
    const values = new TracedValues(names, kinds, raws);
    values.size = 0;
    for (let i = 0; i < names.length; i++) {
      const name = names[i] as string;
      this.#string(name, "a value's name");
      this.#value(name, map[name], values);
    }
    return values;
  }

  #value(name: string, value: unknown, values: TracedValues): void {
    if (pushPlain(name, value, values, this.#limits.maxStringBytes)) return;
    const where = `value ${quote(name)}`;
    const [type, raw] = this.only(value, where);
    switch (type) {
      case "bool":
        if (typeof raw !== "boolean") fail(`${where} is not a boolean`);
        return values.push(name, ValueKind.bool, raw as boolean);
      case "int":
        return values.push(name, ValueKind.int, this.integer(raw, where, -MAX_I128 - 1n, MAX_I128));
      case "u_int":
        return values.push(name, ValueKind.uInt, this.integer(raw, where, 0n, MAX_U128));
      case "float":
        // `null` is how JSON writers, the crate's too, put what is not a number.
        if (typeof raw !== "number" && raw !== null) fail(`${where} is not a number`);
        return values.push(name, ValueKind.float, (raw ?? Number.NaN) as RawValue);
      case "string":
        return values.push(name, ValueKind.string, this.#string(raw, where));
      case "object":
        return values.push(name, ValueKind.object, this.#string(raw, where));
      case "error":
        return values.push(name, ValueKind.error, this.#error(raw, where));
      default:
        fail(`${where} has the unknown type ${quote(type)}`);
    }
  }

  #error(error: unknown, where: string): TracedError {
    const links: ErrorLink[] = [];
    let omitted = 0;
    let nesting = 0;
    for (let source: unknown = error; !isNone(source) || nesting === 0; ) {
      if (++nesting > MAX_ERROR_NESTING) {
        throw new DecodeError("limit_exceeded", `${where} is a chain of more than ${MAX_ERROR_NESTING} errors`, 0);
      }
      const fields = this.object(source, where);
      const link = {
        message: this.#string(own(fields, "message"), `${where}: message`),
        type: this.#optionalString(fields, "type"),
        stack: this.#optionalString(fields, "stack"),
      };
      if (links.length < this.#limits.maxErrorDepth) links.push(link);
      const cut = own(fields, "omitted");
      omitted = isNone(cut) ? 0 : this.#u32(cut, `${where}: omitted`);
      source = own(fields, "source");
    }
    return nestErrors(links, omitted + nesting - links.length);
  }

  id(fields: Fields, key: string): Id {
    return this.integer(own(fields, key), key, 0n, MAX_U64);
  }

  optionalId(fields: Fields, key: string): Id | undefined {
    const value = own(fields, key);
    return isNone(value) ? undefined : this.integer(value, key, 0n, MAX_U64);
  }

  /** A safe integer from 1; `undefined` where there is none. */
  optionalCount(fields: Fields, key: string): number | undefined {
    const value = own(fields, key);
    if (isNone(value)) return undefined;
    const count = this.integer(value, key, 0n, MAX_U64);
    if (typeof count === "bigint" || count < 1) fail(`${key} is out of range`);
    return count;
  }

  count(fields: Fields, key: string): number {
    return this.optionalCount(fields, key) ?? fail(`${key} is missing`);
  }

  #u32(value: unknown, where: string): number {
    const integer = this.integer(value, where, 0n, MAX_U64);
    if (integer > MAX_U32) fail(`${where} is out of range`);
    return integer as number;
  }

  #optionalString(fields: Fields, key: string): string | undefined {
    const value = own(fields, key);
    return isNone(value) ? undefined : this.#string(value, key);
  }

  #string(value: unknown, where: string): string {
    if (typeof value !== "string") fail(`${where} is not a string`);
    const max = this.#limits.maxStringBytes;
    // A UTF-16 unit is one to three bytes of UTF-8.
    if (value.length * 3 > max) {
      const bytes = value.length > max ? value.length : utf8Length(value);
      if (bytes > max) this.#exceed("maxStringBytes", bytes);
    }
    return value;
  }

  #exceed(limit: keyof Limits, actual: number): never {
    throw new DecodeError("limit_exceeded", `${limit} is ${this.#limits[limit]}, found ${actual} or more`, 0);
  }
}

/** Append a value of the kinds that nearly all values are of. @returns false for any other, and for what is none */
function pushPlain(name: string, value: unknown, values: TracedValues, maxStringBytes: number): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const key = onlyKey(value as Fields);
  if (key === undefined) return false;
  const raw = (value as Fields)[key];
  switch (key) {
    case "bool":
      if (typeof raw !== "boolean") return false;
      values.push(name, ValueKind.bool, raw);
      return true;
    case "int":
      if (!Number.isSafeInteger(raw)) return false;
      // Minus zero becomes zero.
      values.push(name, ValueKind.int, (raw as number) + 0);
      return true;
    case "float":
      if (typeof raw !== "number") return false;
      values.push(name, ValueKind.float, raw);
      return true;
    case "string":
      // A UTF-16 unit is one to three bytes of UTF-8.
      if (typeof raw !== "string" || raw.length * 3 > maxStringBytes) return false;
      values.push(name, ValueKind.string, raw);
      return true;
    default:
      return false;
  }
}

/** The one key of `object`, where what it inherits has none; without an array of them. */
function onlyKey(object: Fields): string | undefined {
  let only: string | undefined;
  for (const key in object) {
    if (only !== undefined) return undefined;
    only = key;
  }
  return only !== undefined && Object.hasOwn(object, only) ? only : undefined;
}

/** Property `key` if `object` itself has it and it is enumerable, else `undefined`. @internal */
export function own(object: Fields, key: string): unknown {
  const value = object[key];
  return value !== undefined && Object.prototype.propertyIsEnumerable.call(object, key) ? value : undefined;
}

function isNone(value: unknown): value is null | undefined {
  return value === null || value === undefined;
}

/** A name of the guest's choosing, cut to what a message should carry. @internal */
export function quote(name: string): string {
  return JSON.stringify(name.length > 40 ? `${name.slice(0, 40)}…` : name);
}

function fail(reason: string): never {
  throw new DecodeError("malformed", reason, 0);
}
