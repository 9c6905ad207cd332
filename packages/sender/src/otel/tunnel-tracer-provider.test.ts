import { type Context, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, type Tracer, trace } from "@opentelemetry/api";
import type * as api110 from "@opentelemetry/api-1.10";
import { controlWord, type TracingEvent } from "@spanduct/protocol";
import { TracingEventReceiver } from "@spanduct/receiver";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bodyOf, kindOf, RecordingHost } from "../../../../test/support/recording-host.ts";
import { TraceRecorder } from "../../../../test/support/trace-recorder.ts";
import { batches } from "../batches.ts";
import type { Clock } from "../clock.ts";
import { createLog } from "../log.ts";
import { type SenderOptions, TracingEventSender } from "../sender.ts";
import { TunnelTracerProvider } from "./tunnel-tracer-provider.ts";

/** A guest, its tracer, and a host that refuses nothing. */
function guest(options: SenderOptions = {}) {
  const host = new RecordingHost();
  const recorder = new TraceRecorder();
  const receiver = new TracingEventReceiver({}, {}, new Map(), { relay: recorder });
  const sender = new TracingEventSender(
    batches((batch) => {
      receiver.receiveBatch(batch);
      return host.send(batch);
    }),
    options,
  );
  const provider = new TunnelTracerProvider(sender);
  const tracer = provider.getTracer("lib", "1.2.3");
  const events = (): TracingEvent[] => {
    sender.flush();
    expect(receiver.stats.refused).toEqual({});
    return host.events;
  };
  const of = <Kind extends string>(kind: Kind) => events().flatMap((event) => (kindOf(event) === kind ? [bodyOf(event)] : []));
  const lines = () => {
    events();
    return recorder.lines();
  };
  return { host, recorder, receiver, sender, provider, tracer, events, of, lines };
}

const WALL = 1_700_000_000_000_000_000n;

/** A clock that stands at 1 s after each start. */
const fixedClock: Clock = { domain: "wall", start: () => WALL, now: () => 1e9 };

describe("TunnelTracerProvider", () => {
  it("is a TracerProvider of both lines of the API", () => {
    const { provider } = guest();
    provider satisfies import("@opentelemetry/api").TracerProvider;
    provider satisfies api110.TracerProvider;
    provider.contextManager satisfies import("@opentelemetry/api").ContextManager;
    provider.contextManager satisfies api110.ContextManager;
  });

  it("makes the name and version of a tracer the target", () => {
    const { provider, of } = guest();
    provider.getTracer("@scope/lib", "1.2.3").startSpan("a").end();
    provider.getTracer("bare").startSpan("b").end();
    expect(of("new_call_site").map(({ target, name, level, kind }) => [target, name, level, kind])).toEqual([
      ["@scope/lib@1.2.3", "a", "info", "span"],
      ["bare", "b", "info", "span"],
    ]);
  });
});

