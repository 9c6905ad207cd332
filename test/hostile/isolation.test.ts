import { ROOT_CONTEXT } from "@opentelemetry/api";
import { OpenTelemetryRelay, type ReadableSpan } from "@spanduct/opentelemetry";
import { type CallSiteData, DEFAULT_LIMITS, type Id, type TracingEvent } from "@spanduct/protocol";
import { protobuf } from "@spanduct/protocol/protobuf";
import { type CallSite, MetadataArena, TracingEventReceiver } from "@spanduct/receiver";
import { describe, expect, it } from "vitest";
import { batchOf, callSite, clone, drop, enter, event, exit, followsFrom, newSpan, record } from "../support/events.ts";
import { RelayLog } from "../support/relay-log.ts";

// That two hostile guests leave what each leaves alone, whatever they send, is what the fuzz target `isolation` checks.

/** Two guests of one host, with one arena and a log each. */
function hosts() {
  const arena = new MetadataArena();
  const host = (program: string) => {
    const log = new RelayLog();
    const receiver = new TracingEventReceiver<number>({}, {}, [], { relay: log, arena, program });
    return { log, receiver };
  };
  return { arena, victim: host("victim"), attacker: host("attacker") };
}

describe("a guest that knows the ids of another one", () => {
  const own: readonly TracingEvent[] = [
    callSite(7, { name: "secret", fields: ["token"] }),
    newSpan(42, { token: { string: "hunter2" } }, undefined, 7),
    enter(42),
  ];

  it.each([
    ["reads no call site of it", event({}, undefined, 7)],
    ["opens no span of its call sites", newSpan(1, {}, undefined, 7)],
    ["opens no span under its spans", newSpan(1, {}, 42, 1)],
    ["says nothing in its spans", event({}, 42)],
    ["closes none", drop(42)],
    ["enters none", enter(42)],
    ["leaves none", exit(42)],
    ["holds none", clone(42)],
    ["records nothing to them", record(42, { token: { string: "changed" } })],
    ["links none", followsFrom(42, 42)],
  ])("%s", (_, attack) => {
    const { victim, attacker } = hosts();
    for (const one of own) victim.receiver.receive(one);
    attacker.receiver.receive(callSite(1));
    victim.log.take();
    attacker.log.take();
    const before = victim.receiver.stats;
    expect(attacker.receiver.tryReceive(attack)?.code).toMatch(/^unknown_(?:span|metadata)_id$/);
    expect(attacker.log.take()).toEqual([]);
    expect(victim.log.take()).toEqual([]);
    expect(victim.receiver.stats).toEqual(before);
    expect(JSON.stringify([attacker.receiver.persistMetadata(), attacker.receiver.persist()])).not.toMatch(
      /secret|token|hunter2/,
    );
  });

  it("hangs what it says outside of spans not into the one that the other is in", () => {
    const { victim, attacker } = hosts();
    for (const one of own) victim.receiver.receive(one);
    attacker.receiver.receive(callSite(1));
    attacker.receiver.receive(event());
    attacker.receiver.receive(newSpan(42));
    expect(attacker.log.lines.slice(-2)).toEqual(["event site 1", "new 1 site 1"]);
  });

  it("is told nothing: the control word says the same whether or not the other has such a call site", () => {
    const { victim, attacker } = hosts();
    victim.receiver.receive(callSite(1));
    const words = [callSite(1), callSite(2)].map((one, sequence) =>
      attacker.receiver.receiveBatch(batchOf(protobuf, [one], { sequence })),
    );
    expect(words[0]).toBe(words[1]);
  });
});

