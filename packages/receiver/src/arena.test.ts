import type { CallSiteData, PersistedMetadata } from "@spanduct/protocol";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { callSiteData, HOSTILE_NAMES } from "../../../test/support/arbitrary-events.ts";
import { callSite, newSpan } from "../../../test/support/events.ts";
import { RelayLog } from "../../../test/support/relay-log.ts";
import { CallSite, MetadataArena, TracingEventReceiver } from "./index.ts";

const SITE: CallSiteData = { kind: "span", name: "work", target: "app", level: "info", fields: ["a"] };

function named(name: string): CallSiteData {
  return { ...SITE, name };
}

/** A receiver of `program` in `arena` that has seen `sites`. */
function receiver(arena: MetadataArena, program: unknown, ...sites: CallSiteData[]): TracingEventReceiver<number> {
  const made = new TracingEventReceiver<number>({}, {}, [], { relay: new RelayLog(), arena, program });
  for (const [id, data] of sites.entries()) made.receive(callSite(id, data));
  return made;
}

describe("MetadataArena.intern()", () => {
  it("gives one object for equal data, and another for any difference", () => {
    const arena = new MetadataArena();
    arena.acquire("p");
    const first = arena.intern("p", SITE);
    expect(arena.intern("p", structuredClone(SITE))).toBe(first);
    const different: Partial<CallSiteData>[] = [
      { kind: "event" },
      { name: "" },
      { target: "a" },
      { level: "debug" },
      { module_path: "" },
      { file: "" },
      { line: 0 },
      { fields: [] },
      { fields: ["a", "a"] },
      { fields: ["a", ""] },
    ];
    const all = different.map((change) => arena.intern("p", { ...SITE, ...change }));
    expect(new Set([first, ...all]).size).toBe(different.length + 1);
    expect([first, ...all].map(({ index }) => index)).toEqual(Array.from({ length: different.length + 1 }, (_, i) => i));
  });

  it("tells data apart whatever stands in names: what is joined here is not what is joined there", () => {
    const arena = new MetadataArena();
    arena.acquire("p");
    const text = fc.oneof(fc.constantFrom(...HOSTILE_NAMES, "|", "|-", "|1:a", "1", "-", "5:|-|-"), fc.string({ maxLength: 4 }));
    const data = fc.record(
      {
        kind: fc.constantFrom("span", "event"),
        name: text,
        target: text,
        level: fc.constantFrom("error", "trace"),
        module_path: text,
        file: text,
        line: fc.nat(12),
        fields: fc.array(text, { maxLength: 3 }),
      },
      { requiredKeys: ["kind", "name", "target", "level", "fields"] },
    );
    fc.assert(
      fc.property(data, data, (a, b) => {
        const isSame = arena.intern("p", a) === arena.intern("p", b);
        expect(isSame).toBe(JSON.stringify(sorted(a)) === JSON.stringify(sorted(b)));
      }),
    );
  });

  it("keeps a copy that nobody can change", () => {
    const arena = new MetadataArena();
    arena.acquire("p");
    const fields = ["a"];
    const { data } = arena.intern("p", { ...SITE, fields });
    fields.push("b");
    expect(data).toEqual(SITE);
    expect(() => (data.fields as string[]).push("b")).toThrow(TypeError);
    expect(Object.isFrozen(data)).toBe(true);
  });

  it("calls onNew for what it has not seen, before it is counted; nothing has changed when that throws", () => {
    const arena = new MetadataArena();
    arena.acquire("p");
    const fail = () => {
      throw new Error("no");
    };
    expect(() => arena.intern("p", SITE, fail)).toThrow("no");
    expect(arena.stats).toEqual({ callSites: 0, stringUnits: 0, programs: 1 });
    const seen: CallSite[] = [];
    const made = arena.intern("p", SITE, (site) => seen.push(site));
    arena.intern("p", SITE, fail);
    expect(seen).toEqual([made]);
    expect(made.index).toBe(0);
  });

  it("refuses programs that are not loaded", () => {
    const arena = new MetadataArena();
    expect(() => arena.intern("p", SITE)).toThrow(expect.objectContaining({ code: "receiver_closed" }));
    arena.acquire("p");
    arena.intern("p", SITE);
    arena.release("p");
    expect(() => arena.intern("p", SITE)).toThrow(expect.objectContaining({ code: "receiver_closed" }));
  });
});

