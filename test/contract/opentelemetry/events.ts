import type { TracedError } from "@spanduct/protocol";
import { describe, expect, it } from "vitest";
import { at, callSite, EPOCH, Guest } from "./guest.ts";
import { Host } from "./host.ts";
import type { SdkLine } from "./sdk-line.ts";

const ERROR: TracedError = { message: "disk full", type: "ENOSPC", stack: "ENOSPC: disk full\n  at write", source: null };

/** What becomes of a guest's events. */
export function eventsContract(line: SdkLine): void {
  const { api } = line;
  const rustEvent = callSite("event src/jobs.rs:12", {
    kind: "event",
    module_path: "app::jobs",
    file: "src/jobs.rs",
    line: 12,
    level: "warn",
    target: "app::jobs",
  });
  const named = callSite("cache.miss", { kind: "event" });

  describe("events of spans", () => {
    function eventOf(host: Host): unknown {
      const { events } = host.span("work");
      expect(events).toHaveLength(1);
      return events[0];
    }

    function emitted(site: typeof named, values: Parameters<Guest["emit"]>[1]): Host {
      const host = new Host(line);
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work")));
      guest.enter(span);
      guest.emit(guest.callSite(site), values);
      guest.close(span);
      host.commit(guest.events);
      expect(host.errors).toEqual([]);
      return host;
    }

    it("event: named by its message, with level, target, place and values", () => {
      const values = { message: { object: "cannot reach db" }, a: { u_int: 3 } };
      expect(eventOf(emitted(rustEvent, values))).toEqual({
        name: "cannot reach db",
        time: at(3000),
        attributes: { level: "WARN", target: "app::jobs", "code.file.path": "src/jobs.rs", "code.line.number": 12, a: 3 },
        droppedAttributesCount: 0,
      });
    });

    it("event: a name that is not made up is kept beside the message", () => {
      expect(eventOf(emitted(named, { message: { string: "no entry" } }))).toMatchObject({
        name: "no entry",
        attributes: { "event.name": "cache.miss" },
      });
    });

    it("event: without a message, or with an empty one, named by its call site", () => {
      expect(eventOf(emitted(named, { b: { bool: false } }))).toMatchObject({ name: "cache.miss", attributes: { b: false } });
      expect(eventOf(emitted(named, { message: { string: "" } }))).toMatchObject({ name: "cache.miss" });
      expect(eventOf(emitted(rustEvent, {}))).toMatchObject({ name: "event src/jobs.rs:12" });
      expect(eventOf(emitted(named, { message: { int: 7 } }))).toMatchObject({ name: "7" });
    });

    it("event: an error becomes exception attributes, and the name where there is nothing else", () => {
      expect(eventOf(emitted(rustEvent, { error: { error: ERROR } }))).toMatchObject({
        name: "exception",
        attributes: {
          "exception.message": "disk full",
          "exception.type": "ENOSPC",
          "exception.stacktrace": "ENOSPC: disk full\n  at write",
          error: "disk full",
        },
      });
      expect(eventOf(emitted(named, { error: { error: ERROR } }))).toMatchObject({ name: "cache.miss" });
      expect(eventOf(emitted(rustEvent, { message: { string: "saving" }, error: { error: ERROR } }))).toMatchObject({
        name: "saving",
      });
    });

    it("event: of level error, it makes its span an error unless that has a status", () => {
      const { ERROR: error, OK, UNSET } = api.SpanStatusCode;
      const bad = { ...named, level: "error" as const };
      const rust = { ...rustEvent, level: "error" as const };
      expect(emitted(bad, { message: { string: "oh" }, error: { error: ERROR } }).span("work")).toMatchObject({
        status: { code: error, message: "disk full" },
        attributes: { "error.type": "ENOSPC" },
      });
      expect(emitted(bad, { message: { string: "oh" } }).span("work").status).toEqual({ code: error, message: "oh" });
      expect(emitted(bad, {}).span("work").status).toEqual({ code: error, message: "cache.miss" });
      expect(emitted(rust, {}).span("work").status).toEqual({ code: error });
      expect(emitted(named, { error: { error: ERROR } }).span("work").status).toEqual({ code: UNSET });

      const host = new Host(line);
      const guest = new Guest();
      const site = guest.callSite(callSite("work", { fields: ["otel.status_code"] }));
      const span = guest.open(site, { "otel.status_code": { string: "ok" } });
      guest.emit(guest.callSite(bad), {}, span);
      guest.close(span);
      host.commit(guest.events);
      expect(host.span("work").status).toEqual({ code: OK });
    });

    it("event: outside of all spans it goes to the host's span, as long as that is recorded", () => {
      const host = new Host(line);
      const provider = line.tracerProvider([line.simple(host.exporter)]);
      const outside = provider.getTracer("host").startSpan("outside");
      const parent = api.trace.setSpan(api.ROOT_CONTEXT, outside);
      const guest = new Guest();
      guest.emit(guest.callSite(named), { a: { int: 1 } });
      host.commit(guest.events, undefined, { parent });
      outside.end();
      expect(host.span("outside").events).toMatchObject([{ name: "cache.miss", time: at(1000), attributes: { a: 1 } }]);
      host.commit(guest.events, undefined, { parent });
      host.commit(guest.events, undefined, { parent: api.ROOT_CONTEXT });
      expect(host.span("outside").events).toHaveLength(1);
      expect(host.errors).toEqual([]);
    });
  });

  describe("log records", () => {
    it("event: with a loggerProvider it is a log record of its span, and no event", () => {
      const { provider, finished } = line.logs();
      const host = new Host(line, { loggerProvider: provider, clock: () => [1_800_000_000, 9] });
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work")));
      guest.enter(span);
      guest.emit(guest.callSite(rustEvent), { message: { object: "cannot reach db" }, a: { int: 3 } });
      guest.emit(guest.callSite(named), { error: { error: ERROR } });
      guest.emit(guest.callSite({ ...rustEvent, line: 13, name: "event src/jobs.rs:13" }), { error: { error: ERROR } });
      guest.close(span);
      host.commit(guest.events);
      const { traceId, spanId } = host.span("work").spanContext();
      expect(host.span("work").events).toEqual([]);
      const [first, second, third] = finished();
      expect(first).toMatchObject({
        hrTime: at(3000),
        hrTimeObserved: [1_800_000_000, 9],
        body: "cannot reach db",
        severityNumber: 13,
        severityText: "WARN",
        spanContext: { traceId, spanId },
        instrumentationScope: { name: "app::jobs" },
      });
      expect(first?.attributes).toEqual({ "code.file.path": "src/jobs.rs", "code.line.number": 12, a: 3 });
      expect(first?.eventName).toBeUndefined();
      expect(second).toMatchObject({
        eventName: "cache.miss",
        severityNumber: 9,
        attributes: { "exception.message": "disk full", "exception.type": "ENOSPC" },
        instrumentationScope: { name: "guest" },
      });
      expect(second?.body).toBeUndefined();
      expect(third?.eventName).toBe("exception");
    });

    it.each([
      ["trace", 1],
      ["debug", 5],
      ["info", 9],
      ["warn", 13],
      ["error", 17],
    ] as const)("event: level %s has severity %d", (level, severityNumber) => {
      const { provider, finished } = line.logs();
      const host = new Host(line, { loggerProvider: provider });
      const guest = new Guest();
      guest.emit(guest.callSite({ ...named, level }));
      host.commit(guest.events);
      expect(finished()).toMatchObject([{ severityNumber, severityText: level.toUpperCase() }]);
    });

    it("events: where they go can be chosen for a relay and for an execution", () => {
      const { provider, finished } = line.logs();
      const host = new Host(line, { loggerProvider: provider, events: "both" });
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work")));
      guest.emit(guest.callSite(named), {}, span);
      guest.emit(guest.callSite(named));
      guest.close(span);
      host.commit(guest.events, undefined, { parent: api.ROOT_CONTEXT });
      expect(host.span("work").events).toHaveLength(1);
      expect(finished()).toHaveLength(2);
      host.exporter.reset();
      host.commit(guest.events, undefined, { parent: api.ROOT_CONTEXT, events: "span" });
      expect(host.span("work").events).toHaveLength(1);
      // Only the one outside of all spans.
      expect(finished()).toHaveLength(3);
      expect(finished()[2]?.spanContext).toBeUndefined();
      expect(() => new Host(line).relay.execution({ events: "log" })).toThrow(/needs a loggerProvider/);
    });

    it("event: outside of all spans it belongs to the host's span", () => {
      const { provider, finished } = line.logs();
      const host = new Host(line, { loggerProvider: provider });
      const parent = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 };
      const guest = new Guest();
      guest.emit(guest.callSite(named));
      host.commit(guest.events, undefined, { parent });
      expect(finished()).toMatchObject([{ spanContext: { traceId: parent.traceId, spanId: parent.spanId } }]);
    });

    it("event: with log records, an unsampled root does not silence the guest", () => {
      const { provider, finished } = line.logs();
      const host = new Host(line, { loggerProvider: provider, sampler: line.samplers.off() });
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work")));
      guest.emit(guest.callSite(named), {}, span);
      expect(host.attempt(guest.events).maxLevel).toBe(5);
      expect(finished()).toHaveLength(1);
    });

    it("event: hostile targets do not make loggers without end", () => {
      const { provider, finished } = line.logs();
      const asked = new Set<string>();
      const counting = {
        getLogger: (name: string) => {
          asked.add(name);
          return provider.getLogger(name);
        },
      };
      const host = new Host(line, { loggerProvider: counting });
      const guest = new Guest();
      for (let i = 0; i < 1500; i++) guest.emit(guest.callSite({ ...named, target: `t${i}` }));
      host.commit(guest.events);
      expect(asked.size).toBe(1025);
      expect(finished()[1499]).toMatchObject({
        attributes: { target: "t1499" },
        instrumentationScope: { name: "@spanduct/opentelemetry" },
      });
    });
  });

  describe("loss", () => {
    const header = (sequence: number, droppedEvents = 0) =>
      ({ version: 1, clock: "wall", baseTimeUnixNano: EPOCH, sequence, droppedEvents }) as const;

    it("loss: an event on every open root, with how much is missing", () => {
      const host = new Host(line, { clock: () => [77, 1] });
      const receiver = host.attempt([]);
      receiver.batch(header(0));
      const guest = new Guest();
      const site = guest.callSite(callSite("work"));
      const closed = guest.open(site);
      guest.close(closed);
      const outer = guest.open(site);
      guest.enter(outer);
      guest.open(site);
      for (const event of guest.events.splice(0)) receiver.tryReceive(event);
      receiver.batch(header(4, 9));
      guest.close(outer);
      for (const event of guest.events) receiver.tryReceive(event);
      receiver.persist();
      expect(host.spans.map(({ events }) => events.map(({ name }) => name))).toEqual([[], ["spanduct.loss"]]);
      expect(host.spans[1]?.events).toMatchObject([{ time: [77, 1], attributes: { batches: 3, events: 9 } }]);
    });

    it("loss: without an open root a log record, or an event of the host's span", () => {
      const { provider, finished } = line.logs();
      const logging = new Host(line, { loggerProvider: provider });
      const receiver = logging.attempt([]);
      receiver.batch(header(0));
      receiver.batch(header(2));
      expect(finished()).toMatchObject([
        { eventName: "spanduct.loss", severityNumber: 13, attributes: { batches: 1, events: 0 } },
      ]);

      const host = new Host(line);
      const outside = line
        .tracerProvider([line.simple(host.exporter)])
        .getTracer("host")
        .startSpan("outside");
      const quiet = host.attempt([], undefined, { parent: api.trace.setSpan(api.ROOT_CONTEXT, outside) });
      quiet.batch(header(0));
      quiet.batch(header(1, 5));
      outside.end();
      expect(host.span("outside").events).toMatchObject([{ name: "spanduct.loss", attributes: { batches: 0, events: 5 } }]);
    });
  });
}
