import {
  type BatchHeader,
  type CallSiteData,
  type Codec,
  DEFAULT_LIMITS,
  DecodeError,
  type EventSink,
  type EventTime,
  FieldResolver,
  type Id,
  type Limits,
  recordEvents,
  type TracedError,
  type TracingEvent,
  type ValueColumns,
  ValueKind,
} from "@spanduct/protocol";
import { replay, type SinkCall, sinkTo } from "../../support/sink-calls.ts";
import { mutateBytes, mutateCalls } from "../mutations.ts";
import { anyLimits, CODECS, encodeBatches } from "../steps.ts";
import { holds, same, type Target, Violation } from "../target.ts";

/** Batches for one decoder. */
export type DecoderItem = { readonly limits: Partial<Limits> } | { readonly bytes: Uint8Array };

/** One wire form: bytes become whole, proper events or coded errors, and mean the same in every other form. */
export function decoderTarget(
  codec: Codec,
  streams: readonly (readonly SinkCall[])[],
  second: SecondReader,
): Target<DecoderItem> {
  return {
    name: codec.name,
    what: "gives whole and proper events or coded errors, the same ones again, and the same ones by way of the other wire forms",
    make(random) {
      const items: DecoderItem[] = [{ limits: anyLimits(random) }];
      const others = encodeBatches(codec, random.pick(streams));
      for (const batch of encodeBatches(codec, mutateCalls(random, random.pick(streams), streams))) {
        items.push({ bytes: random.oneIn(5) ? batch : mutateBytes(random, codec.name, batch, others) });
      }
      if (random.oneIn(50)) items.push({ bytes: Uint8Array.from({ length: random.below(300) }, () => random.below(256)) });
      return items;
    },
    run(items) {
      const limits = { ...DEFAULT_LIMITS, ...items.find((item) => "limits" in item)?.limits };
      const decoder = codec.createDecoder(limits);
      let events = 0;
      for (const item of items) {
        if ("limits" in item) continue;
        const { bytes } = item;
        const before = bytes.slice();
        const read = decode(decoder, bytes);
        same("the input that was lent", Buffer.compare(bytes, before), 0);
        check(read, bytes, limits);
        same("what a decoder of its own reads", plainRead(decode(codec.createDecoder(limits), bytes)), plainRead(read));
        throwsOnce(decoder, bytes, read);
        if (read.calls.length > 0) agree(codec, read, limits);
        readTwice(codec, bytes, second);
        events += read.calls.length + read.errors.length;
      }
      return events;
    },
  };
}

/** Another reader of the same form, for bytes that ours takes as a whole. `undefined` where it cannot be asked. */
export type SecondReader = (bytes: Uint8Array) => readonly SinkCall[] | undefined;

/** No bounds, where another reader has none. */
const UNLIMITED = Object.fromEntries(
  Object.keys(DEFAULT_LIMITS).map((limit) => [limit, Number.POSITIVE_INFINITY]),
) as unknown as Limits;

/** What ours takes without an error, the other one takes and understands in the same way. */
function readTwice(codec: Codec, bytes: Uint8Array, second: SecondReader): void {
  const { calls, errors } = decode(codec.createDecoder(UNLIMITED), bytes);
  if (errors.length > 0) return;
  const again = second(bytes);
  if (again === undefined) return;
  same("what another reader makes of it", eventsOf(again, UNLIMITED), eventsOf(calls, UNLIMITED));
  same("what another reader makes of its header", headers(again), headers(calls));
}

interface Read {
  readonly calls: readonly SinkCall[];
  readonly errors: readonly DecodeError[];
}

type Decoder = ReturnType<Codec["createDecoder"]>;

function decode(decoder: Decoder, bytes: Uint8Array): Read {
  const calls: SinkCall[] = [];
  const errors: DecodeError[] = [];
  decoder.decode(
    bytes,
    sinkTo((call) => calls.push(call)),
    (error) => errors.push(error),
  );
  return { calls, errors };
}

function plainRead({ calls, errors }: Read): unknown {
  return { calls, errors: errors.map(({ code, offset }) => [code, offset]) };
}

/** What the sink throws comes out as it is, and the decoder is as good as new afterwards. */
function throwsOnce(decoder: Decoder, bytes: Uint8Array, { calls }: Read): void {
  const last = calls.length - 1;
  if (last < 0) return;
  const failure = new Error("of the sink");
  let count = 0;
  let caught: unknown;
  try {
    decoder.decode(
      bytes,
      sinkTo(() => {
        if (count++ === last) throw failure;
      }),
      () => undefined,
    );
  } catch (error) {
    caught = error;
  }
  holds("what the sink throws comes out", caught === failure);
}