describe("a span", () => {
  it("travels with its attributes", () => {
    const { tracer, of } = guest();
    const span = tracer.startSpan("s", {
      attributes: { text: "x", whole: 5, half: 0.5, yes: true, list: ["a", null, "b"], none: undefined },
    });
    span.setAttribute("later", 1).setAttributes({ text: "y", more: false });
    span.end();
    expect(of("new_span")[0]?.["values"]).toEqual({
      text: { string: "x" },
      whole: { int: 5 },
      half: { float: 0.5 },
      yes: { bool: true },
      list: { object: '["a",null,"b"]' },
    });
    expect(of("values_recorded").map(({ values }) => values)).toEqual([
      { later: { int: 1 } },
      { text: { string: "y" }, more: { bool: false } },
    ]);
  });

  it("has attributes of the kinds that 1.10 of the API allows", () => {
    const { tracer, of } = guest();
    (tracer as api110.Tracer)
      .startSpan("s", { attributes: { map: { a: [1] }, nil: null, big: 2n ** 60n, error: new RangeError("far") } })
      .end();
    expect(of("new_span")[0]?.["values"]).toEqual({
      map: { object: '{"a":[1]}' },
      big: { int: 2n ** 60n },
      error: { error: expect.objectContaining({ message: "far", type: "RangeError" }) },
    });
  });

  it("declares the names of attributes as they come up, under the same number", () => {
    const { tracer, of } = guest();
    const span = tracer.startSpan("s", { attributes: { a: 1 } });
    span.setAttribute("b", 2);
    span.setAttribute("b", 3);
    tracer.startSpan("s", { attributes: { b: 4, c: 5 } }).end();
    span.end();
    const sites = of("new_call_site");
    expect(sites.map(({ id }) => id)).toEqual([1, 1, 1]);
    const fields = sites.map((site) => (site["fields"] as string[]).filter((field) => !field.startsWith("otel.")));
    expect(fields).toEqual([["a"], ["a", "b"], ["a", "b", "c"]]);
  });

  it("has its kind, status and new name in the fields that hosts know", () => {
    const { tracer, lines } = guest();
    for (const kind of [SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER]) {
      tracer.startSpan("kind", { kind }).end();
    }
    tracer.startSpan("good").setStatus({ code: SpanStatusCode.OK, message: "ignored" }).end();
    tracer.startSpan("bad").setStatus({ code: SpanStatusCode.ERROR, message: "it broke" }).end();
    tracer.startSpan("bad").setStatus({ code: SpanStatusCode.ERROR }).end();
    tracer.startSpan("old").updateName("new").end();
    expect(lines()).toEqual([
      "kind",
      "kind otel.kind=server",
      "kind otel.kind=client",
      "kind otel.kind=producer",
      "kind otel.kind=consumer",
      "good otel.status_code=ok",
      "bad otel.status_code=error otel.status_description=it broke",
      "bad otel.status_code=error",
      "old otel.name=new",
    ]);
  });

  it("keeps a status of ok, and has none that is unset", () => {
    const { tracer, of } = guest();
    const span = tracer.startSpan("s");
    span.setStatus({ code: SpanStatusCode.UNSET });
    span.setStatus({ code: SpanStatusCode.ERROR, message: "first" });
    span.setStatus({ code: SpanStatusCode.OK });
    span.setStatus({ code: SpanStatusCode.ERROR, message: "late" });
    span.end();
    expect(of("values_recorded").map(({ values }) => Object.values(values as object).map((value) => value.string))).toEqual([
      ["error", "first"],
      ["ok"],
    ]);
  });

  it("has events, named after themselves, with attributes", () => {
    const { tracer, lines, of } = guest();
    const span = tracer.startSpan("s");
    span.addEvent("cache miss", { key: "k" }).addEvent("plain");
    span.end();
    expect(lines()).toEqual(["s", "  · cache miss key=k", "  · plain"]);
    expect(
      of("new_call_site")
        .slice(1)
        .map(({ kind, level, target }) => [kind, level, target]),
    ).toEqual([
      ["event", "info", "lib@1.2.3"],
      ["event", "info", "lib@1.2.3"],
    ]);
  });

  it("records exceptions with class, stack and causes, without failing for it", () => {
    const { tracer, of, recorder } = guest();
    const span = tracer.startSpan("s");
    const error = new TypeError("no", { cause: new Error("why") });
    span.recordException(error);
    span.recordException("text");
    span.recordException({ name: "Custom", message: "object", stack: "at x" });
    span.end();
    expect(of("new_event").map(({ values }) => (values as { error: unknown }).error)).toEqual([
      {
        error: { message: "no", type: "TypeError", stack: error.stack, source: { message: "why", type: "Error", source: null } },
      },
      { error: { message: "text", source: null } },
      { error: { message: "object", type: "Custom", stack: "at x", source: null } },
    ]);
    expect(recorder.events.map(({ name, level }) => `${level} ${name}`)).toEqual(Array(3).fill("warn exception"));
    expect(of("values_recorded")).toEqual([]);
  });

  it("does nothing once it has ended", () => {
    const { tracer, events } = guest();
    const [span, other] = [tracer.startSpan("s"), tracer.startSpan("s")];
    expect(span.isRecording()).toBe(true);
    span.end();
    expect(span.isRecording()).toBe(false);
    const before = events().length;
    span.setAttribute("a", 1).setAttributes({ b: 2 }).addEvent("e").updateName("n").setStatus({ code: SpanStatusCode.OK });
    span.addLink({ context: other.spanContext() });
    span.recordException("x");
    span.end();
    expect(events()).toHaveLength(before);
  });
});

