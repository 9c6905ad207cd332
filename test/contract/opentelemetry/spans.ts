import type { SpanContext } from "@opentelemetry/api";
import type { SpanProcessor } from "@spanduct/opentelemetry";
import type { TracedValueMap } from "@spanduct/protocol";
import { describe, expect, it } from "vitest";
import { at, callSite, Guest } from "./guest.ts";
import { Host } from "./host.ts";
import type { SdkLine } from "./sdk-line.ts";
import { spanData } from "./span-data.ts";

const PARENT: SpanContext = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 };

/** How a guest's spans look in OpenTelemetry. */
export function spansContract(line: SdkLine): void {
  const { api } = line;

  /** The one span that carries these values, from a call site that declares their names. */
  function spanWith(values: TracedValueMap, more: Parameters<typeof callSite>[1] = {}) {
    const host = new Host(line);
    const guest = new Guest();
    const span = guest.open(guest.callSite(callSite("work", { fields: Object.keys(values), ...more })), values);
    guest.close(span);
    host.commit(guest.events);
    expect(host.errors).toEqual([]);
    expect(host.spans).toHaveLength(1);
    return host.spans[0] as (typeof host.spans)[number];
  }

  describe("spans", () => {
    it("newSpan, tryClose: a span of the guest's name and times under the host's span", () => {
      const host = new Host(line);
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work")));
      guest.wait(5_000_000_000);
      guest.close(span);
      host.commit(guest.events, undefined, { parent: PARENT });
      const finished = host.span("work");
      expect(spanData(finished)).toMatchObject({
        traceId: PARENT.traceId,
        spanId: expect.stringMatching(/^(?!0{16})[0-9a-f]{16}$/),
        traceFlags: 1,
        parent: [PARENT.traceId, PARENT.spanId, 1, undefined],
        kind: api.SpanKind.INTERNAL,
        status: { code: api.SpanStatusCode.UNSET },
        startTime: at(1000),
        endTime: at(5_000_002_000),
        duration: [5, 1000],
        ended: true,
        scope: "guest",
        resource: { "service.name": "host" },
        events: [],
        links: [],
        dropped: [0, 0, 0],
      });
    });

    it("newSpan: contextual parents follow enter and exit, explicit ones what the guest says", () => {
      const host = new Host(line);
      const guest = new Guest();
      const site = (name: string): number => guest.callSite(callSite(name));
      const outer = guest.open(site("outer"));
      guest.enter(outer);
      const inner = guest.open(site("inner"));
      guest.exit(outer);
      const aside = guest.open(site("aside"));
      const below = guest.open(site("below"), {}, { parent: aside });
      for (const span of [inner, outer, below, aside]) guest.close(span);
      host.commit(guest.events, undefined, { parent: PARENT });
      const parentOf = (name: string): string | undefined => host.span(name).parentSpanContext?.spanId;
      expect(parentOf("outer")).toBe(PARENT.spanId);
      expect(parentOf("inner")).toBe(host.span("outer").spanContext().spanId);
      expect(parentOf("aside")).toBe(PARENT.spanId);
      expect(parentOf("below")).toBe(host.span("aside").spanContext().spanId);
      expect(new Set(host.spans.map((span) => span.spanContext().traceId))).toEqual(new Set([PARENT.traceId]));
    });

    it("newSpan: without a parent each root begins a trace, and gets the links of the execution", () => {
      const host = new Host(line);
      const guest = new Guest();
      const site = guest.callSite(callSite("root"));
      for (let i = 0; i < 3; i++) guest.close(guest.open(site));
      const links = [{ context: PARENT, attributes: { why: "queued" } }];
      host.commit(guest.events, undefined, { parent: api.ROOT_CONTEXT, links });
      expect(new Set(host.spans.map((span) => span.spanContext().traceId)).size).toBe(3);
      for (const span of host.spans) {
        expect(span.parentSpanContext).toBeUndefined();
        expect(span.links).toMatchObject([{ context: PARENT, attributes: { why: "queued" } }]);
      }
    });

    it("newSpan: the trace state of the parent goes on, and is a TraceState", () => {
      const host = new Host(line);
      const guest = new Guest();
      const outer = guest.open(guest.callSite(callSite("outer")));
      guest.enter(outer);
      guest.close(guest.open(guest.callSite(callSite("inner"))));
      guest.close(outer);
      host.commit(guest.events, undefined, { parent: { ...PARENT, traceState: api.createTraceState("vendor=1") } });
      for (const span of host.spans) expect(span.spanContext().traceState?.get("vendor")).toBe("1");
    });

    it("newSpan: code attributes and level come from the call site", () => {
      const rust = spanWith({}, { module_path: "app::jobs", file: "src/jobs.rs", line: 7, level: "debug" });
      expect(rust.attributes).toMatchObject({
        "code.function.name": "app::jobs::work",
        "code.file.path": "src/jobs.rs",
        "code.line.number": 7,
        level: "DEBUG",
      });
      const script = spanWith({}, { module_path: "jobs/render", file: "jobs/render.ts" });
      expect(script.attributes).toMatchObject({ "code.function.name": "jobs/render.work", "code.file.path": "jobs/render.ts" });
      expect(Object.keys(spanWith({}).attributes)).toEqual(["level", "busy_ns", "idle_ns"]);
    });

    it("newSpan: values keep their type as far as both SDK lines have it", () => {
      const span = spanWith({
        flag: { bool: true },
        small: { int: -5 },
        big: { int: -9007199254740993n },
        huge: { u_int: 340282366920938463463374607431768211455n },
        ratio: { float: 0.5 },
        zero: { float: -0 },
        none: { float: Number.NaN },
        text: { string: "é\0\ud800" },
        debug: { object: "Some(1)" },
      });
      expect(span.attributes).toMatchObject({
        flag: true,
        small: -5,
        big: "-9007199254740993",
        huge: "340282366920938463463374607431768211455",
        ratio: 0.5,
        zero: -0,
        none: Number.NaN,
        text: "é\0\ud800",
        debug: "Some(1)",
      });
    });

    it("newSpan: an error value becomes exception attributes, its text and its causes", () => {
      const source = { message: "no such file", type: "ENOENT", source: null };
      const span = spanWith({ failure: { error: { message: "cannot render", type: "RenderError", source } } });
      expect(span.attributes).toMatchObject({
        "exception.message": "cannot render",
        "exception.type": "RenderError",
        "exception.stacktrace": "RenderError: cannot render\nCaused by: ENOENT: no such file",
        failure: "cannot render",
        "failure.chain": ["no such file"],
      });
      const stacked = spanWith({ failure: { error: { message: "m", stack: "E: m\n  at f", source: null } } });
      expect(stacked.attributes).toMatchObject({ "exception.stacktrace": "E: m\n  at f" });
      expect(spanWith({ failure: { error: { message: "m", source: null } } }).attributes).not.toHaveProperty([
        "exception.stacktrace",
      ]);
    });

    it("newSpan: hostile names are plain attributes, and the empty one is dropped and counted", () => {
      const names = ["__proto__", "constructor", "toString", "a\0b", "\ud800", "0"];
      const values = Object.fromEntries([...names, ""].map((name) => [name, { string: `<${name}>` }]));
      const span = spanWith(values, { fields: [...names, ""] });
      for (const name of names) expect(Object.getOwnPropertyDescriptor(span.attributes, name)?.value).toBe(`<${name}>`);
      expect(Object.getPrototypeOf(span.attributes)).toBe(Object.prototype);
      expect(span.droppedAttributesCount).toBe(1);
    });

    it("record: values are added and replaced, before and after others", () => {
      const host = new Host(line);
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work")), { a: { int: 1 } });
      guest.record(span, { b: { string: "x" } });
      guest.record(span, { a: { bool: true } });
      guest.close(span);
      host.commit(guest.events);
      expect(host.span("work").attributes).toMatchObject({ a: true, b: "x" });
    });

    it("record: a call site with all its values and one with few look the same", () => {
      const all = spanWith({ a: { int: 1 }, b: { int: 2 } });
      const host = new Host(line);
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work", { fields: ["a", "b"] })), { b: { int: 2 } });
      guest.record(span, { a: { int: 1 } });
      guest.close(span);
      host.commit(guest.events);
      expect({ ...host.span("work").attributes, idle_ns: 1000 }).toEqual(all.attributes);
      expect(host.span("work").droppedAttributesCount).toBe(0);
    });

    it("otel fields: name, kind and status, given at the start or later, and no attributes", () => {
      const { OK, ERROR } = api.SpanStatusCode;
      const first = spanWith({
        "otel.name": { string: "GET /" },
        "otel.kind": { object: "SERVER" },
        "otel.status_code": { string: "Error" },
      });
      expect(first).toMatchObject({ name: "GET /", kind: api.SpanKind.SERVER, status: { code: ERROR } });
      expect(Object.keys(first.attributes)).toEqual(["level", "busy_ns", "idle_ns"]);
      expect(spanWith({ "otel.status_description": { string: "bad" }, "otel.status_code": { string: "error" } }).status).toEqual({
        code: ERROR,
        message: "bad",
      });
      expect(spanWith({ "otel.status_message": { string: "bad" } }).status).toEqual({ code: ERROR, message: "bad" });
      expect(spanWith({ "otel.status_code": { string: "ok" }, "otel.status_description": { string: "x" } }).status).toEqual({
        code: OK,
      });
      expect(spanWith({ "otel.kind": { string: "sideways" }, "otel.name": { int: 5 } })).toMatchObject({
        name: "work",
        kind: api.SpanKind.INTERNAL,
        attributes: { "otel.name": 5 },
      });

      const host = new Host(line);
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work", { fields: ["otel.name", "otel.kind", "otel.status_code"] })));
      guest.record(span, { "otel.name": { string: "later" }, "otel.kind": { string: "producer" } });
      guest.record(span, { "otel.status_code": { string: "OK" } });
      guest.close(span);
      host.commit(guest.events);
      expect(host.span("later")).toMatchObject({ kind: api.SpanKind.PRODUCER, status: { code: OK } });
    });

    it("recordFollowsFrom: a link to the span that caused it", () => {
      const host = new Host(line);
      const guest = new Guest();
      const cause = guest.open(guest.callSite(callSite("cause")));
      const effect = guest.open(guest.callSite(callSite("effect")));
      guest.follows(effect, cause);
      guest.close(cause);
      guest.close(effect);
      host.commit(guest.events);
      expect(host.span("effect").links).toMatchObject([
        { context: host.span("cause").spanContext(), attributes: { "opentracing.ref_type": "follows_from" } },
      ]);
    });

    it("enter, exit: busy and idle nanoseconds add up to the span's duration", () => {
      const host = new Host(line);
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work")));
      guest.wait(10_000);
      guest.enter(span);
      guest.wait(500);
      guest.enter(span);
      guest.exit(span);
      guest.wait(7);
      guest.exit(span);
      guest.wait(20_000);
      guest.close(span);
      host.commit(guest.events);
      expect(host.span("work").attributes).toMatchObject({ busy_ns: 3507, idle_ns: 32_000 });
      expect(host.span("work").duration).toEqual([0, 35_507]);
    });

    it("enter, exit: a span that is closed inside of itself was busy to the end; an exit without entry changes nothing", () => {
      const host = new Host(line);
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work")));
      guest.exit(span);
      guest.enter(span);
      guest.wait(1000);
      guest.close(span);
      host.commit(guest.events);
      expect(host.span("work").attributes).toMatchObject({ busy_ns: 2000, idle_ns: 2000 });
    });

    it("tryClose: an end before the start is moved to the start", () => {
      const host = new Host(line);
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work")));
      guest.wait(-3_000_000);
      guest.close(span);
      host.commit(guest.events);
      expect(host.span("work")).toMatchObject({ startTime: at(1000), endTime: at(1000), duration: [0, 0] });
    });

    it("events without time are stamped by the host's clock", () => {
      const times: [number, number][] = [
        [100, 5],
        [101, 999_999_999],
        [103, 0],
      ];
      const host = new Host(line, { clock: () => times.shift() ?? [200, 0] });
      host.commit([
        { new_call_site: { id: 1, ...callSite("work") } },
        { new_span: { id: 1, metadata_id: 1, values: {} } },
        { span_entered: { id: 1 } },
        { span_dropped: { id: 1 } },
      ]);
      expect(host.span("work")).toMatchObject({
        startTime: [100, 5],
        endTime: [103, 0],
        duration: [2, 999_999_995],
        attributes: { busy_ns: 1_000_000_001, idle_ns: 1_999_999_994 },
      });
    });
  });

  describe("span processors", () => {
    it("are told of each span once when it opens, with the context it opens in, and once when it ends", () => {
      const told: unknown[] = [];
      const watcher: SpanProcessor = {
        onStart: (span, context) => {
          told.push(["start", span.name, span.isRecording(), span.ended, api.trace.getSpanContext(context)?.spanId]);
        },
        onEnding: (span) => told.push(["ending", span.name, span.isRecording(), span.endTime]),
        onEnd: (span) => told.push(["end", span.name, span.ended, span.endTime]),
        forceFlush: async () => undefined,
        shutdown: async () => undefined,
      };
      const host = new Host(line, { spanProcessors: [watcher] });
      const guest = new Guest();
      const outer = guest.open(guest.callSite(callSite("outer")));
      guest.enter(outer);
      const inner = guest.open(guest.callSite(callSite("inner")));
      guest.close(inner);
      guest.close(outer);
      const parent = api.trace.setSpanContext(api.ROOT_CONTEXT, PARENT);
      const receiver = host.attempt(guest.events, undefined, { parent });
      const outerId = expect.stringMatching(/^[0-9a-f]{16}$/);
      expect(told).toEqual([
        ["start", "outer", true, false, PARENT.spanId],
        ["start", "inner", true, false, outerId],
        ["ending", "inner", true, at(4000)],
        ["end", "inner", true, at(4000)],
        ["ending", "outer", true, at(5000)],
        ["end", "outer", true, at(5000)],
      ]);
      receiver.persist();
      expect(told).toHaveLength(6);
    });

    it("may write to a span as to the SDK's own while it is open, and not end it", () => {
      const key = Symbol.for("tenant");
      const writer: SpanProcessor = {
        onStart: (span, context) => {
          span.setAttribute("tenant", String(context.getValue(key))).setAttributes({ list: ["a", "b"], flags: [true] });
          span.setAttribute("object", { deep: 1 } as never).setAttribute("big", 1n as never);
          span.addEvent("seen", { by: "writer" }, [5, 6]).addEvent("later", [7, 8]).addLink({ context: PARENT });
          span.recordException(new TypeError("bad"), [9, 0]);
          span.setStatus({ code: api.SpanStatusCode.ERROR, message: "so far" });
          span.end();
        },
        onEnd: (span) => {
          // Too late, as it is for the SDK's spans.
          (span as Parameters<SpanProcessor["onStart"]>[0]).setAttribute("late", true).updateName("late");
        },
        forceFlush: async () => undefined,
        shutdown: async () => undefined,
      };
      const exporter = line.memoryExporter();
      const host = new Host(line, { spanProcessors: [writer, line.simple(exporter)] });
      const guest = new Guest();
      guest.close(guest.open(guest.callSite(callSite("work"))));
      host.commit(guest.events, undefined, { parent: api.ROOT_CONTEXT.setValue(key, "blue") });
      const span = exporter.getFinishedSpans()[0];
      expect(exporter.getFinishedSpans()).toHaveLength(1);
      expect(span).toMatchObject({
        name: "work",
        endTime: at(2000),
        attributes: { tenant: "blue", list: ["a", "b"], flags: [true] },
        events: [
          { name: "seen", time: [5, 6], attributes: { by: "writer" } },
          { name: "later", time: [7, 8] },
          { name: "exception", time: [9, 0], attributes: { "exception.type": "TypeError", "exception.message": "bad" } },
        ],
        links: [{ context: PARENT }],
        status: { code: api.SpanStatusCode.ERROR, message: "so far" },
        droppedAttributesCount: 2,
      });
      expect(span?.attributes).not.toHaveProperty("late");
    });

    it("that throw are reported as relay_failed, and nothing is lost for the others", () => {
      const broken: SpanProcessor = {
        onStart: () => {
          throw new Error("broken start");
        },
        onEnd: () => {
          throw new Error("broken end");
        },
        forceFlush: async () => undefined,
        shutdown: async () => undefined,
      };
      const exporter = line.memoryExporter();
      const host = new Host(line, { spanProcessors: [broken, line.simple(exporter)] });
      const guest = new Guest();
      const outer = guest.open(guest.callSite(callSite("outer")), { a: { int: 1 } });
      guest.enter(outer);
      guest.close(guest.open(guest.callSite(callSite("inner"))));
      guest.close(outer);
      host.commit(guest.events);
      expect(exporter.getFinishedSpans().map((span) => span.name)).toEqual(["inner", "outer"]);
      expect(exporter.getFinishedSpans()[1]?.attributes).toMatchObject({ a: 1 });
      expect(host.errors.map(({ code, message }) => [code, message.includes("broken")])).toEqual([
        ["relay_failed", true],
        ["relay_failed", true],
        ["relay_failed", true],
      ]);
    });

    it("batch: spans arrive at the exporter after a flush, and asynchronous resource attributes are awaited", async () => {
      const exporter = line.memoryExporter();
      const processor = line.batch(exporter);
      const resource = line.resource({ "service.name": Promise.resolve("late") });
      const host = new Host(line, { spanProcessors: [processor], resource });
      const guest = new Guest();
      const site = guest.callSite(callSite("work"));
      for (let i = 0; i < 600; i++) guest.close(guest.open(site));
      host.commit(guest.events);
      await processor.forceFlush();
      expect(exporter.getFinishedSpans()).toHaveLength(600);
      expect(exporter.getFinishedSpans()[0]?.resource.attributes).toEqual({ "service.name": "late" });
      await processor.shutdown();
    });
  });
}