describe("an arena that guests share", () => {
  it("gives one object for equal call sites, which nobody can change", () => {
    const { arena, victim, attacker } = hosts();
    const seen: CallSite[] = [];
    for (const { receiver } of [victim, attacker]) receiver.receive(callSite(1));
    arena.acquire("reader");
    const site: CallSiteData = { kind: "span", name: "site 1", target: "app", level: "info", fields: ["a", "b"] };
    seen.push(arena.intern("reader", site), arena.intern("reader", { ...site, fields: [...site.fields] }));
    expect(arena.stats.callSites).toBe(1);
    expect(seen[0]).toBe(seen[1]);
    expect(Object.isFrozen(seen[0]?.data)).toBe(true);
    expect(Object.isFrozen(seen[0]?.data.fields)).toBe(true);
  });

  it("keeps for a guest what another one defines anew, and frees what nobody has", () => {
    const { arena, victim, attacker } = hosts();
    for (const { receiver } of [victim, attacker]) receiver.receive(callSite(1));
    for (let i = 0; i < 100; i++) attacker.receiver.tryReceive(callSite(1, { name: `changed ${i}` }));
    attacker.receiver[Symbol.dispose]();
    expect(arena.stats.callSites).toBe(1);
    expect(victim.receiver.persistMetadata()["1"]?.name).toBe("site 1");
    victim.receiver[Symbol.dispose]();
    expect(arena.stats).toEqual({ callSites: 0, stringUnits: 0, programs: 0 });
  });

  it.each([
    ["many", (id: Id) => callSite(id, { name: `${id}`, fields: [] })],
    ["long", (id: Id) => callSite(id, { name: `${id}`.padEnd(60_000), fields: [] })],
  ])("has room for fifteen other programs when one has filled its share with call sites that are %s", (_, siteOf) => {
    const arena = new MetadataArena();
    let next = 0;
    const program = (name: string): number => {
      const receiver = new TracingEventReceiver<number>({}, {}, [], {
        relay: new RelayLog(),
        arena,
        program: name,
        limits: { maxCallSites: 1e9 },
      });
      let taken = 0;
      while (receiver.tryReceive(siteOf(next++)) === undefined) taken++;
      return taken;
    };
    const first = program("hostile");
    expect(first).toBeGreaterThan(50);
    const others = Array.from({ length: 15 }, (_, i) => program(`other ${i}`));
    for (const taken of others) expect(taken).toBeGreaterThanOrEqual(first);
  });
});

/** A relay, and the spans that have ended there. */
function collectingRelay(): { readonly relay: OpenTelemetryRelay; readonly ended: ReadableSpan[] } {
  const ended: ReadableSpan[] = [];
  const processor = {
    onStart: () => undefined,
    onEnd: (span: ReadableSpan) => void ended.push(span),
    forceFlush: async () => undefined,
    shutdown: async () => undefined,
  };
  return { relay: new OpenTelemetryRelay({ spanProcessors: [processor] }), ended };
}

describe("a relay that guests share", () => {
  it("gives the same numbers of different executions different identities, and each its own", () => {
    const { relay, ended } = collectingRelay();
    const receivers = Array.from(
      { length: 50 },
      () => new TracingEventReceiver<unknown>({}, {}, [], { relay: relay.execution({ parent: ROOT_CONTEXT }) as never }),
    );
    for (const id of [1, 2, 2 ** 53 - 1, 2n ** 64n - 1n]) {
      for (const receiver of receivers) for (const one of [callSite(1), newSpan(id), drop(id)]) receiver.receive(one);
    }
    const ids = ended.map((span) => span.spanContext());
    expect(new Set(ids.map(({ spanId }) => spanId)).size).toBe(200);
    expect(new Set(ids.map(({ traceId }) => traceId)).size).toBe(200);
  });

  it("lets no guest choose where its spans hang, what they are called by, or when the host's began", () => {
    const { relay, ended } = collectingRelay();
    const parent = { traceId: "a".repeat(32), spanId: "b".repeat(16), traceFlags: 1 };
    const receiver = new TracingEventReceiver<unknown>({}, {}, [], { relay: relay.execution({ parent }) as never });
    const names = [
      "trace_id",
      "span_id",
      "traceparent",
      "otel.trace_id",
      "otel.span_id",
      "parent_span_id",
      "spanduct.rolled_back",
    ];
    receiver.receive(callSite(1, { fields: names }));
    receiver.receive(newSpan(1, Object.fromEntries(names.map((name) => [name, { string: "f".repeat(32) }]))));
    receiver.receive(drop(1));
    const [span] = ended as [ReadableSpan];
    expect(span.spanContext().traceId).toBe(parent.traceId);
    expect(span.parentSpanContext?.spanId).toBe(parent.spanId);
    expect(span.spanContext().spanId).not.toMatch(/^f+$/);
    // They are attributes like any other.
    expect(span.attributes).toMatchObject({ trace_id: "f".repeat(32) });
  });
});

it("budgets are each guest's own", () => {
  const arena = new MetadataArena();
  const guests = Array.from(
    { length: 3 },
    () => new TracingEventReceiver<number>({}, {}, [], { relay: new RelayLog(), arena, limits: { maxLiveSpans: 10 } }),
  );
  for (const receiver of guests) {
    receiver.receive(callSite(1));
    for (let i = 0; i < 100; i++) receiver.tryReceive(newSpan(i));
  }
  expect(guests.map(({ stats }) => stats.liveSpans)).toEqual([10, 10, 10]);
  expect(DEFAULT_LIMITS.maxLiveSpans).toBe(100_000);
});
