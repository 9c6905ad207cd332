import {
  createTraceState,
  type HrTime,
  isSpanContextValid,
  type Link,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
} from "@opentelemetry/api";
import { TunnelError } from "@spanduct/protocol";
import { type AttributeValue, attributeValue } from "./attributed.ts";
import type { TimedEvent } from "./sdk.ts";
import type { GuestSpan, SpanState } from "./span.ts";

// Plain JSON. Numbers that JSON has no word for are written as { "number": "NaN" }; attributes are lists of names and values, so
// that no name means anything to whoever keeps them.

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
  readonly name: string;
  readonly kind: number;
  /** Name of the instrumentation scope. */
  readonly scope: string;
  /** Seconds and nanoseconds. */
  readonly start: readonly [number, number];
  readonly status: { readonly code: number; readonly message?: string };
  readonly attributes: SavedAttributes;
  readonly events: readonly SavedEvent[];
  readonly links: readonly SavedLink[];
  /** Dropped attributes, events, links. */
  readonly dropped: readonly [number, number, number];
  readonly timings: {
    readonly busy: number;
    readonly idle: number;
    readonly entered: number;
    readonly since: readonly [number, number];
  };
}

interface SavedSpanContext {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceFlags: number;
  /** As in the `tracestate` header. */
  readonly traceState?: string;
  readonly isRemote?: boolean;
}

type SavedScalar = string | number | boolean | { readonly number: string };
type SavedAttributes = readonly (readonly [string, SavedScalar | readonly SavedScalar[]])[];

interface SavedEvent {
  readonly name: string;
  readonly time: readonly [number, number];
  readonly attributes: SavedAttributes;
  readonly dropped: number;
}

interface SavedLink {
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
  const state = span.state;
  const { parentSpanContext } = span;
  return {
    format: FORMAT,
    revision: span.revision,
    identity: writeContext(span.spanContext()),
    ...(parentSpanContext !== undefined && { parent: writeContext(parentSpanContext) }),
    root: span.isRoot,
    recording: span.recording,
    name: state.name,
    kind: state.kind,
    scope: span.instrumentationScope.name,
    start: span.startTime,
    status: state.status,
    attributes: writeAttributes(state.attributes),
    events: state.events.map(({ name, time, attributes = {}, droppedAttributesCount = 0 }) => ({
      name,
      time,
      attributes: writeAttributes(attributes),
      dropped: droppedAttributesCount,
    })),
    links: state.links.map(({ context, attributes = {}, droppedAttributesCount = 0 }) => ({
      context: writeContext(context),
      attributes: writeAttributes(attributes),
      dropped: droppedAttributesCount,
    })),
    dropped: [state.droppedAttributesCount, state.droppedEventsCount, state.droppedLinksCount],
    timings: state.timings,
  };
}

/**
 * What `writeSpan` wrote, checked: it comes from a store.
 *
 * @returns `undefined` when it is not this relay's, or of another version
 * @throws TunnelError "snapshot_mismatch": it says it is, but no relay can have written it
 */
export function readSpan(saved: unknown): ReadSpan | undefined {
  if (!isRecord(saved) || saved["format"] !== FORMAT) return undefined;
  const dropped = array(saved["dropped"], "dropped").map((count) => integer(count, "dropped"));
  const timings = record(saved["timings"], "timings");
  const status = record(saved["status"], "status");
  const message = status["message"];
  const code = oneOf(status["code"], [SpanStatusCode.UNSET, SpanStatusCode.OK, SpanStatusCode.ERROR], "status");
  return {
    revision: integer(saved["revision"], "revision"),
    origin: {
      identity: readContext(saved["identity"]),
      parent: saved["parent"] === undefined ? undefined : readContext(saved["parent"]),
      isRoot: boolean(saved["root"], "root"),
      recording: boolean(saved["recording"], "recording"),
      scope: string(saved["scope"], "scope"),
      startTime: time(saved["start"]),
    },
    state: {
      name: string(saved["name"], "name"),
      kind: oneOf(saved["kind"], KINDS, "kind"),
      status: message === undefined ? { code } : { code, message: string(message, "status") },
      attributes: readAttributes(saved["attributes"]),
      events: array(saved["events"], "events").map(readEvent),
      links: array(saved["links"], "links").map(readLink),
      droppedAttributesCount: dropped[0] ?? 0,
      droppedEventsCount: dropped[1] ?? 0,
      droppedLinksCount: dropped[2] ?? 0,
      timings: {
        busy: nanos(timings["busy"], "busy"),
        idle: nanos(timings["idle"], "idle"),
        entered: integer(timings["entered"], "entered"),
        since: time(timings["since"]),
      },
    },
  };
}

