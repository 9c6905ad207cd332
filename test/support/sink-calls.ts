/** Calls on an event sink as data: to write them down, to make them again, and to compare them whatever codec was between. */
import {
  type BatchHeader,
  type EventSink,
  type Id,
  type RawValue,
  type TracedError,
  TracedValues,
  type ValueColumns,
  ValueKind,
} from "@spanduct/protocol";

/** One call: the method's name, then its arguments. */
export type SinkCall = { [M in keyof EventSink]: readonly [method: M, ...args: Parameters<EventSink[M]>] }[keyof EventSink];

/** Make the calls on `sink`, in order. */
export function replay(calls: readonly SinkCall[], sink: EventSink): void {
  for (const [method, ...args] of calls) (sink[method] as (...args: unknown[]) => void)(...args);
}

/** A sink that hands on each call as data of its own. */
export function sinkTo(onCall: (call: SinkCall) => void): EventSink {
  const method =
    <M extends keyof EventSink>(name: M) =>
    (...args: Parameters<EventSink[M]>): void => {
      const kept = args.map((arg) => (typeof arg === "object" && "kinds" in arg ? copyValues(arg) : arg));
      onCall([name, ...kept] as unknown as SinkCall);
    };
  return {
    batch: method("batch"),
    timeBase: method("timeBase"),
    newCallSite: method("newCallSite"),
    newSpan: method("newSpan"),
    followsFrom: method("followsFrom"),
    spanEntered: method("spanEntered"),
    spanExited: method("spanExited"),
    spanCloned: method("spanCloned"),
    spanDropped: method("spanDropped"),
    valuesRecorded: method("valuesRecorded"),
    newEvent: method("newEvent"),
  };
}

function copyValues(values: ValueColumns): TracedValues {
  const copy = new TracedValues();
  copy.clear(values.fields);
  for (let i = 0; i < values.size; i++) {
    copy.push(values.keys[i] as number | string, values.kinds[i] as ValueKind, values.raws[i] as RawValue);
  }
  return copy;
}

const KIND_NAMES = Object.fromEntries(Object.entries(ValueKind).map(([name, kind]) => [kind, name]));

/** A call whose values go by name, whose time is absolute, and whose text is well-formed. */
export interface PlainCall {
  readonly method: string;
  readonly args: readonly unknown[];
  /** Nanoseconds since the Unix epoch. */
  readonly time?: bigint;
}

/**
 * What the calls mean, without how a codec writes it: two runs of calls are the same to a receiver when these are equal. Times
 * count from the last base; indices of values become names by the call sites announced (or by `TracedValues.fields`).
 */
export function plain(calls: readonly SinkCall[]): PlainCall[] {
  const result: PlainCall[] = [];
  const fieldsOfSite = new Map<Id, readonly string[]>();
  const siteOfSpan = new Map<Id, Id>();
  let base = 0n;
  const named = (values: ValueColumns, site: Id | undefined): unknown[] => {
    const fields = values.fields.length > 0 ? values.fields : ((site === undefined ? undefined : fieldsOfSite.get(site)) ?? []);
    return Array.from({ length: values.size }, (_, i) => {
      const key = values.keys[i] as number | string;
      const name = typeof key === "number" ? (fields[key] ?? `no field ${key}`) : key;
      return [name.toWellFormed(), KIND_NAMES[values.kinds[i] as ValueKind], wellFormed(values.raws[i])];
    });
  };
  const add = (method: string, args: readonly unknown[], time?: number): void => {
    result.push({ method, args, ...(time !== undefined && { time: base + BigInt(time) }) });
  };
  replay(calls, {
    batch(header: BatchHeader) {
      base = header.baseTimeUnixNano;
      add("batch", [header]);
    },
    timeBase(unixNano) {
      base = unixNano;
    },
    newCallSite(id, data, time) {
      const kept = wellFormed(data) as typeof data;
      fieldsOfSite.set(id, kept.fields);
      add("newCallSite", [id, kept], time);
    },
    newSpan(id, parentId, metadataId, values, time) {
      siteOfSpan.set(id, metadataId);
      add("newSpan", [id, parentId, metadataId, named(values, metadataId)], time);
    },
    followsFrom: (id, followsFrom, time) => add("followsFrom", [id, followsFrom], time),
    spanEntered: (id, time) => add("spanEntered", [id], time),
    spanExited: (id, time) => add("spanExited", [id], time),
    spanCloned: (id, time) => add("spanCloned", [id], time),
    spanDropped: (id, time) => add("spanDropped", [id], time),
    valuesRecorded: (id, values, time) => add("valuesRecorded", [id, named(values, siteOfSpan.get(id))], time),
    newEvent: (metadataId, parent, values, time) => add("newEvent", [metadataId, parent, named(values, metadataId)], time),
  });
  return result;
}

/** `value` with U+FFFD for every lone surrogate in its strings; keys with an undefined value are left out. */
function wellFormed(value: unknown): unknown {
  if (typeof value === "string") return value.toWellFormed();
  if (Array.isArray(value)) return value.map(wellFormed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .map(([key, item]) => [key, wellFormed(item)]),
  );
}

/** A chain of `depth` errors. */
export function errorChain(depth: number): TracedError {
  let error: TracedError = { message: `${depth}`, source: null };
  for (let i = depth - 1; i > 0; i--) error = { message: `${i}`, source: error };
  return error;
}
