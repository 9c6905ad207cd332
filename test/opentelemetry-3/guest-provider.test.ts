import { type Attributes, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, type Tracer, trace } from "@opentelemetry/api";
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { TracingEventReceiver } from "@spanduct/receiver";
import { batches, TracingEventSender } from "@spanduct/sender";
import { TunnelTracerProvider } from "@spanduct/sender/otel";
import { expect, it } from "vitest";

/** A library's work: everything that the API offers, at times of its own. */
function work(tracer: Tracer): void {
  const at = (seconds: number, nanos: number): [number, number] => [1_700_000_000 + seconds, nanos];
  const under = (span: Span) => trace.setSpan(ROOT_CONTEXT, span);
  const request = tracer.startSpan("GET /*", {
    kind: SpanKind.SERVER,
    attributes: { "http.request.method": "GET", "url.full": "http://localhost/", retries: 0, ratio: 0.25, cached: false },
    startTime: at(0, 1),
  });
  const cause = tracer.startSpan("cause", { startTime: at(0, 2) }, under(request));
  const query = tracer.startSpan(
    "SELECT",
    { kind: SpanKind.CLIENT, links: [{ context: cause.spanContext() }], startTime: at(0, 3) },
    under(request),
  );
  query.addEvent("rows", { count: 3, "db.name": "shop" }, at(0, 999_999_999));
  query.addEvent("done", at(1, 0));
  query.setStatus({ code: SpanStatusCode.ERROR, message: "timeout" });
  query.recordException(Object.assign(new RangeError("too many"), { stack: "RangeError: too many\n    at query" }), at(1, 5));
  query.end(at(1, 10));
  cause.end(at(1, 11));
  const publish = tracer.startSpan("publish", { kind: SpanKind.PRODUCER, startTime: at(2, 0) }, under(request));
  publish.recordException(Object.assign(new Error("handled"), { stack: "Error: handled" }), at(2, 1));
  publish.end(at(2, 2));
  request.setAttribute("http.response.status_code", 200);
  request.setAttributes({ retries: 2, "http.route": "/" });
  request.updateName("GET /");
  request.setStatus({ code: SpanStatusCode.OK });
  request.end(at(3, 999_999_999));
}

/** What the SDK exports of `work`. */
function throughTheSdk(): ReadableSpan[] {
  const exporter = new InMemorySpanExporter();
  const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
  work(provider.getTracer("lib"));
  return exporter.getFinishedSpans();
}

/** What a host exports when `work` is done by a guest. */
function throughTheTunnel(): ReadableSpan[] {
  const exporter = new InMemorySpanExporter();
  const relay = new OpenTelemetryRelay({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
  const receiver = new TracingEventReceiver({}, {}, new Map(), { relay: relay.execution() });
  const sender = new TracingEventSender(batches((batch) => receiver.receiveBatch(batch)));
  work(new TunnelTracerProvider(sender).getTracer("lib"));
  sender.flush();
  expect(receiver.stats).toMatchObject({ refused: {}, droppedEvents: 0, liveSpans: 0 });
  return exporter.getFinishedSpans();
}

/** What the relay tells of spans and events besides. */
const RELAY_ATTRIBUTES = new Set(["busy_ns", "idle_ns", "level", "target", "event.name", "error"]);

function common(attributes: Attributes | undefined): Attributes {
  return Object.fromEntries(Object.entries(attributes ?? {}).filter(([name]) => !RELAY_ATTRIBUTES.has(name)));
}

/** A span in terms that both sides have. */
function plain(span: ReadableSpan, all: readonly ReadableSpan[]) {
  const nameOf = (spanId: string | undefined) => all.find((each) => each.spanContext().spanId === spanId)?.name;
  return {
    name: span.name,
    kind: span.kind,
    scope: span.instrumentationScope.name,
    parent: nameOf(span.parentSpanContext?.spanId),
    sameTrace: span.spanContext().traceId === all[0]?.spanContext().traceId,
    startTime: span.startTime,
    endTime: span.endTime,
    status: span.status,
    attributes: common(span.attributes),
    events: span.events.map(({ name, time, attributes }) => ({ name, time, attributes: common(attributes) })),
    links: span.links.map(({ context }) => nameOf(context.spanId)),
  };
}

it("a library that is traced in a guest gives the spans that it gives without one", () => {
  const [ours, theirs] = [throughTheTunnel(), throughTheSdk()].map((spans) => spans.map((span) => plain(span, spans)));
  expect(ours).toEqual(theirs);
});