const KINDS: readonly SpanKind[] = [
  SpanKind.INTERNAL,
  SpanKind.SERVER,
  SpanKind.CLIENT,
  SpanKind.PRODUCER,
  SpanKind.CONSUMER,
];

/** The identity of a span as plain JSON. */
export function writeContext({ traceId, spanId, traceFlags, traceState, isRemote }: SpanContext): SavedSpanContext {
  const list = traceState?.serialize();
  return {
    traceId,
    spanId,
    traceFlags,
    ...(list !== undefined && list !== "" && { traceState: list }),
    ...(isRemote !== undefined && { isRemote }),
  };
}

/** @throws TunnelError "snapshot_mismatch" */
export function readContext(saved: unknown): SpanContext {
  const { traceId, spanId, traceFlags, traceState, isRemote } = record(saved, "identity");
  const context: SpanContext = {
    traceId: string(traceId, "identity"),
    spanId: string(spanId, "identity"),
    traceFlags: integer(traceFlags, "identity"),
  };
  if (!isSpanContextValid(context) || context.traceFlags > 255) mismatch("identity");
  if (isRemote !== undefined) context.isRemote = boolean(isRemote, "identity");
  if (traceState !== undefined) context.traceState = createTraceState(string(traceState, "identity"));
  return context;
}

function readEvent(saved: unknown): TimedEvent {
  const event = record(saved, "events");
  return {
    name: string(event["name"], "events"),
    time: time(event["time"]),
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

function writeAttributes(attributes: { readonly [name: string]: unknown }): SavedAttributes {
  return Object.keys(attributes).map((name) => {
    const value = attributes[name] as AttributeValue;
    return [name, Array.isArray(value) ? value.map(writeScalar) : writeScalar(value)] as const;
  });
}

function writeScalar(value: string | number | boolean): SavedScalar {
  if (typeof value !== "number" || (Number.isFinite(value) && !Object.is(value, -0))) return value;
  return { number: Object.is(value, -0) ? "-0" : String(value) };
}

function readAttributes(saved: unknown): Record<string, AttributeValue> {
  const entries = array(saved, "attributes").map((entry) => {
    const [name, value] = array(entry, "attributes");
    const read = attributeValue(Array.isArray(value) ? value.map(readScalar) : readScalar(value));
    if (read === undefined) mismatch("attributes");
    return [string(name, "attributes"), read] as const;
  });
  return Object.fromEntries(entries);
}

function readScalar(saved: unknown): unknown {
  if (!isRecord(saved)) return saved;
  const text = saved["number"];
  return text === "NaN" || text === "Infinity" || text === "-Infinity" || text === "-0" ? Number(text) : undefined;
}

function time(saved: unknown): HrTime {
  const [seconds, nanos, ...more] = array(saved, "time");
  if (!isCount(seconds) || !isCount(nanos) || nanos > 999_999_999 || more.length > 0) mismatch("time");
  return [seconds, nanos];
}

/** A duration; one of more than 104 days has lost its last digits and is no safe integer. */
function nanos(saved: unknown, what: string): number {
  if (typeof saved !== "number" || !Number.isInteger(saved) || saved < 0) mismatch(what);
  return saved;
}

function integer(saved: unknown, what: string): number {
  if (!isCount(saved)) mismatch(what);
  return saved;
}

function isCount(saved: unknown): saved is number {
  return typeof saved === "number" && Number.isSafeInteger(saved) && saved >= 0;
}

function oneOf<T extends number>(saved: unknown, values: readonly T[], what: string): T {
  const value = values.find((candidate) => candidate === saved);
  if (value === undefined) mismatch(what);
  return value;
}

function string(saved: unknown, what: string): string {
  if (typeof saved !== "string") mismatch(what);
  return saved;
}

function boolean(saved: unknown, what: string): boolean {
  if (typeof saved !== "boolean") mismatch(what);
  return saved;
}

function array(saved: unknown, what: string): readonly unknown[] {
  if (!Array.isArray(saved)) mismatch(what);
  return saved;
}

function record(saved: unknown, what: string): { readonly [name: string]: unknown } {
  if (!isRecord(saved)) mismatch(what);
  return saved;
}

function isRecord(value: unknown): value is { readonly [name: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function mismatch(what: string): never {
  throw new TunnelError("snapshot_mismatch", `the saved span has no proper ${what}; the state is damaged`);
}
