import { ROOT_CONTEXT, type SpanContext, type Tracer, trace } from "@opentelemetry/api";
import type { TracingEventSender } from "@spanduct/sender";

/** The host's own span, under which all spans hang: the way a host embeds a guest, and the same for both sides. */
export const HOST_SPAN: SpanContext = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 };

/** The same work twice: through our sender, and through an OpenTelemetry tracer. */
export interface Corpus {
  readonly name: string;
  /** Spans in one unit of work. */
  readonly spans: number;
  /** Declares the call sites. @returns one unit of work */
  tunnel(sender: TracingEventSender): () => void;
  /** @returns one unit of work */
  tracer(tracer: Tracer): () => void;
}

const UNDER_HOST = trace.setSpanContext(ROOT_CONTEXT, HOST_SPAN);
const KINDS = ["page", "image", "script", "style"];

/** Span `i`: a string, an integer and a float; its event: a message and an integer. */
function values(i: number): { kind: string; size: number; ratio: number } {
  return { kind: KINDS[i & 3] as string, size: 1000 + i, ratio: i / 7 + 0.5 };
}

const RENDER = { name: "render", target: "bench", fields: ["kind", "size", "ratio"] } as const;
const RENDERED = { name: "rendered", target: "bench", fields: ["message", "bytes"] } as const;

/** `count` spans with three attributes and an event: opened, event, closed, as `startSpan`, `addEvent`, `end`. */
export function three(count = 256): Corpus {
  return {
    name: "3 attributes, 1 event",
    spans: count,
    tunnel(sender) {
      const span = sender.span(RENDER);
      const event = sender.event(RENDERED);
      return () => {
        for (let i = 0; i < count; i++) {
          const open = span.start(values(i));
          event.emit({ message: "rendered", bytes: i }, open);
          open.close();
        }
      };
    },
    tracer(tracer) {
      return () => {
        for (let i = 0; i < count; i++) {
          const span = tracer.startSpan("render", { attributes: values(i) }, UNDER_HOST);
          span.addEvent("rendered", { bytes: i });
          span.end();
        }
      };
    },
  };
}

/** As `three`, inside of each span: what happens belongs to it without being told. The tracer needs a context manager. */
export function entered(count = 256): Corpus {
  return {
    name: "3 attributes, 1 event, entered",
    spans: count,
    tunnel(sender) {
      const span = sender.span(RENDER);
      const event = sender.event(RENDERED);
      return () => {
        for (let i = 0; i < count; i++) {
          const open = span.enter(values(i));
          event.emit({ message: "rendered", bytes: i });
          open.close();
        }
      };
    },
    tracer(tracer) {
      return () => {
        for (let i = 0; i < count; i++) {
          tracer.startActiveSpan("render", { attributes: values(i) }, UNDER_HOST, (span) => {
            trace.getActiveSpan()?.addEvent("rendered", { bytes: i });
            span.end();
          });
        }
      };
    },
  };
}

const TEN = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"] as const;
type Ten = (typeof TEN)[number];
const TEXTS = Array.from({ length: 64 }, (_, i) => `text number ${String(i).padStart(8, "0")}`);

function texts(i: number): Record<Ten, string> {
  const text = (k: number): string => TEXTS[(i + k) & 63] as string;
  return {
    a: text(0),
    b: text(1),
    c: text(2),
    d: text(3),
    e: text(4),
    f: text(5),
    g: text(6),
    h: text(7),
    i: text(8),
    j: text(9),
  };
}

/** `count` spans with ten strings of 20 characters. */
export function tenStrings(count = 256): Corpus {
  return {
    name: "10 strings of 20 characters",
    spans: count,
    tunnel(sender) {
      const span = sender.span({ name: "row", target: "bench", fields: TEN });
      return () => {
        for (let i = 0; i < count; i++) span.start(texts(i)).close();
      };
    },
    tracer(tracer) {
      return () => {
        for (let i = 0; i < count; i++) tracer.startSpan("row", { attributes: texts(i) }, UNDER_HOST).end();
      };
    },
  };
}

/** Spans in spans, each parent named. */
export function deep(depth = 100): Corpus {
  return {
    name: `nested ${depth} deep`,
    spans: depth,
    tunnel(sender) {
      const site = sender.span({ name: "level", target: "bench", fields: ["depth"] });
      const descend = (level: number, parent: ReturnType<typeof site.start> | undefined): void => {
        const span = site.start({ depth: level }, parent);
        if (level < depth) descend(level + 1, span);
        span.close();
      };
      return () => descend(1, undefined);
    },
    tracer(tracer) {
      const descend = (level: number, context: typeof ROOT_CONTEXT): void => {
        const span = tracer.startSpan("level", { attributes: { depth: level } }, context);
        if (level < depth) descend(level + 1, trace.setSpan(context, span));
        span.end();
      };
      return () => descend(1, UNDER_HOST);
    },
  };
}

/** The crate's example: a span that records a value, a span in it with an event for each iteration. */
export function fib(iterations = 80): Corpus {
  return {
    name: `the crate's fib(${iterations})`,
    spans: 2,
    tunnel(sender) {
      const outer = sender.span({ name: "fib", target: "fib", fields: ["approx"] });
      const compute = sender.span({ name: "compute", target: "fib", fields: ["count"] });
      const iteration = sender.event({ name: "performing iteration", target: "fib", level: "debug", fields: ["i", "current"] });
      const returned = sender.event({ name: "return", target: "fib", fields: ["return"] });
      const computed = sender.event({ name: "computed Fibonacci number", target: "fib", fields: ["result"] });
      return () => {
        const span = outer.start();
        span.record({ approx: iterations * 1.5 });
        const inner = compute.start({ count: iterations }, span);
        let [x, y] = [0, 1];
        for (let i = 0; i < iterations; i++) {
          iteration.emit({ i, current: x }, inner);
          [x, y] = [y, (x + y) % 1e15];
        }
        returned.emit({ return: String(x) }, inner);
        inner.close();
        computed.emit({ result: x }, span);
        span.close();
      };
    },
    tracer(tracer) {
      return () => {
        const span = tracer.startSpan("fib", {}, UNDER_HOST);
        span.setAttribute("approx", iterations * 1.5);
        const inner = tracer.startSpan("compute", { attributes: { count: iterations } }, trace.setSpan(UNDER_HOST, span));
        let [x, y] = [0, 1];
        for (let i = 0; i < iterations; i++) {
          inner.addEvent("performing iteration", { i, current: x });
          [x, y] = [y, (x + y) % 1e15];
        }
        inner.addEvent("return", { return: String(x) });
        inner.end();
        span.addEvent("computed Fibonacci number", { result: x });
        span.end();
      };
    },
  };
}

/** Span `i` of `three` as plain objects, one for each record. */
export function record(i: number, time: number): object[] {
  return [
    { type: "start", id: i, name: "render", target: "bench", time, attributes: values(i) },
    { type: "event", span: i, name: "rendered", target: "bench", time, attributes: { message: "rendered", bytes: i } },
    { type: "end", id: i, time },
  ];
}