describe("MetadataArena is bounded:", () => {
  it("takes maxCallSites of them, all programs together, and no more", () => {
    const arena = new MetadataArena({ maxCallSites: 3, maxProgramShare: 1 });
    arena.acquire("p");
    arena.acquire("q");
    for (const name of ["1", "2"]) arena.intern("p", named(name));
    arena.intern("q", named("3"));
    const before = arena.stats;
    expect(() => arena.intern("q", named("4"))).toThrow(
      "[limit_exceeded] the arena is full (3 call sites, 444 string units); release programs or raise ArenaLimits",
    );
    expect(arena.stats).toEqual(before);
    expect(arena.intern("q", named("1")).data.name).toBe("1");
    arena.release("p");
    expect(arena.intern("q", named("4")).index).toBe(3);
  });

  it("takes maxStringUnits, of which a field is 128 and its name, and no more", () => {
    const arena = new MetadataArena({ maxProgramShare: 1 });
    arena.acquire("p");
    arena.intern("p", SITE);
    const { stringUnits } = arena.stats;
    arena.intern("p", { ...SITE, fields: ["a", "bcd"] });
    expect(arena.stats.stringUnits).toBe(2 * stringUnits + 128 + "|3:bcd".length);

    for (const room of [0, -1]) {
      const small = new MetadataArena({ maxStringUnits: stringUnits + room, maxProgramShare: 1 });
      small.acquire("p");
      if (room === 0) expect(small.intern("p", SITE)).toBeInstanceOf(CallSite);
      else expect(() => small.intern("p", SITE)).toThrow(expect.objectContaining({ code: "limit_exceeded" }));
    }
  });

  it("gives one program no more than its share, so that others find room", () => {
    const arena = new MetadataArena({ maxCallSites: 8, maxProgramShare: 1 / 4 });
    const [hostile, honest] = [receiver(arena, "hostile"), receiver(arena, "honest")];
    const codes = ["1", "2", "3", "4"].map((name, id) => hostile.tryReceive(callSite(id, { name }))?.code);
    expect(codes).toEqual([undefined, undefined, "limit_exceeded", "limit_exceeded"]);
    expect(hostile.tryReceive(callSite(9, { name: "1" }))).toBeUndefined();
    expect(honest.tryReceive(callSite(1, { name: "3" }))).toBeUndefined();
    // One that others brought in counts too.
    expect(hostile.tryReceive(callSite(9, { name: "3" }))?.reason).toBe(
      "the program's share of the arena is full (2 call sites, 560 string units); release programs or raise ArenaLimits",
    );
    expect(hostile.stats).toMatchObject({ callSites: 3, events: 3, refused: { limit_exceeded: 3 } });
  });

  it("has room for 262144 call sites and 64 Mi units, a sixteenth for each program", () => {
    const arena = new MetadataArena();
    arena.acquire("p");
    for (let i = 0; i < 16_384; i++) arena.intern("p", named(`${i}`));
    expect(() => arena.intern("p", named("one more"))).toThrow(expect.objectContaining({ code: "limit_exceeded" }));
    arena.acquire("q");
    const long = (length: number) => ({ ...SITE, fields: ["x".repeat(length)] });
    expect(() => arena.intern("q", long(4 * 1024 * 1024))).toThrow(expect.objectContaining({ code: "limit_exceeded" }));
    expect(arena.intern("q", long(4 * 1024 * 1024 - 200)).data.fields).toHaveLength(1);
  });
});

