import type { HrTime, SpanContext } from "@opentelemetry/api";
import { TunnelError } from "@spanduct/protocol";
import type { AttributeMap } from "./attribute-value.ts";
import type { Outgoing, OutgoingLogRecord } from "./delivery.ts";
import { contextOf } from "./parent-context.ts";
import {
  array,
  integer,
  mismatch,
  readContext,
  readTime,
  record,
  type SavedSpanContext,
  string,
  writeContext,
} from "./saved-json.ts";
import {
  type ReadSpan,
  readAttributes,
  readScalar,
  readSpan,
  type SavedAttributes,
  type SavedScalar,
  type SavedSpan,
  writeAttributes,
  writeScalar,
  writeSpan,
} from "./saved-span.ts";

const FORMAT = "spanduct.outbox/1";
const FAMILY = "spanduct.outbox/";

/**
 * What one attempt at an execution leaves to be delivered, in order: plain JSON, to be stored in the transaction that commits the
 * attempt (or after its rollback) and delivered by any process, any number of times, to the same effect.
 */
export interface Outbox {
  readonly format: typeof FORMAT;
  readonly records: readonly OutboxRecord[];
}

/** One thing to deliver. */
export type OutboxRecord = SpanStarted | SpanEnded | LogEmitted;

/** A span that processors have not seen. */
export interface SpanStarted {
  readonly kind: "start";
  /** With all that the attempt did to it. */
  readonly span: SavedSpan;
}

/** A span that is over. */
export interface SpanEnded {
  readonly kind: "end";
  /** The span, or the place in `records` of the start that has it. */
  readonly span: SavedSpan | number;
  /** Seconds and nanoseconds. */
  readonly end: readonly [number, number];
}

/** A log record. */
export interface LogEmitted {
  readonly kind: "log";
  /** The guest's target: what the logger is named for. */
  readonly scope: string;
  readonly name?: string;
  /** When it happened, and when the host learnt of it: seconds and nanoseconds. */
  readonly time?: readonly [number, number];
  readonly observed?: readonly [number, number];
  readonly severity?: readonly [number: number, text: string];
  readonly body?: SavedScalar;
  readonly attributes: SavedAttributes;
  /** The span that it happened in. */
  readonly span?: SavedSpanContext;
}

/** A record of an outbox, checked. */
export type ReadRecord =
  | { readonly kind: "start"; readonly span: ReadSpan }
  | { readonly kind: "end"; readonly span: ReadSpan | number; readonly end: HrTime }
  | { readonly kind: "log"; readonly scope: string; readonly record: OutgoingLogRecord; readonly span: SpanContext | undefined };

/** @param held what an attempt holds, in order; events of the host's own span are not for another process and left out */
export function writeOutbox(held: readonly Outgoing[]): Outbox {
  const records: OutboxRecord[] = [];
  const starts = new Map<unknown, number>();
  for (const outgoing of held) {
    switch (outgoing.kind) {
      case "start":
        starts.set(outgoing.span, records.length);
        records.push({ kind: "start", span: writeSpan(outgoing.span) });
        break;
      case "end":
        records.push({
          kind: "end",
          span: starts.get(outgoing.span) ?? writeSpan(outgoing.span),
          end: outgoing.span.endTime as [number, number],
        });
        break;
      case "log":
        records.push(writeLog(outgoing.scope, outgoing.record));
    }
  }
  return { format: FORMAT, records };
}

function writeLog(scope: string, log: OutgoingLogRecord): LogEmitted {
  const { eventName, timestamp, observedTimestamp, severityNumber, severityText, body, attributes, context } = log;
  const span = contextOf(context);
  return {
    kind: "log",
    scope,
    ...(eventName !== undefined && { name: eventName }),
    ...(timestamp !== undefined && { time: timestamp }),
    ...(observedTimestamp !== undefined && { observed: observedTimestamp }),
    ...(severityNumber !== undefined && { severity: [severityNumber, severityText ?? ""] as const }),
    ...(body !== undefined && { body: writeScalar(body) }),
    attributes: writeAttributes(attributes),
    ...(span !== undefined && { span: writeContext(span) }),
  };
}

/**
 * The records of an outbox that comes back from a store, all of them checked.
 *
 * @throws TunnelError "unsupported_version": an outbox of a version that this build does not know
 * @throws TunnelError "snapshot_mismatch": no relay can have written it
 */
export function readOutbox(outbox: unknown): ReadRecord[] {
  const { format, records } = record(outbox, "outbox");
  if (format !== FORMAT) {
    if (typeof format !== "string" || !format.startsWith(FAMILY)) mismatch("format of an outbox");
    throw new TunnelError("unsupported_version", `an outbox of the format ${JSON.stringify(format.slice(0, 64))}, not ${FORMAT}`);
  }
  const read: ReadRecord[] = [];
  for (const saved of array(records, "records")) read.push(readRecord(record(saved, "record"), read));
  return read;
}

function readRecord(saved: { readonly [name: string]: unknown }, before: readonly ReadRecord[]): ReadRecord {
  switch (saved["kind"]) {
    case "start":
      return { kind: "start", span: knownSpan(saved["span"]) };
    case "end": {
      const { span } = saved;
      if (typeof span === "number" && before[span]?.kind !== "start") mismatch("start");
      return { kind: "end", span: typeof span === "number" ? span : knownSpan(span), end: readTime(saved["end"]) };
    }
    case "log":
      return readLog(saved);
    default:
      return mismatch("kind");
  }
}

function knownSpan(saved: unknown): ReadSpan {
  return readSpan(saved) ?? mismatch("span");
}

function readLog(saved: { readonly [name: string]: unknown }): ReadRecord {
  const { name, time, observed, severity, body, span } = saved;
  const attributes: AttributeMap = readAttributes(saved["attributes"]);
  const log: OutgoingLogRecord = { attributes };
  if (name !== undefined) log.eventName = string(name, "name");
  if (time !== undefined) log.timestamp = readTime(time);
  if (observed !== undefined) log.observedTimestamp = readTime(observed);
  if (severity !== undefined) {
    const [number, text] = array(severity, "severity");
    log.severityNumber = integer(number, "severity");
    log.severityText = string(text, "severity");
  }
  if (body !== undefined) log.body = readBody(body);
  return {
    kind: "log",
    scope: string(saved["scope"], "scope"),
    record: log,
    span: span === undefined ? undefined : readContext(span),
  };
}

function readBody(saved: unknown): string | number | boolean {
  const body = readScalar(saved);
  if (typeof body !== "string" && typeof body !== "number" && typeof body !== "boolean") mismatch("body");
  return body;
}
