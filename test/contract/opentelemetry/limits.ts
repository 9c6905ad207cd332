import type { TunnelError } from "@spanduct/protocol";
import { describe, expect, it } from "vitest";
import { callSite, Guest } from "./guest.ts";
import { elsewhere, FRESH, Host, type State } from "./host.ts";
import type { SdkLine } from "./sdk-line.ts";

/** Span limits, as the SDK applies them to its own spans. */
export function limitsContract(line: SdkLine): void {
  const { api } = line;
  const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => `n${i}`);

  describe("span limits", () => {
    it("attributes beyond attributeCountLimit are dropped and counted, those that are there may still change", () => {
      const host = new Host(line, { spanLimits: { attributeCountLimit: 4 } });
      const guest = new Guest();
      const fields = numbers(6);
      const span = guest.open(guest.callSite(callSite("work", { fields })), { n0: { int: 0 }, n1: { int: 1 }, n2: { int: 2 } });
      guest.record(span, { n3: { int: 3 }, n0: { int: 10 } });
      guest.close(span);
      host.commit(guest.events);
      // The level is the first.
      expect(host.span("work").attributes).toEqual({ level: "INFO", n0: 10, n1: 1, n2: 2 });
      expect(host.span("work").droppedAttributesCount).toBe(3);
    });

    it("defaults are the SDK's: 128 of everything, and no limit on length", () => {
      const host = new Host(line);
      const guest = new Guest();
      const fields = numbers(128);
      const span = guest.open(guest.callSite(callSite("work", { fields })));
      for (let i = 0; i < 128; i += 32) {
        guest.record(span, Object.fromEntries(fields.slice(i, i + 32).map((name) => [name, { string: "x".repeat(900) }])));
      }
      const event = guest.callSite(callSite("said", { kind: "event", fields: ["i"] }));
      for (let i = 0; i < 150; i++) guest.emit(event, { i: { int: i } }, span);
      const other = guest.open(guest.callSite(callSite("other")));
      for (let i = 0; i < 150; i++) guest.follows(span, other);
      guest.close(span);
      host.attempt(guest.events);
      const finished = host.span("work");
      expect(Object.keys(finished.attributes)).toHaveLength(128);
      expect(finished.attributes["n0"]).toHaveLength(900);
      // The level is the first; the last value, busy_ns and idle_ns find no place.
      expect(finished.droppedAttributesCount).toBe(3);
      expect(finished.events).toHaveLength(128);
      expect(finished.events[0]?.attributes).toMatchObject({ i: 22 });
      expect(finished.droppedEventsCount).toBe(22);
      expect(finished.links).toHaveLength(128);
      expect(finished.droppedLinksCount).toBe(22);
    });

    describe("maxHeldBytes", () => {
      /** Takes 384 bytes, 16 for the value, and two for each character. */
      const big = (i: number) => ({ a: { string: String(i).padEnd(900) } });
      const said = callSite("said", { kind: "event" });
      const kept = (span: { readonly events: readonly { readonly attributes?: object }[] }): number[] =>
        span.events.map(({ attributes }) => Number((attributes as { a: string }).a));

      it("bounds the events and links of all open spans together: what goes beyond is dropped and counted, until a span ends", () => {
        const host = new Host(line, { maxHeldBytes: 5000 });
        const guest = new Guest();
        const site = guest.callSite(callSite("work"));
        const event = guest.callSite(said);
        const [first, second] = [guest.open(site), guest.open(site, {}, { id: 100 })];
        for (let i = 0; i < 3; i++) guest.emit(event, big(i), i === 0 ? first : second);
        for (let i = 0; i < 10; i++) guest.follows(first, second);
        guest.close(first);
        guest.emit(event, big(3), second);
        guest.close(second);
        host.commit(guest.events);
        const [one, two] = host.spans;
        expect([kept(one as never), one?.links.length, one?.droppedLinksCount]).toEqual([[0], 3, 7]);
        expect([kept(two as never), two?.droppedEventsCount]).toEqual([[1, 3], 1]);
        expect(host.errors).toEqual([]);
      });

      it("counts no events that have gone to make room for others", () => {
        const host = new Host(line, { maxHeldBytes: 5000, spanLimits: { eventCountLimit: 2, linkCountLimit: 1 } });
        const guest = new Guest();
        const span = guest.open(guest.callSite(callSite("work")));
        const event = guest.callSite(said);
        for (let i = 0; i < 20; i++) guest.emit(event, big(i), span);
        for (let i = 0; i < 20; i++) guest.follows(span, span);
        guest.close(span);
        host.commit(guest.events);
        const work = host.span("work");
        expect([kept(work as never), work.droppedEventsCount]).toEqual([[18, 19], 18]);
        expect([work.links.length, work.droppedLinksCount]).toEqual([1, 19]);
      });

      it("goes for what earlier attempts left, in this process or another one", () => {
        for (const memory of [(state: State) => state, elsewhere]) {
          const host = new Host(line, { maxHeldBytes: 5000 });
          const guest = new Guest();
          const span = guest.open(guest.callSite(callSite("work")));
          const event = guest.callSite(said);
          let state = FRESH;
          for (let i = 0; i < 5; i++) {
            guest.emit(event, big(i), span);
            state = memory(host.commit(guest.events.splice(0), state));
          }
          guest.close(span);
          host.commit(guest.events, state);
          expect(kept(host.span("work") as never)).toEqual([0, 1]);
          expect(host.span("work").droppedEventsCount).toBe(3);
        }
      });

      it("bounds what a held attempt keeps: records beyond it are dropped and reported", () => {
        const { provider, finished } = line.logs();
        const host = new Host(line, { export: "transactional", maxHeldBytes: 5000, loggerProvider: provider });
        const guest = new Guest();
        const event = guest.callSite(said);
        for (let i = 0; i < 5; i++) guest.emit(event, big(i));
        const site = guest.callSite(callSite("work"));
        guest.close(guest.open(site, big(9)));
        host.commit(guest.events);
        expect(finished()).toHaveLength(2);
        expect(host.spans).toHaveLength(1);
        expect(host.errors.map(({ cause }) => (cause as TunnelError).code)).toEqual(Array(3).fill("limit_exceeded"));
      });
    });

    it("events, links and their attributes are held to their limits, oldest first, and text to its length", () => {
      const host = new Host(line, {
        spanLimits: {
          eventCountLimit: 2,
          linkCountLimit: 1,
          attributePerEventCountLimit: 3,
          attributePerLinkCountLimit: 0,
          attributeValueLengthLimit: 5,
        },
      });
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work")), { a: { string: "abcdefgh" } });
      const event = guest.callSite(callSite("said", { kind: "event" }));
      for (const text of ["one", "two", "a long one"])
        guest.emit(event, { message: { string: text }, a: { string: text } }, span);
      const other = guest.open(guest.callSite(callSite("other")));
      guest.follows(span, other);
      guest.follows(span, span);
      guest.close(span);
      host.attempt(guest.events);
      const finished = host.span("work");
      expect(finished.attributes).toMatchObject({ a: "abcde" });
      expect(finished.events).toMatchObject([
        { name: "two", attributes: { level: "INFO", target: "guest", "event.name": "said" }, droppedAttributesCount: 1 },
        { name: "a long one", droppedAttributesCount: 1 },
      ]);
      expect(finished.droppedEventsCount).toBe(1);
      expect(finished.links).toMatchObject([{ context: finished.spanContext(), attributes: {}, droppedAttributesCount: 1 }]);
      expect(finished.droppedLinksCount).toBe(1);
    });

    it("a limit of 0 keeps nothing and counts all", () => {
      const host = new Host(line, { spanLimits: { attributeCountLimit: 0, eventCountLimit: 0, linkCountLimit: 0 } });
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work")), { a: { int: 1 } });
      guest.emit(guest.callSite(callSite("said", { kind: "event" })), {}, span);
      guest.follows(span, span);
      guest.close(span);
      host.commit(guest.events);
      expect(host.span("work")).toMatchObject({
        attributes: {},
        events: [],
        links: [],
        droppedAttributesCount: 4,
        droppedEventsCount: 1,
        droppedLinksCount: 1,
      });
    });

    it("the SDK's own span drops the same", () => {
      const exporter = line.memoryExporter();
      const tracer = line.tracerProvider([line.simple(exporter)]).getTracer("peer");
      const span = tracer.startSpan("work");
      for (let i = 0; i < 150; i++) {
        span.addEvent("said", { i });
        span.addLink({ context: span.spanContext() });
        span.setAttribute(`n${i}`, i);
      }
      span.end();

      const host = new Host(line);
      const guest = new Guest();
      const ours = guest.open(guest.callSite(callSite("work", { fields: numbers(125) })));
      for (let i = 0; i < 125; i += 25) {
        guest.record(
          ours,
          Object.fromEntries(
            numbers(125)
              .slice(i, i + 25)
              .map((name) => [name, { int: 1 }]),
          ),
        );
      }
      const said = guest.callSite(callSite("said", { kind: "event", fields: ["i"] }));
      for (let i = 0; i < 150; i++) {
        guest.emit(said, { i: { int: i } }, ours);
        guest.follows(ours, ours);
      }
      guest.close(ours);
      host.commit(guest.events, undefined, { parent: api.ROOT_CONTEXT });
      const [peer] = exporter.getFinishedSpans();
      const { droppedEventsCount, droppedLinksCount, events } = host.span("work");
      expect({ droppedEventsCount, droppedLinksCount }).toEqual({
        droppedEventsCount: peer?.droppedEventsCount,
        droppedLinksCount: peer?.droppedLinksCount,
      });
      expect(events.map((event) => event.attributes?.["i"])).toEqual(peer?.events.map((event) => event.attributes?.["i"]));
    });
  });
}