describe("MetadataArena is shared:", () => {
  it("executions of all programs use one object for one call site, which is registered once", () => {
    const arena = new MetadataArena();
    const logs = [new RelayLog(), new RelayLog()];
    const seen: CallSite[] = [];
    logs.forEach((log, i) => {
      log.event = (site) => seen.push(site);
      const made = new TracingEventReceiver<number>({}, {}, [], { relay: log, arena, program: i });
      // Under two ids, of which each program has its own.
      made.receive(callSite(10 + i, SITE));
      made.receive(callSite(20 + i, SITE));
      for (const id of [10 + i, 20 + i]) made.receive({ new_event: { metadata_id: id, values: {} } });
      expect(made.stats.callSites).toBe(2);
    });
    expect(new Set(seen).size).toBe(1);
    expect(logs.map((log) => log.take())).toEqual([["call site work"], []]);
    expect(arena.stats).toMatchObject({ callSites: 1, programs: 2 });
  });

  it("a call site is freed with the last program that uses it", () => {
    const arena = new MetadataArena();
    arena.acquire("p");
    const p = receiver(arena, "p", named("p"), named("both"));
    const q = receiver(arena, "q", named("q"), named("both"));
    expect(arena.stats).toMatchObject({ callSites: 3, programs: 2 });
    q[Symbol.dispose]();
    expect(arena.stats).toMatchObject({ callSites: 2, programs: 1 });
    p.persist();
    expect(arena.stats).toMatchObject({ callSites: 2, programs: 1 });
    arena.release("p");
    expect(arena.stats).toEqual({ callSites: 0, stringUnits: 0, programs: 0 });
  });

  it("a program stays loaded as long as anything holds it: the host, or any of its executions", () => {
    const arena = new MetadataArena();
    const executions = [receiver(arena, "p", named("1")), receiver(arena, "p", named("2"))];
    executions[0]?.persist();
    expect(arena.stats).toMatchObject({ callSites: 2, programs: 1 });
    executions[0]?.[Symbol.dispose]();
    expect(arena.stats.programs).toBe(1);
    executions[1]?.[Symbol.dispose]();
    expect(arena.stats).toEqual({ callSites: 0, stringUnits: 0, programs: 0 });
    arena.release("p");
    expect(arena.stats.programs).toBe(0);
  });

  it("without a name, a program is as long-lived as its receiver", () => {
    const arena = new MetadataArena();
    const [one, other] = [undefined, undefined].map(() => {
      const made = new TracingEventReceiver<number>({}, {}, [], { relay: new RelayLog(), arena });
      made.receive(callSite(1));
      return made;
    }) as [TracingEventReceiver<number>, TracingEventReceiver<number>];
    expect(arena.stats).toMatchObject({ callSites: 1, programs: 2 });
    one.persist();
    expect(arena.stats).toMatchObject({ callSites: 1, programs: 1 });
    other[Symbol.dispose]();
    expect(arena.stats).toEqual({ callSites: 0, stringUnits: 0, programs: 0 });
  });

  it("counts come out even, whatever is loaded, used and released", () => {
    const step = fc.tuple(fc.constantFrom("acquire", "release", "intern"), fc.nat(3), callSiteData);
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
        const arena = new MetadataArena();
        const holders = new Map<number, number>();
        for (const [action, program, data] of steps) {
          const held = holders.get(program) ?? 0;
          if (action === "acquire") {
            arena.acquire(program);
            holders.set(program, held + 1);
          } else if (action === "release") {
            arena.release(program);
            holders.set(program, Math.max(0, held - 1));
          } else if (held > 0) {
            arena.intern(program, data);
          }
          expect(arena.stats.programs).toBe([...holders.values()].filter((count) => count > 0).length);
        }
        for (const [program, count] of holders) for (let i = 0; i < count; i++) arena.release(program);
        expect(arena.stats).toEqual({ callSites: 0, stringUnits: 0, programs: 0 });
      }),
    );
  });
});

describe("TracingEventReceiver.persistMetadata()", () => {
  it("returns what it was given and what came since; the later definition of an id stands", () => {
    const given: PersistedMetadata = { 1: named("one"), "18446744073709551615": named("last") };
    const made = new TracingEventReceiver<number>(given, {}, [], { relay: new RelayLog() });
    made.receive(callSite(2, named("two")));
    made.receive(callSite(1, named("changed")));
    expect(made.persistMetadata()).toEqual({ ...given, 1: named("changed"), 2: named("two") });
    made.persist();
    expect(Object.keys(made.persistMetadata())).toEqual(["1", "2", "18446744073709551615"]);
  });

  it("is what another receiver knows spans by", () => {
    const first = receiver(new MetadataArena(), "p", SITE);
    const log = new RelayLog();
    const next = new TracingEventReceiver<number>(first.persistMetadata(), {}, [], { relay: log });
    expect(next.stats).toMatchObject({ events: 0, callSites: 1 });
    next.receive(newSpan(1, { a: { bool: true } }, undefined, 0));
    expect(log.take()).toEqual(["call site work", "new 1 work{a=true}"]);
  });
});

function sorted(data: CallSiteData): unknown {
  return Object.entries(data).sort(([a], [b]) => (a < b ? -1 : 1));
}