describe("parents", () => {
  it("are those of the context that is given", () => {
    const { tracer, of } = guest();
    const parent = tracer.startSpan("parent");
    tracer.startSpan("child", {}, trace.setSpan(ROOT_CONTEXT, parent));
    tracer.startSpan("stranger", {}, ROOT_CONTEXT);
    expect(of("new_span").map(({ parent_id }) => parent_id)).toEqual([undefined, 1, undefined]);
  });

  it("are the active span, entered while it is", () => {
    const { tracer, sender, lines, events } = guest();
    const log = createLog(sender);
    const result = tracer.startActiveSpan("outer", (outer) => {
      log.info("in outer");
      tracer.startActiveSpan("inner", { attributes: { a: 1 } }, (inner) => {
        sender.span({ name: "own" }).start().close();
        inner.end();
        log.info("after inner");
      });
      tracer.startActiveSpan("elsewhere", {}, ROOT_CONTEXT, (span) => span.end());
      outer.end();
      return 5;
    });
    expect(result).toBe(5);
    expect(lines()).toEqual([
      "outer",
      "  · event log:3 message=in outer",
      "  inner a=1",
      "    own",
      "  · event log:3 message=after inner",
      "elsewhere",
    ]);
    expect(
      events()
        .filter((event) => /span_(entered|exited|dropped)/.test(kindOf(event)))
        .map(kindOf),
    ).toEqual([
      ...["span_entered", "span_entered", "span_dropped", "span_exited", "span_dropped"],
      // `elsewhere` is a root: nothing is entered while it is opened.
      ...["span_exited", "span_entered", "span_entered", "span_exited", "span_dropped"],
      ...["span_exited", "span_dropped"],
    ]);
  });

  it("are none for a root span, though others are active", () => {
    const { tracer, lines } = guest();
    tracer.startActiveSpan("outer", (outer) => {
      tracer.startSpan("root", { root: true }).end();
      tracer.startSpan("child").end();
      outer.end();
    });
    expect(lines()).toEqual(["outer", "  child", "root"]);
  });

  it("are spans of the sender's own API where there is no other", () => {
    const { tracer, sender, lines } = guest();
    sender.span({ name: "request" }).run(undefined, () => tracer.startActiveSpan("query", (span) => span.end()));
    expect(lines()).toEqual(["request", "  query"]);
  });

  it("that have ended hand over to those around them, and are named in a field", () => {
    const { tracer, of } = guest();
    const outer = tracer.startSpan("outer");
    const inner = tracer.startSpan("inner", {}, trace.setSpan(ROOT_CONTEXT, outer));
    inner.end();
    const late = trace.setSpan(ROOT_CONTEXT, inner);
    tracer.startSpan("late", {}, late);
    outer.end();
    tracer.startSpan("later", {}, late);
    expect(of("new_span").map(({ parent_id }) => parent_id)).toEqual([undefined, 1, 1, undefined]);
    const named = of("new_span").map(({ values }) => (values as Record<string, unknown>)["spanduct.parent"]);
    expect(named).toEqual([undefined, undefined, { int: 2 }, { int: 2 }]);
  });

  it("of another process are not known to the host", () => {
    const { tracer, of } = guest();
    const remote = trace.setSpanContext(ROOT_CONTEXT, { traceId: "1".repeat(32), spanId: "2".repeat(16), traceFlags: 1 });
    const span = tracer.startSpan("s", {}, remote);
    expect(of("new_span")[0]?.["parent_id"]).toBeUndefined();
    expect(span.spanContext().traceId).not.toBe("1".repeat(32));
  });

  it("come from the context manager that is registered, where it is another", () => {
    const { sender } = guest();
    let active: Context = ROOT_CONTEXT;
    const contextManager = new TunnelTracerProvider(sender).contextManager;
    const other = { ...contextManager, active: () => active } as typeof contextManager;
    const tracer = new TunnelTracerProvider(sender, { contextManager: other }).getTracer("lib");
    const parent = tracer.startSpan("parent");
    active = trace.setSpan(active, parent);
    expect(tracer.startSpan("child").spanContext().traceId).toBe(parent.spanContext().traceId);
  });
});

