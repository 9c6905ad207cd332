import type { ReadableSpan, SpanProcessor } from "@spanduct/opentelemetry";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { at, callSite, Guest } from "./guest.ts";
import { elsewhere, FRESH, Host, persist, type State } from "./host.ts";
import { program } from "./programs.ts";
import type { SdkLine } from "./sdk-line.ts";
import { byIdentity, spanData } from "./span-data.ts";

const ROLLED_BACK = "spanduct.rolled_back";

/** What committing and rolling back an attempt does to what is exported. */
export function commitContract(line: SdkLine): void {
  const { api } = line;
  const { ERROR } = api.SpanStatusCode;
  const isMarked = (span: ReadableSpan): boolean => span.attributes[ROLLED_BACK] === true;
  const names = (host: Host): string[] => host.spans.map(({ name }) => name);

  /** A processor that tells what it is told. */
  function watcher(told: string[]): SpanProcessor {
    return {
      onStart: (span) => told.push(`start ${span.name}`),
      onEnd: (span) => told.push(`end ${span.name}`),
      forceFlush: async () => undefined,
      shutdown: async () => undefined,
    };
  }

  /** A span that is done and one that is open and entered, with an event. */
  function halfDone(guest: Guest): { outer: number | bigint } {
    const outer = guest.open(guest.callSite(callSite("outer")));
    guest.enter(outer);
    guest.close(guest.open(guest.callSite(callSite("inner"))));
    guest.emit(guest.callSite(callSite("said", { kind: "event" })));
    return { outer };
  }

  describe("immediate", () => {
    it("a span goes out when it closes, before the commit", () => {
      const told: string[] = [];
      const host = new Host(line, { spanProcessors: [watcher(told)] });
      const guest = new Guest();
      const { outer } = halfDone(guest);
      const receiver = host.attempt(guest.events);
      expect(told).toEqual(["start outer", "start inner", "end inner"]);
      receiver.tryReceive({ span_dropped: { id: outer } });
      expect(told.at(-1)).toBe("end outer");
      receiver.persist();
      expect(told).toHaveLength(4);
    });

    it("a rollback closes what the attempt left open, and flags it", () => {
      const host = new Host(line, { clock: () => [1_767_312_000, 5] });
      const guest = new Guest();
      halfDone(guest);
      host.rollBack(guest.events);
      expect(names(host)).toEqual(["inner", "outer"]);
      expect(isMarked(host.span("inner"))).toBe(false);
      expect(host.span("outer")).toMatchObject({
        attributes: { [ROLLED_BACK]: true },
        status: { code: ERROR, message: "rolled back" },
        endTime: [1_767_312_000, 5],
      });
    });

    it("a rollback keeps the message of a span that failed by itself", () => {
      const host = new Host(line);
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work", { fields: ["otel.status_description"] })), {
        "otel.status_description": { string: "out of memory" },
      });
      guest.enter(span);
      host.rollBack(guest.events);
      expect(host.span("work")).toMatchObject({
        attributes: { [ROLLED_BACK]: true },
        status: { code: ERROR, message: "out of memory" },
      });
    });

    it("the flag stands also where attributes have reached their limit", () => {
      const host = new Host(line, { spanLimits: { attributeCountLimit: 1 } });
      const guest = new Guest();
      guest.open(guest.callSite(callSite("work")));
      host.rollBack(guest.events);
      expect(isMarked(host.span("work"))).toBe(true);
    });

    it("in the logical clock domain a rollback ends spans at the latest logical time", () => {
      const host = new Host(line);
      const receiver = host.attempt([{ new_call_site: { id: 1, ...callSite("work") } }]);
      receiver.batch({ version: 1, clock: "logical", baseTimeUnixNano: 5_000_000_000n, sequence: 0, droppedEvents: 0 });
      const values = { fields: [], keys: [], kinds: [], raws: [], size: 0 };
      receiver.newSpan(1, undefined, 1, values, 10);
      receiver.spanEntered(1, 70);
      receiver[Symbol.dispose]();
      expect(host.span("work")).toMatchObject({ startTime: [5, 10], endTime: [5, 70] });
    });
  });

  describe("transactional", () => {
    it("nothing goes out before the commit, then everything in its order", () => {
      const told: string[] = [];
      const { provider } = line.logs();
      const logging = {
        getLogger: (name: string) => ({
          emit: (record: object) => {
            told.push(`log ${(record as { eventName: string }).eventName}`);
            provider.getLogger(name).emit(record);
          },
        }),
      };
      const host = new Host(line, { spanProcessors: [watcher(told)], export: "transactional", loggerProvider: logging });
      const guest = new Guest();
      const { outer } = halfDone(guest);
      guest.close(outer);
      const open = guest.open(1);
      const receiver = host.attempt(guest.events);
      expect(told).toEqual([]);
      const state = persist(receiver);
      const done = ["start outer", "start inner", "end inner", "log said", "end outer", "start outer"];
      expect(told).toEqual(done);
      host.commit([{ span_dropped: { id: open } }], state);
      expect(told).toEqual([...done, "end outer"]);
    });

    it("discard: a rolled-back attempt leaves no trace, not even a start", () => {
      const told: string[] = [];
      const { provider, finished } = line.logs();
      const host = new Host(line, {
        spanProcessors: [watcher(told)],
        loggerProvider: provider,
        export: "transactional",
        rollback: "discard",
      });
      const guest = new Guest();
      halfDone(guest);
      host.rollBack(guest.events);
      expect(told).toEqual([]);
      expect(finished()).toEqual([]);
    });

    it("mark: a rolled-back attempt goes out flagged, spans that were done too, and log records", () => {
      const { provider, finished } = line.logs();
      const host = new Host(line, { loggerProvider: provider, export: "transactional" });
      const guest = new Guest();
      halfDone(guest);
      host.rollBack(guest.events);
      expect(names(host)).toEqual(["inner", "outer"]);
      for (const span of host.spans) {
        expect(span).toMatchObject({ attributes: { [ROLLED_BACK]: true }, status: { code: ERROR, message: "rolled back" } });
      }
      expect(finished()).toMatchObject([
        { attributes: { [ROLLED_BACK]: true }, spanContext: { spanId: host.span("outer").spanContext().spanId } },
      ]);
      expect(host.span("inner").parentSpanContext?.spanId).toBe(host.span("outer").spanContext().spanId);
    });

    it("an event for the host's own span is held, dropped or flagged like everything else", () => {
      const host = new Host(line, { export: "transactional" });
      const outside = line
        .tracerProvider([line.simple(host.exporter)])
        .getTracer("host")
        .startSpan("outside");
      const parent = api.trace.setSpan(api.ROOT_CONTEXT, outside);
      const guest = new Guest();
      guest.emit(guest.callSite(callSite("said", { kind: "event" })));
      host.rollBack(guest.events, FRESH, { parent, rollback: "discard" });
      host.rollBack(guest.events, FRESH, { parent });
      host.commit(guest.events, FRESH, { parent });
      outside.end();
      expect(host.span("outside").events.map(({ attributes }) => attributes?.[ROLLED_BACK])).toEqual([true, undefined]);
    });

    it("what is held is bounded: what goes beyond is dropped and reported, and what is held comes to its end", () => {
      const { provider, finished } = line.logs();
      const host = new Host(line, { export: "transactional", maxHeld: 3, loggerProvider: provider });
      const guest = new Guest();
      const site = guest.callSite(callSite("work"));
      const said = guest.callSite(callSite("said", { kind: "event" }));
      const first = guest.open(site);
      guest.emit(said, {}, first);
      const second = guest.open(site);
      const third = guest.open(site, {}, { parent: second });
      guest.emit(said, {}, third);
      for (const span of [third, second, first]) guest.close(span);
      host.commit(guest.events);
      expect(host.spans).toHaveLength(2);
      expect(finished()).toHaveLength(1);
      expect(host.errors.map(({ code, cause }) => [code, (cause as { code?: string }).code])).toEqual([
        ["relay_failed", "limit_exceeded"],
      ]);
    });

    it("what a processor throws at the commit is reported, and the rest goes out", () => {
      let broken = 1;
      const exporter = line.memoryExporter();
      const fragile: SpanProcessor = {
        onStart: () => {
          if (broken-- > 0) throw new Error("broken");
        },
        onEnd: () => undefined,
        forceFlush: async () => undefined,
        shutdown: async () => undefined,
      };
      const host = new Host(line, { spanProcessors: [fragile, line.simple(exporter)], export: "transactional" });
      const guest = new Guest();
      const { outer } = halfDone(guest);
      guest.close(outer);
      host.commit(guest.events);
      expect(exporter.getFinishedSpans()).toHaveLength(2);
      expect(host.errors.map(({ code }) => code)).toEqual(["relay_failed"]);
    });
  });

  describe.each(["immediate", "transactional"] as const)("%s: spans of earlier attempts", (mode) => {
    /** A host with a span that was committed while it was open and entered. */
    function waiting(): { host: Host; guest: Guest; span: number | bigint; state: State } {
      const host = new Host(line, { export: mode });
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work", { fields: ["a", "otel.name", "otel.kind"] })), { a: { int: 1 } });
      guest.callSite(callSite("said", { kind: "event", level: "error" }));
      guest.enter(span);
      const state = host.commit(guest.events.splice(0));
      return { host, guest, span, state };
    }

    /** Everything that can change about a span, and its end. */
    function change(guest: Guest, span: number | bigint): void {
      guest.record(span, { a: { int: 2 }, "otel.name": { string: "renamed" }, "otel.kind": { string: "client" } });
      guest.emit(2, { message: { string: "oh" } });
      guest.follows(span, span);
      guest.exit(span);
      guest.close(span);
    }

    it("end with the commit, not before", () => {
      const { host, guest, span, state } = waiting();
      guest.close(span);
      const receiver = host.attempt(guest.events, state);
      expect(host.spans).toEqual([]);
      receiver.persist();
      expect(names(host)).toEqual(["work"]);
    });

    it("are what they were after a rollback, here and elsewhere, and go on as if it had not been", () => {
      const { host, guest, span, state } = waiting();
      change(guest, span);
      const changes = guest.events.splice(0);
      host.rollBack(changes, state);
      expect(host.spans).toEqual([]);
      guest.wait(1_000_000);
      guest.close(span);
      const elsewhereState = elsewhere(state);
      host.commit(guest.events, state);
      const other = new Host(line, { export: mode });
      other.rollBack(changes, elsewhereState);
      other.commit(guest.events, elsewhereState);
      expect(spanData(host.span("work"))).toMatchObject({
        startTime: at(1000),
        endTime: at(1_008_000),
        attributes: { a: 1, level: "INFO", busy_ns: 1_006_000, idle_ns: 1000 },
        events: [],
        links: [],
        kind: api.SpanKind.INTERNAL,
        status: { code: api.SpanStatusCode.UNSET },
      });
      expect(spanData(other.span("work"))).toEqual(spanData(host.span("work")));
    });

    it("keep their children's rollback to themselves: the parent stays open", () => {
      const { host, guest, span, state } = waiting();
      guest.open(1);
      host.rollBack(guest.events, state);
      expect(host.spans.map((found) => [found.name, isMarked(found), found.parentSpanContext?.spanId])).toEqual([
        ["work", true, expect.stringMatching(/^[0-9a-f]{16}$/)],
      ]);
      const [child] = host.spans;
      host.exporter.reset();
      host.commit([{ span_dropped: { id: span } }], state);
      expect(host.span("work").spanContext().spanId).toBe(child?.parentSpanContext?.spanId);
    });

    it("are the same objects to processors, as long as the process lives", () => {
      const started: unknown[] = [];
      const ended: unknown[] = [];
      const host = new Host(line, {
        export: mode,
        spanProcessors: [
          {
            onStart: (span) => started.push(span.setAttribute("from", "processor")),
            onEnd: (span) => ended.push(span),
            forceFlush: async () => undefined,
            shutdown: async () => undefined,
          },
        ],
      });
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work")));
      const state = host.commit(guest.events);
      host.rollBack([{ span_dropped: { id: span } }], state);
      host.commit([{ span_dropped: { id: span } }], state);
      expect(ended).toHaveLength(1);
      expect(ended[0]).toBe(started[0]);
      expect((ended[0] as ReadableSpan).attributes).toMatchObject({ from: "processor" });
    });

    it("that a host has from before an attempt it did not keep go on from there", () => {
      const { host, guest, span, state } = waiting();
      guest.record(span, { a: { int: 2 } });
      // Committed, but the host could not write its state: the next attempt begins with the older one.
      host.commit(guest.events.splice(0), state);
      guest.close(span);
      host.commit(guest.events, state);
      expect(host.span("work").attributes).toMatchObject({ a: 1 });
    });
  });

  describe("identity over attempts", () => {
    it.each([
      ["immediate", "mark"],
      ["transactional", "mark"],
      ["transactional", "discard"],
    ] as const)("%s, %s: with one seed, a rolled-back attempt and its retry share no id", (mode, rollback) => {
      const host = new Host(line, { export: mode, rollback });
      const guest = new Guest();
      const { outer } = halfDone(guest);
      host.rollBack(guest.events, FRESH, { seed: 42n });
      host.rollBack(guest.events, FRESH, { seed: 42n });
      guest.close(outer);
      host.commit(guest.events, FRESH, { seed: 42n });
      expect(Object.keys(byIdentity(host.spans))).toHaveLength(rollback === "discard" ? 2 : 6);
    });

    it("one seed gives one set of ids, in any process; another attempt number another", () => {
      const guest = new Guest();
      const { outer } = halfDone(guest);
      guest.close(outer);
      const idsOf = (options: { seed?: bigint; attempt?: number }): string[] => {
        const host = new Host(line);
        host.commit(guest.events, FRESH, { parent: api.ROOT_CONTEXT, ...options });
        return Object.keys(byIdentity(host.spans));
      };
      expect(idsOf({ seed: 7n })).toEqual(idsOf({ seed: 7n }));
      expect(idsOf({ seed: 7n, attempt: 1 })).toEqual(idsOf({ seed: 7n, attempt: 1 }));
      const all = [{ seed: 7n }, { seed: 8n }, { seed: 7n, attempt: 1 }, {}, {}].flatMap(idsOf);
      expect(new Set(all).size).toBe(10);
    });

    it("a retry in another process after a rollback in immediate mode has other ids by its attempt number", () => {
      const guest = new Guest();
      const { outer } = halfDone(guest);
      const first = new Host(line);
      first.rollBack(guest.events, FRESH, { seed: 42n, attempt: 0 });
      guest.close(outer);
      const second = new Host(line);
      second.commit(guest.events, FRESH, { seed: 42n, attempt: 1 });
      expect(Object.keys(byIdentity([...first.spans, ...second.spans]))).toHaveLength(4);
    });

    it("a guest that uses numbers again gets new ids all the same", () => {
      const host = new Host(line);
      const guest = new Guest();
      const site = guest.callSite(callSite("work"));
      for (const id of [1, 5, 1, 1, 5, 2, 2n ** 64n - 1n, 2n ** 64n - 1n, 2n ** 63n - 1n, 0]) {
        guest.close(guest.open(site, {}, { id }));
      }
      host.commit(guest.events, FRESH, { seed: 1n, parent: { traceId: "1".repeat(32), spanId: "2".repeat(16), traceFlags: 1 } });
      expect(Object.keys(byIdentity(host.spans))).toHaveLength(10);
    });
  });

  describe("any program, attempts failing here and there", () => {
    const cuts = fc.array(fc.tuple(fc.nat({ max: 40 }), fc.nat({ max: 40 }), fc.boolean()), { maxLength: 4 });
    const modes = fc.constantFrom(
      { export: "immediate" } as const,
      { export: "transactional", rollback: "mark" } as const,
      { export: "transactional", rollback: "discard" } as const,
    );

    it("exports what an uninterrupted run does, each once, and what was rolled back beside it at most", () => {
      fc.assert(
        fc.property(program, cuts, modes, fc.boolean(), (events, plan, mode, restarts) => {
          const parent = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 };
          const whole = new Host(line, mode);
          whole.commit(events, FRESH, { seed: 9n, parent });

          const host = new Host(line, mode);
          const committed: ReadableSpan[] = [];
          const failed: ReadableSpan[] = [];
          const take = (from: ReadableSpan[]): void => {
            from.push(...host.spans);
            host.exporter.reset();
          };
          let state = FRESH;
          let done = 0;
          for (const [length, extra, fails] of [...plan, [events.length, 0, false] as const]) {
            const end = Math.min(events.length, done + length);
            if (fails) host.rollBack(events.slice(done, end + extra), state, { parent });
            take(failed);
            state = host.commit(events.slice(done, end), state, { seed: 9n, parent });
            take(committed);
            if (restarts) state = elsewhere(state);
            done = end;
          }
          expect(host.errors.filter(({ code }) => code !== "unknown_span_id")).toEqual([]);
          expect(byIdentity(committed)).toEqual(byIdentity(whole.spans));
          byIdentity([...committed, ...failed]);
          if (mode.export === "transactional") expect(failed.every(isMarked)).toBe(true);
          if (mode.export === "transactional" && mode.rollback === "discard") expect(failed).toEqual([]);
        }),
        { numRuns: 150 },
      );
    });
  });
}
