import { type HrTime, type Link, type SpanContext, SpanKind, SpanStatusCode } from "@opentelemetry/api";
import { type AttributeMap, type AttributeValue, attributeValue } from "./attribute-value.ts";
import { setAttribute } from "./attribute-writer.ts";
import {
  array,
  boolean,
  integer,
  isRecord,
  mismatch,
  oneOf,
  readContext,
  readStatus,
  readTime,
  readTimings,
  record,
  type SavedSpanContext,
  string,
  writeContext,
} from "./saved-json.ts";
import type { TimedEvent } from "./sdk.ts";
import { type GuestSpan, type SpanState, UNSET } from "./span.ts";
import type { TimingState } from "./timings.ts";

// Plain JSON. Numbers that JSON has no word for are written as { "number": "NaN" }; attributes are lists of names and values, so
// that no name means anything to whoever keeps them. What is as it is at the start of a span is left out: executions may have very
// many open spans.

const FORMAT = "spanduct.opentelemetry/1";

/** A span as `saveSpan` gives it to the host to keep. */
export interface SavedSpan {
  readonly format: typeof FORMAT;
  /** How often it was saved, this time included. */
  readonly revision: number;
  readonly identity: SavedSpanContext;
  readonly parent?: SavedSpanContext;
  /** Whether it has no parent among the guest's spans. */
  readonly root: boolean;
  /** Whether it is recorded; one that is not has only its identity. */
  readonly recording: boolean;
  /** Whether it was ended though the guest holds it open: it is not recorded any more, what happens in it is. */
  readonly closed?: true;
  readonly name: string;
  readonly kind: number;
  /** Name of the instrumentation scope. */
  readonly scope: string;
  /** Seconds and nanoseconds. */
  readonly start: readonly [number, number];
  /** Absent: unset. */
  readonly status?: { readonly code: number; readonly message?: string };
  readonly attributes: SavedAttributes;
  readonly events?: readonly SavedEvent[];
  readonly links?: readonly SavedLink[];
  /** Dropped attributes, events, links; absent: none. */
  readonly dropped?: readonly [number, number, number];
  /** Absent: it was never entered. */
  readonly timings?: TimingState;
}

/** A number that JSON has no word for is `{ "number": "NaN" }`. */
export type SavedScalar = string | number | boolean | { readonly number: string };
/** Names and values, each name before its value. */
export type SavedAttributes = readonly (SavedScalar | readonly SavedScalar[])[];

/** An event of a saved span. */
export interface SavedEvent {
  readonly name: string;
  readonly time: readonly [number, number];
  readonly attributes: SavedAttributes;
  readonly dropped: number;
}

/** A link of a saved span. */
export interface SavedLink {
  readonly context: SavedSpanContext;
  readonly attributes: SavedAttributes;
  readonly dropped: number;
}

/** What of a saved span never changes. */
export interface SpanOrigin {
  readonly identity: SpanContext;
  readonly parent: SpanContext | undefined;
  readonly isRoot: boolean;
  readonly recording: boolean;
  readonly closed: boolean;
  readonly scope: string;
  readonly startTime: HrTime;
}

/** A saved span, checked. */
export interface ReadSpan {
  readonly revision: number;
  readonly origin: SpanOrigin;
  readonly state: SpanState;
}

export function writeSpan(span: GuestSpan): SavedSpan {
  const { parentSpanContext, status, events, links, timings } = span;
  const { droppedAttributesCount, droppedEventsCount, droppedLinksCount } = span;
  const saved: { -readonly [key in keyof SavedSpan]: SavedSpan[key] } = {
    format: FORMAT,
    revision: span.revision,
    identity: writeContext(span.spanContext()),
    root: span.isRoot,
    recording: span.recording,
    name: span.name,
    kind: span.kind,
    scope: span.instrumentationScope.name,
    start: span.startTime,
    attributes: writeAttributes(span.attributes),
  };
  if (parentSpanContext !== undefined) saved.parent = writeContext(parentSpanContext);
  if (span.closedEarly) saved.closed = true;
  if (status.code !== SpanStatusCode.UNSET || status.message !== undefined) saved.status = { ...status };
  if (events.length > 0) saved.events = events.map(writeEvent);
  if (links.length > 0) saved.links = links.map(writeLink);
  if (droppedAttributesCount + droppedEventsCount + droppedLinksCount > 0) {
    saved.dropped = [droppedAttributesCount, droppedEventsCount, droppedLinksCount];
  }
  if (timings !== undefined) saved.timings = timings;
  return saved;
}