describe("links", () => {
  it("to spans of this guest that are open follow from them, when the span starts and later", () => {
    const { tracer, of } = guest();
    const [a, b] = [tracer.startSpan("a"), tracer.startSpan("b")];
    const span = tracer.startSpan("s", { links: [{ context: a.spanContext() }] });
    span.addLinks([{ context: b.spanContext() }]);
    span.end();
    expect(of("follows_from")).toEqual([
      { id: 3, follows_from: 1 },
      { id: 3, follows_from: 2 },
    ]);
    expect(of("values_recorded")).toEqual([]);
  });

  it("to spans of this guest that have ended name them in a field", () => {
    const { tracer, of } = guest();
    const ended = tracer.startSpan("ended");
    ended.end();
    tracer.startSpan("s", { links: [{ context: ended.spanContext() }] }).end();
    expect(of("follows_from")).toEqual([]);
    expect(of("values_recorded").map(({ values }) => values)).toEqual([{ "spanduct.follows_from": { int: 1 } }]);
  });

  it("to spans elsewhere, and attributes of links, are counted as dropped", () => {
    const { tracer, of } = guest();
    const open = tracer.startSpan("open");
    const foreign = { traceId: "1".repeat(32), spanId: "2".repeat(16), traceFlags: 1 };
    const span = tracer.startSpan("s", { links: [{ context: foreign }] });
    span.addLink({ context: open.spanContext(), attributes: { a: 1, b: 2 } });
    expect(of("follows_from")).toEqual([{ id: 2, follows_from: 1 }]);
    span.end();
    expect(of("values_recorded").at(-1)?.["values"]).toEqual({
      "otel.dropped_attributes_count": { int: 2 },
      "otel.dropped_links_count": { int: 1 },
    });
  });
});

describe("spanContext", () => {
  it("is valid, unique in the guest, of the same trace as the parent's, and the same at every run", () => {
    const run = () => {
      const { tracer } = guest();
      const root = tracer.startSpan("root");
      const context = trace.setSpan(ROOT_CONTEXT, root);
      const spans = [root, tracer.startSpan("child", {}, context), tracer.startSpan("other")];
      return spans.map((span) => span.spanContext());
    };
    const contexts = run();
    expect(contexts.every((context) => trace.isSpanContextValid(context))).toBe(true);
    expect(contexts.map(({ traceFlags }) => traceFlags)).toEqual([1, 1, 1]);
    expect(new Set(contexts.map(({ spanId }) => spanId)).size).toBe(3);
    const [root, child, other] = contexts.map(({ traceId }) => traceId);
    expect(child).toBe(root);
    expect(other).not.toBe(root);
    expect(run()).toEqual(contexts);
  });
});

describe("the host's level", () => {
  it("below info sends no spans; they do nothing and hand on the context of their parent", () => {
    const { tracer, sender, host, events } = guest();
    const parent = tracer.startSpan("parent");
    host.answer = controlWord(2, false);
    const before = events().length;
    const child = tracer.startSpan("child", {}, trace.setSpan(ROOT_CONTEXT, parent));
    expect(child.isRecording()).toBe(false);
    expect(child.spanContext()).toEqual({ ...parent.spanContext(), traceFlags: 0 });
    const root = tracer.startSpan("root");
    expect(trace.isSpanContextValid(root.spanContext())).toBe(false);
    child.setAttribute("a", 1).addEvent("e").addLink({ context: parent.spanContext() });
    child.recordException("x");
    child.end();
    tracer.startActiveSpan("active", (span) => span.end());
    expect(events()).toHaveLength(before);
    expect(sender.droppedEvents).toBe(0);

    expect(parent.isRecording()).toBe(false);
    parent.setAttribute("late", 1);
    parent.end();
    expect(events().slice(before).map(kindOf)).toEqual(["span_dropped"]);

    host.answer = controlWord(3, false);
    sender.event({ name: "e", level: "error" }).emit();
    sender.flush();
    const grandchild = tracer.startSpan("grandchild", {}, trace.setSpan(ROOT_CONTEXT, child));
    expect(grandchild.isRecording()).toBe(true);
  });

  it("asks for call sites again, and gets their latest fields", () => {
    const { tracer, sender, host, of } = guest();
    tracer.startSpan("s", { attributes: { a: 1 } }).setAttribute("b", 1);
    host.answer = controlWord(5, true);
    sender.flush();
    host.answer = undefined;
    tracer.startSpan("s");
    const [first, ...later] = of("new_call_site").map(({ fields }) => (fields as string[]).length);
    expect(later).toEqual([(first as number) + 1, (first as number) + 1]);
  });

  it("suppressed by a context sends nothing either", () => {
    const { tracer, events } = guest();
    const key = Symbol.for("OpenTelemetry SDK Context Key SUPPRESS_TRACING");
    const span = tracer.startSpan("s", {}, ROOT_CONTEXT.setValue(key, true));
    expect(span.isRecording()).toBe(false);
    expect(events()).toEqual([]);
  });
});

