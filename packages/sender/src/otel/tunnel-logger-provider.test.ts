import { ROOT_CONTEXT, trace } from "@opentelemetry/api";
import type * as api110 from "@opentelemetry/api-1.10";
import type * as apiLogs from "@opentelemetry/api-logs";
import { SeverityNumber } from "@opentelemetry/api-logs";
import { controlWord, type TracingEvent } from "@spanduct/protocol";
import { describe, expect, it } from "vitest";
import { bodyOf } from "../../../../test/support/recording-host.ts";
import { TracingEventSender } from "../sender.ts";
import { TunnelLoggerProvider } from "./tunnel-logger-provider.ts";
import { TunnelTracerProvider } from "./tunnel-tracer-provider.ts";

function guest() {
  const events: TracingEvent[] = [];
  const sender = new TracingEventSender((event) => {
    events.push(event);
  });
  const provider = new TunnelLoggerProvider(sender);
  const logger = provider.getLogger("lib", "1.0");
  const sites = () => events.flatMap((event) => ("new_call_site" in event ? [event.new_call_site] : []));
  const emitted = () => events.flatMap((event) => ("new_event" in event ? [event.new_event] : []));
  return { sender, provider, logger, events, sites, emitted };
}

describe("TunnelLoggerProvider", () => {
  it("is a LoggerProvider of both lines of the API", () => {
    const { provider } = guest();
    provider satisfies apiLogs.LoggerProvider;
    provider satisfies api110.LoggerProvider;
  });

  it("sends records as events: the body as message, attributes as values, the scope as target", () => {
    const { logger, sites, emitted } = guest();
    logger.emit({
      eventName: "cart.checked_out",
      severityNumber: SeverityNumber.INFO,
      body: "done",
      attributes: { items: 3, total: 9.5 },
    });
    expect(sites()[0]).toMatchObject({ kind: "event", name: "cart.checked_out", target: "lib@1.0", level: "info" });
    expect(emitted()[0]?.values).toEqual({ message: { string: "done" }, items: { int: 3 }, total: { float: 9.5 } });
  });

  it("sends bodies that are no text as JSON, and none where there is none", () => {
    const { logger, emitted } = guest();
    logger.emit({ body: { step: 1, of: [2] } });
    logger.emit({ body: 5 });
    logger.emit({ body: null, attributes: { a: 1 } });
    expect(emitted().map(({ values }) => values)).toEqual([
      { message: { object: '{"step":1,"of":[2]}' } },
      { message: { int: 5 } },
      { a: { int: 1 } },
    ]);
  });

  it.each([
    [undefined, "info"],
    [0, "info"],
    [SeverityNumber.TRACE, "trace"],
    [SeverityNumber.TRACE4, "trace"],
    [SeverityNumber.DEBUG, "debug"],
    [SeverityNumber.DEBUG4, "debug"],
    [SeverityNumber.INFO, "info"],
    [SeverityNumber.INFO4, "info"],
    [SeverityNumber.WARN, "warn"],
    [SeverityNumber.WARN4, "warn"],
    [SeverityNumber.ERROR, "error"],
    [SeverityNumber.ERROR4, "error"],
    [SeverityNumber.FATAL, "error"],
    [SeverityNumber.FATAL4, "error"],
    [99, "error"],
    [-5, "info"],
    [Number.NaN, "info"],
  ])("turns severity %s into level %s", (severityNumber, level) => {
    const { logger, sites } = guest();
    logger.emit({ body: "x", ...(severityNumber !== undefined && { severityNumber }) });
    expect(sites()[0]?.level).toBe(level);
  });

  it("sends exceptions with class, stack and causes", () => {
    const { logger, emitted } = guest();
    const exception = new RangeError("far", { cause: "why" });
    logger.emit({ severityNumber: SeverityNumber.ERROR, body: "failed", exception });
    expect(emitted()[0]?.values).toEqual({
      message: { string: "failed" },
      error: { error: { message: "far", type: "RangeError", stack: exception.stack, source: { message: "why", source: null } } },
    });
  });

  it("gives records without a name one that hosts know to be made up", () => {
    const { logger, sites } = guest();
    logger.emit({ body: "a" });
    logger.emit({ body: "b", severityNumber: SeverityNumber.WARN });
    expect(sites().map(({ name }) => name)).toEqual(["event lib@1.0:3", "event lib@1.0:2"]);
  });

  it("keeps the time of a record exactly, that of its observation where it has no other", () => {
    const { logger, emitted } = guest();
    logger.emit({ timestamp: [1_700_000_000, 1], observedTimestamp: [1, 0] });
    logger.emit({ observedTimestamp: new Date(1_700_000_000_000) });
    logger.emit({});
    const stamps = emitted().map((event) => bodyOf({ new_event: event })["time_unix_nano"]);
    expect(stamps).toEqual([1_700_000_000_000_000_001n, 1_700_000_000_000_000_000n, undefined]);
  });

  it("puts records into the span of their context, else into the one that is entered", () => {
    const { sender, logger, emitted } = guest();
    const { contextManager } = new TunnelTracerProvider(sender);
    const tracer = new TunnelTracerProvider(sender, { contextManager }).getTracer("lib");
    const [a, b] = [tracer.startSpan("a"), tracer.startSpan("b")];
    contextManager.with(trace.setSpan(ROOT_CONTEXT, a), () => {
      logger.emit({ body: "in a" });
      logger.emit({ body: "in b", context: trace.setSpan(ROOT_CONTEXT, b) });
      new TunnelLoggerProvider(sender, { contextManager }).getLogger("lib").emit({ body: "in a by its number" });
    });
    expect(emitted().map(({ parent }) => parent)).toEqual([undefined, 2, 1]);
  });

  it("sends what the host's level lets pass, and says so", () => {
    const { sender, logger, events } = guest();
    sender.control(controlWord(2, false));
    expect(logger.enabled({ severityNumber: SeverityNumber.INFO })).toBe(false);
    expect(logger.enabled({ severityNumber: SeverityNumber.WARN })).toBe(true);
    expect(logger.enabled()).toBe(false);
    logger.emit({ body: "unseen" });
    expect(events).toEqual([]);
    logger.emit({ body: "seen", severityNumber: SeverityNumber.WARN });
    expect(events).toHaveLength(2);
  });

  it("counts what it cannot send, and never throws", () => {
    const { sender, logger, emitted } = guest();
    const thrower = () => {
      throw new Error("hostile");
    };
    const proxy = new Proxy({}, { get: thrower, ownKeys: thrower, getPrototypeOf: thrower });
    logger.emit(null as never);
    logger.emit(proxy);
    logger.emit({ attributes: proxy });
    expect(sender.droppedEvents).toBe(3);
    logger.emit({ body: proxy, exception: proxy, timestamp: proxy as never });
    expect(emitted().at(-1)?.values).toMatchObject({ message: { object: "[unreadable]" } });
  });

  it("lets the body win over an attribute `message`, and counts that as dropped", () => {
    const { logger, emitted } = guest();
    logger.emit({ body: "body", attributes: { message: "attribute", a: 1 } });
    logger.emit({ attributes: { message: "attribute" } });
    expect(emitted().map(({ values }) => values)).toEqual([
      { message: { string: "body" }, a: { int: 1 }, "otel.dropped_attributes_count": { int: 1 } },
      { message: { string: "attribute" } },
    ]);
  });
});