function writeEvent({ name, time, attributes = {}, droppedAttributesCount = 0 }: TimedEvent): SavedEvent {
  return { name, time, attributes: writeAttributes(attributes), dropped: droppedAttributesCount };
}

function writeLink({ context, attributes = {}, droppedAttributesCount = 0 }: Link): SavedLink {
  return { context: writeContext(context), attributes: writeAttributes(attributes), dropped: droppedAttributesCount };
}

/**
 * What `writeSpan` wrote, checked: it comes from a store.
 *
 * @returns `undefined` when it is not this relay's, or of another version
 * @throws TunnelError "snapshot_mismatch": it says it is, but no relay can have written it
 */
export function readSpan(saved: unknown): ReadSpan | undefined {
  if (!isRecord(saved) || saved["format"] !== FORMAT) return undefined;
  const { status, events, links, timings } = saved;
  const dropped = saved["dropped"] === undefined ? NONE_DROPPED : array(saved["dropped"], "dropped");
  return {
    revision: integer(saved["revision"], "revision"),
    origin: {
      identity: readContext(saved["identity"]),
      parent: saved["parent"] === undefined ? undefined : readContext(saved["parent"]),
      isRoot: boolean(saved["root"], "root"),
      recording: boolean(saved["recording"], "recording"),
      closed: saved["closed"] !== undefined && boolean(saved["closed"], "closed"),
      scope: string(saved["scope"], "scope"),
      startTime: readTime(saved["start"]),
    },
    state: {
      name: string(saved["name"], "name"),
      kind: oneOf(saved["kind"], KINDS, "kind"),
      status: status === undefined ? UNSET : readStatus(status),
      attributes: readAttributes(saved["attributes"]),
      events: events === undefined ? [] : array(events, "events").map(readEvent),
      links: links === undefined ? [] : array(links, "links").map(readLink),
      droppedAttributesCount: integer(dropped[0], "dropped"),
      droppedEventsCount: integer(dropped[1], "dropped"),
      droppedLinksCount: integer(dropped[2], "dropped"),
      timings: timings === undefined ? undefined : readTimings(timings),
    },
  };
}

const NONE_DROPPED: readonly number[] = [0, 0, 0];

const KINDS: readonly SpanKind[] = [SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER];

function readEvent(saved: unknown): TimedEvent {
  const event = record(saved, "events");
  return {
    name: string(event["name"], "events"),
    time: readTime(event["time"]),
    attributes: readAttributes(event["attributes"]),
    droppedAttributesCount: integer(event["dropped"], "events"),
  };
}

function readLink(saved: unknown): Link {
  const link = record(saved, "links");
  return {
    context: readContext(link["context"]),
    attributes: readAttributes(link["attributes"]),
    droppedAttributesCount: integer(link["dropped"], "links"),
  };
}

export function writeAttributes(attributes: { readonly [name: string]: unknown }): SavedAttributes {
  const names = Object.keys(attributes);
  const saved = new Array<SavedScalar | readonly SavedScalar[]>(2 * names.length);
  for (let i = 0; i < names.length; i++) {
    const name = names[i] as string;
    const value = attributes[name] as AttributeValue;
    saved[2 * i] = name;
    saved[2 * i + 1] = Array.isArray(value) ? value.map(writeScalar) : writeScalar(value);
  }
  return saved;
}

export function writeScalar(value: string | number | boolean): SavedScalar {
  if (typeof value !== "number" || (Number.isFinite(value) && !Object.is(value, -0))) return value;
  return { number: Object.is(value, -0) ? "-0" : String(value) };
}

export function readAttributes(saved: unknown): AttributeMap {
  const attributes: AttributeMap = {};
  const list = array(saved, "attributes");
  for (let i = 0; i < list.length; i += 2) {
    const value = list[i + 1];
    const read = attributeValue(Array.isArray(value) ? value.map(readScalar) : readScalar(value));
    if (read === undefined) mismatch("attributes");
    setAttribute(attributes, string(list[i], "attributes"), read);
  }
  return attributes;
}

export function readScalar(saved: unknown): unknown {
  if (!isRecord(saved)) return saved;
  const text = saved["number"];
  return text === "NaN" || text === "Infinity" || text === "-Infinity" || text === "-0" ? Number(text) : undefined;
}