describe("times that are given", () => {
  const times = (of: (kind: string) => Record<string, unknown>[]) => ({
    start: of("new_span").map((span) => span["time_unix_nano"]),
    event: of("new_event").map((event) => event["time_unix_nano"]),
    end: of("span_dropped").map((span) => span["time_unix_nano"]),
  });
  const NOW = WALL + 1_000_000_000n;

  it("travel exactly, and the others as the clock has them", () => {
    const { tracer, of } = guest({ clock: fixedClock });
    const span = tracer.startSpan("s", { startTime: [1_700_000_000, 123_456_789] });
    span.addEvent("at", { a: 1 }, 1_700_000_000_500.25);
    span.addEvent("also", new Date(1_700_000_000_700));
    span.addEvent("now");
    span.recordException("x", [1_700_000_000, 1]);
    tracer.startSpan("now").end();
    span.end([1_700_000_002, 999_999_999]);
    expect(times(of)).toEqual({
      start: [WALL + 123_456_789n, NOW],
      event: [WALL + 500_250_000n, WALL + 700_000_000n, NOW, WALL + 1n],
      end: [NOW, WALL + 2_999_999_999n],
    });
  });

  it("travel from guests without a clock; what has no time is for the host to stamp", () => {
    const { tracer, of, host } = guest();
    const span = tracer.startSpan("s", { startTime: [1_700_000_000, 5] });
    span.addEvent("e");
    span.end(1_700_000_001_000);
    expect(times(of)).toEqual({ start: [WALL + 5n], event: [undefined], end: [NOW] });
    expect(host.headers.map(({ clock }) => clock)).toEqual(["wall"]);
  });

  it("travel however far they are from now and from each other", () => {
    for (const clock of [fixedClock, undefined]) {
      const { tracer, of, sender } = guest(clock && { clock });
      const far: [number, number][] = [
        [0, 1],
        [4_000_000_000, 2],
        [18_446_744_073, 3],
        [1_700_000_000, 4],
      ];
      for (const time of far) tracer.startSpan("s", { startTime: time }).addEvent("now").end(time);
      const exact = far.map(([seconds, nanos]) => BigInt(seconds) * 1_000_000_000n + BigInt(nanos));
      const numbers = exact.map((nanos) => (nanos < 2n ** 53n ? Number(nanos) : nanos));
      expect(times(of)).toEqual({ start: numbers, event: Array(4).fill(clock && NOW), end: numbers });
      expect(sender.droppedEvents).toBe(0);
    }
  });

  it("travel event by event too", () => {
    for (const clock of [fixedClock, undefined]) {
      const events: TracingEvent[] = [];
      const sender = new TracingEventSender((event) => {
        events.push(event);
      }, clock && { clock });
      const tracer = new TunnelTracerProvider(sender).getTracer("lib");
      const span = tracer.startSpan("s", { startTime: [5, 5] });
      span.addEvent("now");
      span.end([1_700_000_000, 7]);
      const stamps = events.filter((event) => !("new_call_site" in event)).map((event) => bodyOf(event)["time_unix_nano"]);
      expect(stamps).toEqual([5_000_000_005, clock && NOW, WALL + 7n]);
    }
  });

  it("that are none count as now", () => {
    const { tracer, of } = guest({ clock: fixedClock });
    const span = tracer.startSpan("s", { startTime: Number.NaN });
    span.end("soon" as never);
    expect(times(of)).toEqual({ start: [NOW], event: [], end: [NOW] });
  });

  it("may be given though the sender has batched before the provider was made", () => {
    const host = new RecordingHost();
    const sender = new TracingEventSender(batches(host.send), { clock: fixedClock });
    sender.event({ name: "before" }).emit();
    new TunnelTracerProvider(sender).getTracer("lib").startSpan("s", { startTime: [1_700_000_000, 1] });
    sender.event({ name: "after" }).emit();
    sender.flush();
    const stamps = host.events.filter((event) => !("new_call_site" in event)).map((event) => bodyOf(event)["time_unix_nano"]);
    expect(stamps).toEqual([NOW, WALL + 1n, NOW]);
  });
});