/** Every other wire form, written from what was read, is read as the same events. */
function agree(codec: Codec, read: Read, readLimits: Limits): void {
  // Of headers there may be several in JSON, so that what was a batch becomes several, and the other way round.
  const limits = { ...readLimits, maxItemsPerBatch: Number.POSITIVE_INFINITY };
  const calls = withinReach(read.calls);
  const named = eventsOf(calls, limits);
  for (const other of Object.values(CODECS)) {
    const { calls: again, errors } = decodeAll(other, encode(other, calls, limits), limits);
    if (errors.length > 0) throw new Violation(`${other.name} refuses what ${codec.name} accepts: ${errors[0]?.message}`);
    same(`what ${other.name} makes of it`, headers(again), headers(calls));
    const [expected, got] = other.name === "json" ? [asJson(named), eventsOf(again, limits)] : [named, eventsOf(again, limits)];
    same(`what ${other.name} makes of it`, got, expected);
  }
}

/** Without the times that binary forms have no room for: beyond ±(2^53-1) of the base time of their batch, or counted from there. */
function withinReach(calls: readonly SinkCall[]): SinkCall[] {
  let base = 0n;
  let from = 0n;
  return calls.map((call) => {
    if (call[0] === "batch") base = from = call[1].baseTimeUnixNano;
    else if (call[0] === "timeBase") from = call[1];
    else {
      const time = call.at(-1) as EventTime;
      const distances = [from - base, from + BigInt(time ?? 0) - base];
      if (!distances.every((distance) => Number.isSafeInteger(Number(distance))))
        return call.with(-1, undefined) as unknown as SinkCall;
    }
    return call;
  });
}

function encode(codec: Codec, calls: readonly SinkCall[], limits: Limits): Uint8Array[] {
  const named: SinkCall[] = [];
  if (codec.name !== "json") return encodeBatches(codec, calls);
  // In JSON every value has a name.
  const resolver = new FieldResolver(
    sinkTo((call) => named.push(call)),
    limits,
  );
  replay(calls, resolver);
  return encodeBatches(codec, named);
}

function decodeAll(codec: Codec, batches: readonly Uint8Array[], limits: Limits): Read {
  const decoder = codec.createDecoder(limits);
  const reads = batches.map((batch) => decode(decoder, batch));
  return { calls: reads.flatMap(({ calls }) => calls), errors: reads.flatMap(({ errors }) => errors) };
}

function headers(calls: readonly SinkCall[]): BatchHeader[] {
  // One that was made up because there was none.
  return calls.flatMap((call) => (call[0] === "batch" && (call[1].clock !== "none" || call[1].sequence > 0) ? [call[1]] : []));
}

function eventsOf(calls: readonly SinkCall[], limits: Limits): TracingEvent[] {
  const events: TracingEvent[] = [];
  const sink: EventSink = new FieldResolver(
    recordEvents((event) => events.push(event)),
    limits,
  );
  replay(calls, sink);
  return events;
}

/** Numbers that JSON has no word for are their debug form there. */
function asJson(events: readonly TracingEvent[]): unknown {
  const replace = (value: unknown): unknown => {
    if (typeof value !== "object" || value === null) return value;
    if (Array.isArray(value)) return value.map(replace);
    const { float } = value as { float?: unknown };
    if (typeof float === "number" && !Number.isFinite(float)) return { object: debugFloat(float) };
    const copy = Object.create(null) as { [key: string]: unknown };
    for (const [key, item] of Object.entries(value)) copy[key] = replace(item);
    return copy;
  };
  return replace(events);
}

function debugFloat(float: number): string {
  if (Number.isNaN(float)) return "NaN";
  return float > 0 ? "inf" : "-inf";
}

const CODES = ["malformed", "limit_exceeded", "unsupported_version"];
const MAX_ERRORS = 70;

/** What any reader of bytes may hand on. */
export function check({ calls, errors }: Read, bytes: Uint8Array, limits: Limits): void {
  for (const error of errors) {
    holds("errors are DecodeErrors", error instanceof DecodeError);
    holds(`codes are known: ${error.code}`, CODES.includes(error.code));
    holds(`offset ${error.offset} of "${error.reason}" is inside`, error.offset >= 0 && error.offset <= bytes.length);
  }
  holds("a batch with many errors is given up", errors.length <= MAX_ERRORS);
  holds("there are no more events than bytes", calls.length <= bytes.length + 1);
  const isEvent = ([method]: SinkCall): boolean => method !== "batch" && method !== "timeBase";
  holds("there are no more events than the limit", calls.filter(isEvent).length <= limits.maxItemsPerBatch);
  for (const call of calls) checkCall(call, limits);
}

