import { SpanKind, SpanStatusCode } from "@opentelemetry/api";
import { type RawValue, ValueKind } from "@spanduct/protocol";

/** What the fields that steer the span itself change. */
export interface Steered {
  rename(name: string): void;
  setKind(kind: SpanKind): void;
  mergeStatus(code: SpanStatusCode, message?: string): void;
}

/**
 * Apply a field of `tracing-opentelemetry`'s: `otel.name`, `otel.kind`, `otel.status_code`, and `otel.status_description` or
 * `otel.status_message`, given as text. Unknown kinds and codes are ignored. A description alone means an error; its order with
 * the code does not matter.
 *
 * @returns whether it was one, so that it does not become an attribute too
 */
export function applySpecialField(span: Steered, name: string, kind: ValueKind, raw: RawValue): boolean {
  if (!name.startsWith("otel.") || (kind !== ValueKind.string && kind !== ValueKind.object)) return false;
  const text = raw as string;
  switch (name) {
    case "otel.name":
      span.rename(text);
      return true;
    case "otel.kind": {
      const spanKind = kindNamed(text);
      if (spanKind !== undefined) span.setKind(spanKind);
      return true;
    }
    case "otel.status_code": {
      const code = text.toLowerCase();
      if (code === "ok") span.mergeStatus(SpanStatusCode.OK);
      else if (code === "error") span.mergeStatus(SpanStatusCode.ERROR);
      return true;
    }
    case "otel.status_description":
    case "otel.status_message":
      span.mergeStatus(SpanStatusCode.ERROR, text);
      return true;
    default:
      return false;
  }
}

function kindNamed(name: string): SpanKind | undefined {
  switch (name.toLowerCase()) {
    case "internal":
      return SpanKind.INTERNAL;
    case "server":
      return SpanKind.SERVER;
    case "client":
      return SpanKind.CLIENT;
    case "producer":
      return SpanKind.PRODUCER;
    case "consumer":
      return SpanKind.CONSUMER;
    default:
      return undefined;
  }
}