describe("more than hosts take", () => {
  const many = (count: number, name = "a") => Object.fromEntries(Array.from({ length: count }, (_, i) => [`${name}${i}`, i]));

  it("of attributes of a span is split over several records", () => {
    const { tracer, of, recorder } = guest();
    const span = tracer.startSpan("s", { attributes: many(70) });
    span.setAttributes(many(50, "b"));
    span.end();
    expect(of("new_span").map(({ values }) => Object.keys(values as object).length)).toEqual([32]);
    expect(of("values_recorded").map(({ values }) => Object.keys(values as object).length)).toEqual([32, 6, 32, 18]);
    expect(Object.keys(recorder.spans[0]?.values ?? {})).toEqual([...Object.keys(many(70)), ...Object.keys(many(50, "b"))]);
  });

  it("of attributes of an event is counted in it", () => {
    const { tracer, of } = guest();
    const span = tracer.startSpan("s");
    span.addEvent("fits", many(32));
    span.addEvent("full", many(33));
    span.addEvent("many", many(100));
    span.end();
    const values = of("new_event").map(({ values }) => values as Record<string, unknown>);
    expect(values.map((each) => Object.keys(each).length)).toEqual([32, 32, 32]);
    expect(values.map((each) => each["otel.dropped_attributes_count"])).toEqual([undefined, { int: 2 }, { int: 69 }]);
  });

  it("of names on one span is dropped and counted", () => {
    const { tracer, of, receiver } = guest();
    const span = tracer.startSpan("s", { attributes: many(200) });
    span.setAttributes({ ...many(5), extra: 1 });
    span.end();
    const dropped = of("values_recorded").at(-1)?.["values"];
    expect(dropped).toEqual({ "otel.dropped_attributes_count": { int: 79 } });
    expect(receiver.stats.refused).toEqual({});
  });

  it("of new names of attributes, one after another, is dropped and counted", () => {
    const { tracer, of, receiver } = guest();
    for (let i = 0; i < 100; i++) {
      const span = tracer.startSpan(`span ${i}`);
      for (let k = 0; k < 30; k++) span.setAttribute(`attribute ${k}`, k);
      span.end();
    }
    expect(of("new_call_site").length).toBeLessThanOrEqual(1026);
    expect(of("values_recorded").at(-1)?.["values"]).toEqual({ "otel.dropped_attributes_count": { int: 30 } });
    expect(receiver.stats.refused).toEqual({});
  });

  it("of names of spans and events shares call sites, and keeps the names", () => {
    const { tracer, of, recorder, receiver } = guest();
    for (let i = 0; i < 3000; i++) {
      const span = tracer.startSpan(`span ${i}`, { attributes: { known: i, [`own${i}`]: i } });
      span.addEvent(`event ${i}`);
      span.end();
    }
    expect(receiver.stats.callSites).toBeLessThanOrEqual(1028);
    expect(of("new_call_site").length).toBeLessThanOrEqual(1028);
    const spans = recorder.spans;
    expect(spans).toHaveLength(3000);
    expect(spans[0]).toMatchObject({ name: "span 0", values: { known: { int: 0 }, own0: { int: 0 } } });
    expect(spans.at(-1)).toMatchObject({ values: { "otel.name": { string: "span 2999" } } });
    expect(recorder.events.at(-1)).toMatchObject({ values: { message: { string: "event 2999" } } });
  });
});