function checkCall(call: SinkCall, limits: Limits): void {
  switch (call[0]) {
    case "batch": {
      const { version, clock, baseTimeUnixNano, sequence, droppedEvents } = call[1];
      holds("header: version", version === 1);
      holds("header: clock", ["wall", "frozen", "logical", "none"].includes(clock));
      holds("header: base time", baseTimeUnixNano >= 0n && baseTimeUnixNano < 2n ** 64n);
      holds("header: counters", isCount(sequence) && isCount(droppedEvents));
      return;
    }
    case "timeBase":
      return holds("time base", call[1] >= 0n && call[1] < 2n ** 64n);
    case "newCallSite":
      checkId(call[1]);
      checkSite(call[2], limits);
      return checkTime(call[3]);
    case "newSpan":
      for (const id of [call[1], call[2] ?? 0, call[3]]) checkId(id);
      checkValues(call[4], limits);
      return checkTime(call[5]);
    case "followsFrom":
      for (const id of [call[1], call[2]]) checkId(id);
      return checkTime(call[3]);
    case "valuesRecorded":
      checkId(call[1]);
      checkValues(call[2], limits);
      return checkTime(call[3]);
    case "newEvent":
      for (const id of [call[1], call[2] ?? 0]) checkId(id);
      checkValues(call[3], limits);
      return checkTime(call[4]);
    default:
      checkId(call[1]);
      return checkTime(call[2]);
  }
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0);
}

function checkId(id: Id): void {
  const isWide = typeof id === "bigint" && id > BigInt(Number.MAX_SAFE_INTEGER) && id < 2n ** 64n;
  holds(`an id is canonical: ${id}`, isWide || isCount(id));
}

function checkTime(time: unknown): void {
  holds("a time is a safe integer or nothing", time === undefined || Number.isSafeInteger(time));
}

function checkSite(data: CallSiteData, limits: Limits): void {
  const { kind, name, target, level, module_path: modulePath, file, line, fields } = data;
  holds(
    "call site: kind and level",
    ["span", "event"].includes(kind) && ["error", "warn", "info", "debug", "trace"].includes(level),
  );
  for (const text of [name, target, modulePath ?? "", file ?? "", ...fields]) checkText(text, limits);
  holds("call site: line", line === undefined || (isCount(line) && line < 2 ** 32));
  holds("call site: fields", fields.length <= limits.maxFieldsPerCallSite);
}

function checkText(text: unknown, limits: Limits): void {
  holds("text is text", typeof text === "string" && text.isWellFormed());
  holds("text is within its budget", Buffer.byteLength(text as string) <= limits.maxStringBytes);
}

function checkValues({ fields, keys, kinds, raws, size }: ValueColumns, limits: Limits): void {
  holds("decoders know no fields", fields.length === 0);
  const seen = new Set<number | string>();
  for (let i = 0; i < size; i++) {
    const key = keys[i] as number | string;
    holds("no key comes twice", !seen.has(key));
    seen.add(key);
    if (typeof key === "number") holds("an index is of 32 bits", isCount(key) && key < 2 ** 32);
    else checkText(key, limits);
    checkRaw(kinds[i] as ValueKind, raws[i], limits);
  }
}

function checkRaw(kind: ValueKind, raw: unknown, limits: Limits): void {
  switch (kind) {
    case ValueKind.bool:
      return holds("a bool is one", typeof raw === "boolean");
    case ValueKind.int:
      return checkInteger(raw, -(2n ** 127n), 2n ** 127n - 1n);
    case ValueKind.uInt:
      return checkInteger(raw, 0n, 2n ** 128n - 1n);
    case ValueKind.float:
      return holds("a float is one", typeof raw === "number");
    case ValueKind.string:
    case ValueKind.object:
      return checkText(raw, limits);
    case ValueKind.error: {
      let depth = 0;
      for (let link: TracedError | null = raw as TracedError; link !== null; link = link.source) {
        depth++;
        for (const text of [link.message, link.type ?? "", link.stack ?? ""]) checkText(text, limits);
        holds(
          "omitted causes",
          link.omitted === undefined || (isCount(link.omitted) && link.omitted > 0 && link.source === null),
        );
      }
      return holds("an error is no deeper than its budget", depth <= Math.max(limits.maxErrorDepth, 1));
    }
    default:
      throw new Violation(`kind ${kind} of a value`);
  }
}

function checkInteger(raw: unknown, min: bigint, max: bigint): void {
  if (typeof raw === "number")
    return holds("an integer is canonical", Number.isSafeInteger(raw) && raw >= min && !Object.is(raw, -0));
  holds("an integer is a bigint where it is not safe", typeof raw === "bigint" && !Number.isSafeInteger(Number(raw)));
  holds("an integer is in range", (raw as bigint) >= min && (raw as bigint) <= max);
}
