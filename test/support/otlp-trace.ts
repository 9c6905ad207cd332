import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

/** What an OTLP trace request says, read by the field numbers of opentelemetry-proto (`trace.proto`, `common.proto`). */
export interface OtlpSpan {
  readonly resource: OtlpAttributes;
  readonly scope: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly traceState: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: bigint;
  readonly endTimeUnixNano: bigint;
  readonly attributes: OtlpAttributes;
  readonly droppedAttributesCount: number;
  readonly events: readonly OtlpEvent[];
  readonly droppedEventsCount: number;
  readonly links: readonly OtlpLink[];
  readonly droppedLinksCount: number;
  readonly status: { readonly code: number; readonly message: string };
  readonly flags: number;
}

export interface OtlpEvent {
  readonly timeUnixNano: bigint;
  readonly name: string;
  readonly attributes: OtlpAttributes;
  readonly droppedAttributesCount: number;
}

export interface OtlpLink {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceState: string;
  readonly attributes: OtlpAttributes;
  readonly flags: number;
}

export type OtlpAttributes = { readonly [name: string]: unknown };

/** The spans of an `ExportTraceServiceRequest`. */
export function readTraceRequest(bytes: Uint8Array): OtlpSpan[] {
  return message(bytes).all(1).flatMap(readResourceSpans);
}

function readResourceSpans(bytes: Uint8Array): OtlpSpan[] {
  const fields = message(bytes);
  const resource = readAttributes(message(fields.bytes(1)).all(1));
  return fields.all(2).flatMap((scopeSpans) => {
    const inner = message(scopeSpans);
    const scope = message(inner.bytes(1)).text(1);
    return inner.all(2).map((span) => readSpan(span, resource, scope));
  });
}

function readSpan(bytes: Uint8Array, resource: OtlpAttributes, scope: string): OtlpSpan {
  const fields = message(bytes);
  const status = message(fields.bytes(15));
  return {
    resource,
    scope,
    traceId: hex(fields.bytes(1)),
    spanId: hex(fields.bytes(2)),
    traceState: fields.text(3),
    parentSpanId: hex(fields.bytes(4)),
    name: fields.text(5),
    kind: Number(fields.number(6)),
    startTimeUnixNano: fields.number(7),
    endTimeUnixNano: fields.number(8),
    attributes: readAttributes(fields.all(9)),
    droppedAttributesCount: Number(fields.number(10)),
    events: fields.all(11).map(readEvent),
    droppedEventsCount: Number(fields.number(12)),
    links: fields.all(13).map(readLink),
    droppedLinksCount: Number(fields.number(14)),
    status: { code: Number(status.number(3)), message: status.text(2) },
    flags: Number(fields.number(16)),
  };
}

function readEvent(bytes: Uint8Array): OtlpEvent {
  const fields = message(bytes);
  return {
    timeUnixNano: fields.number(1),
    name: fields.text(2),
    attributes: readAttributes(fields.all(3)),
    droppedAttributesCount: Number(fields.number(4)),
  };
}

function readLink(bytes: Uint8Array): OtlpLink {
  const fields = message(bytes);
  return {
    traceId: hex(fields.bytes(1)),
    spanId: hex(fields.bytes(2)),
    traceState: fields.text(3),
    attributes: readAttributes(fields.all(4)),
    flags: Number(fields.number(6)),
  };
}

function readAttributes(list: readonly Uint8Array[]): OtlpAttributes {
  const entries = list.map((bytes) => {
    const fields = message(bytes);
    return [fields.text(1), readValue(fields.bytes(2))] as const;
  });
  return Object.fromEntries(entries);
}

/** An `AnyValue`; integers as bigint, so that they differ from doubles. */
function readValue(bytes: Uint8Array): unknown {
  const reader = new BinaryReader(bytes);
  if (reader.pos >= reader.len) return undefined;
  const [field] = reader.tag();
  switch (field) {
    case 1:
      return reader.string();
    case 2:
      return reader.bool();
    case 3:
      return BigInt(reader.int64());
    case 4:
      return reader.double();
    case 5:
      return message(reader.bytes()).all(1).map(readValue);
    default:
      throw new Error(`an AnyValue has field ${field}`);
  }
}

/** The fields of one message. What is absent reads as its default. */
interface Message {
  all(field: number): readonly Uint8Array[];
  bytes(field: number): Uint8Array;
  text(field: number): string;
  number(field: number): bigint;
}

function message(bytes: Uint8Array): Message {
  const reader = new BinaryReader(bytes);
  const parts = new Map<number, Uint8Array[]>();
  const numbers = new Map<number, bigint>();
  while (reader.pos < reader.len) {
    const [field, type] = reader.tag();
    if (type === WireType.LengthDelimited) parts.set(field, [...(parts.get(field) ?? []), reader.bytes()]);
    else if (type === WireType.Varint) numbers.set(field, BigInt(reader.uint64()));
    else if (type === WireType.Bit64) numbers.set(field, BigInt(reader.fixed64()));
    else if (type === WireType.Bit32) numbers.set(field, BigInt(reader.fixed32()));
    else throw new Error(`field ${field} has wire type ${type}`);
  }
  const last = (field: number): Uint8Array => parts.get(field)?.at(-1) ?? new Uint8Array();
  return {
    all: (field) => parts.get(field) ?? [],
    bytes: last,
    text: (field) => new TextDecoder("utf-8", { fatal: true }).decode(last(field)),
    number: (field) => numbers.get(field) ?? 0n,
  };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