describe("hostile libraries", () => {
  const thrower = () => {
    throw new Error("hostile");
  };
  const proxy = new Proxy({}, { get: thrower, ownKeys: thrower, has: thrower, getPrototypeOf: thrower });

  it("get nothing thrown at them", () => {
    const { tracer, sender, events } = guest();
    const getter = {
      get a() {
        return thrower();
      },
    };
    const spans: Span[] = [
      tracer.startSpan("s", { attributes: getter }),
      tracer.startSpan("s", { attributes: proxy }),
      tracer.startSpan("s", { links: [null, proxy] as never }),
      tracer.startSpan("s", { startTime: proxy as never }),
      tracer.startSpan(5 as never, { kind: 99 as never }),
      tracer.startSpan("s", null as never),
    ];
    for (const span of spans) {
      span.setAttribute(Symbol("key") as never, "x");
      span.setAttributes(null as never).setAttributes(proxy);
      span.setStatus(null as never).setStatus(proxy as never);
      span.addEvent("e", proxy as never, proxy as never).addEvent(null as never, "text" as never);
      span.addLink(null as never).addLinks(5 as never);
      span.recordException(null as never);
      span.recordException(proxy as never, proxy as never);
      span.updateName(undefined as never);
      span.isRecording();
      span.spanContext();
      span.end(proxy as never);
    }
    events();
    expect(sender.droppedEvents).toBeGreaterThan(0);
    expect(tracer.startSpan("fine").isRecording()).toBe(true);
  });

  it("cannot make a host refuse anything, whatever order they call in", () => {
    const value = fc.oneof(fc.anything(), fc.string(), fc.integer(), fc.double());
    const step = fc.record({
      action: fc.constantFrom("start", "root", "active", "attribute", "attributes", "event", "link", "status", "end", "flush"),
      span: fc.nat(20),
      name: fc.oneof(fc.constantFrom("a", "b", "__proto__", "message", "otel.name"), fc.string({ maxLength: 3 })),
      value,
      time: fc.option(fc.tuple(fc.nat(20_000_000_000), fc.nat(999_999_999)), { nil: undefined, freq: 3 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, timed) => {
        const { tracer, events, receiver, sender } = guest(timed ? { clock: fixedClock } : {});
        const spans: Span[] = [];
        const run = (rest: typeof steps, tracer: Tracer): void => {
          for (let i = 0; i < rest.length; i++) {
            const { action, name, value, time, span: index } = rest[i] as (typeof steps)[number];
            const span = spans[index % (spans.length || 1)];
            const startTime = time === undefined ? {} : { startTime: time };
            const attributes = { [name]: value } as never;
            if (action === "start") {
              const context = span === undefined ? ROOT_CONTEXT : trace.setSpan(ROOT_CONTEXT, span);
              spans.push(tracer.startSpan(name, { attributes, ...startTime }, context));
            } else if (action === "root") {
              spans.push(tracer.startSpan(name, { root: true, ...startTime }));
            } else if (action === "active") {
              return tracer.startActiveSpan(name, { attributes }, (active) => {
                spans.push(active);
                run(rest.slice(i + 1), tracer);
              });
            } else if (action === "attribute") span?.setAttribute(name, value as never);
            else if (action === "attributes") span?.setAttributes(value as never);
            else if (action === "event") span?.addEvent(name, attributes, time);
            else if (action === "link") span?.addLink({ context: (spans[0] as Span).spanContext() });
            else if (action === "status") span?.setStatus({ code: index % 3, message: name });
            else if (action === "end") span?.end(time);
            else sender.flush();
          }
        };
        run(steps, tracer);
        for (const span of spans) span.end();
        events();
        expect(receiver.stats).toMatchObject({ liveSpans: 0, lostBatches: 0 });
      }),
      { numRuns: 300 },
    );
  });
});
