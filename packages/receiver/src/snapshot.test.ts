import {
  isTunnelError,
  type PersistedMetadata,
  type PersistedSpan,
  type PersistedSpans,
  type TracedValue,
} from "@spanduct/protocol";
import { parseMetadata, parseSpans, printState } from "@spanduct/protocol/json";
import { describe, expect, it } from "vitest";
import { HOSTILE_NAMES } from "../../../test/support/arbitrary-events.ts";
import {
  callSite,
  clone,
  drop,
  enter,
  event,
  exit,
  followsFrom,
  newSpan,
  record,
  valueMap,
} from "../../../test/support/events.ts";
import { RelayLog, RestoringRelayLog } from "../../../test/support/relay-log.ts";
import { errorChain } from "../../../test/support/sink-calls.ts";
import { type LocalSpans, MetadataArena, TracingEventReceiver } from "./index.ts";

const SITE = { kind: "span", name: "work", target: "app", level: "info", fields: ["a", "b"] } as const;
const SPAN: PersistedSpan = { metadata_id: 1, ref_count: 1, values: {} };
const METADATA: PersistedMetadata = { 1: SITE };

function restore(
  spans: PersistedSpans,
  { metadata = METADATA, local = [], relay = new RelayLog() }: Partial<Restored> = {},
): { receiver: TracingEventReceiver<number>; log: RelayLog } {
  const receiver = new TracingEventReceiver<number>(metadata, spans, local, { relay });
  return { receiver, log: relay };
}

interface Restored {
  readonly metadata: PersistedMetadata;
  readonly local: LocalSpans<number>;
  readonly relay: RelayLog;
}

interface Attempt {
  readonly spans: PersistedSpans;
  readonly metadata: PersistedMetadata;
  readonly local: LocalSpans<number>;
}

/** The entries as JSON brings them, where `__proto__` is a key like any other. */
function fromJson<T>(text: string): T {
  return JSON.parse(text) as T;
}

/** Why the state is refused. */
function refusal(metadata: unknown, spans: unknown): string {
  const arena = new MetadataArena();
  const relay = new RestoringRelayLog();
  try {
    new TracingEventReceiver<number>(metadata as PersistedMetadata, spans as PersistedSpans, [], { relay, arena });
  } catch (error) {
    expect(isTunnelError(error) && error.code).toBe("snapshot_mismatch");
    // Nothing is held, nothing was told.
    expect(arena.stats).toEqual({ callSites: 0, stringUnits: 0, programs: 0 });
    expect(relay.lines).toEqual([]);
    return (error as Error).message;
  }
  throw new Error("it was accepted");
}

const revoked = Proxy.revocable({}, {});
revoked.revoke();

const cyclic = { message: "m", source: null as unknown };
cyclic.source = cyclic;

const throwing = {
  get metadata_id(): number {
    throw new Error("a getter");
  },
};

describe("new TracingEventReceiver() refuses as snapshot_mismatch", () => {
  it.each<[string, unknown]>([
    ["no object", undefined],
    ["null", null],
    ["text", "{}"],
    ["a list", [SPAN]],
    ["a map", new Proxy(revoked.proxy, {})],
    ["a key that is no id", { one: SPAN }],
    ["an empty key", { "": SPAN }],
    ["a negative id", { "-1": SPAN }],
    ["an id with a leading zero", { "01": SPAN }],
    ["an id beyond 64 bits", { "18446744073709551616": SPAN }],
    ["__proto__ as id", fromJson('{"__proto__":{"metadata_id":1,"ref_count":1,"values":{}}}')],
    ["constructor as id", { constructor: SPAN }],
    ["a span that is null", { 1: null }],
    ["a span that is a list", { 1: [] }],
    ["a span that is text", { 1: "span" }],
    ["a span that throws when it is read", { 1: throwing }],
    ["a span that inherits everything", { 1: Object.create(SPAN) as unknown }],
    ...bad("metadata_id", [undefined, null, "1", 1.5, -1, 2 ** 53, 2n ** 64n, -1n]),
    ...bad("parent_id", ["1", 1.5, -1, 2 ** 53, 2n ** 64n]),
    ...bad("ref_count", [undefined, null, 0, -1, 1.5, 2 ** 53, "1", Number.NaN, 0n, 2n ** 64n]),
    ...bad("entered", [0, -1, 1.5, "1", true]),
    ...bad("values", [undefined, null, [], "a", { a: null }, { a: 1 }, { a: {} }, { a: { bool: true, int: 1 } }]),
    ...value({ bool: 1 }, { bool: null }, { int: 1.5 }, { int: "1" }, { int: 2n ** 127n }, { u_int: -1 }, { u_int: 2n ** 128n }),
    ...value({ float: "1" }, { string: 1 }, { object: null }, { bytes: [] }, { error: null }, { error: {} }, { error: "m" }),
    ...value({ error: { message: 1, source: null } }, { error: { message: "m", source: { source: null } } }),
    ...value({ error: { message: "m", source: null, type: 1 } }, { error: cyclic }, { error: errorChain(129) }),
    ...value(Object.create({ bool: true })),
  ])("spans with %s", (_, spans) => {
    refusal(METADATA, spans);
  });

  it.each<[string, unknown]>([
    ["no object", undefined],
    ["a list", [SITE]],
    ["a key that is no id", { work: SITE }],
    ["__proto__ as id", fromJson(`{"__proto__":${JSON.stringify(SITE)}}`)],
    ["a call site that is null", { 1: null }],
    ["a call site that inherits everything", { 1: Object.create(SITE) as unknown }],
    ...badSite("kind", [undefined, "Span", 1]),
    ...badSite("name", [undefined, null, 1]),
    ...badSite("target", [undefined, null, {}]),
    ...badSite("level", [undefined, "off", "INFO", "constructor", 3]),
    ...badSite("module_path", [1, {}]),
    ...badSite("file", [1, []]),
    ...badSite("line", [-1, 1.5, "1", 2 ** 32]),
    ...badSite("fields", [undefined, null, "a", {}, [1], ["a", null]]),
  ])("call sites with %s", (_, metadata) => {
    refusal(metadata, {});
  });

  it("and says what is wrong where", () => {
    expect(refusal(METADATA, { 7: { ...SPAN, ref_count: 0 } })).toBe(
      "[snapshot_mismatch] persisted span 7: ref_count is out of range at offset 0",
    );
    expect(refusal({ 1: SITE, x: SITE }, {})).toBe('[snapshot_mismatch] persisted call sites: "x" is not an id at offset 0');
    expect(refusal(METADATA, { 3: throwing })).toBe("[snapshot_mismatch] persisted span 3: it threw when it was read (object)");
  });
});

function bad(key: string, values: readonly unknown[]): [string, unknown][] {
  return values.map((one) => [`${key} ${String(one)}`, { 1: { ...SPAN, [key]: one } }]);
}

function badSite(key: string, values: readonly unknown[]): [string, unknown][] {
  return values.map((one) => [`${key} ${String(one)}`, { 1: { ...SITE, [key]: one } }]);
}

function value(...values: readonly object[]): [string, unknown][] {
  return values.map((one) => [`the value ${Object.keys(one)[0]}`, { 1: { ...SPAN, values: { a: one } } }]);
}

describe("new TracingEventReceiver() takes over", () => {
  it("the crate's state, which writes null for what is absent", () => {
    const site = { ...SITE, module_path: null, file: null, line: null } as unknown as typeof SITE;
    const spans = { 3: { ...SPAN, parent_id: null }, 4: { ...SPAN, parent_id: 3 } } as unknown as PersistedSpans;
    const { receiver } = restore(spans, { metadata: { 1: site } });
    expect(receiver.persistMetadata()).toEqual(METADATA);
    expect(receiver.persist().spans).toEqual({ 3: SPAN, 4: { ...SPAN, parent_id: 3 } });
  });

  it("integers as bigint or number, ids of any size, chains of 122 errors, more values than one record may have", () => {
    const values: [string, TracedValue][] = Array.from({ length: 40 }, (_, i) => [`n${i}`, { int: BigInt(i) }]);
    const spans = {
      "18446744073709551615": {
        ...SPAN,
        metadata_id: 2n ** 63n,
        values: valueMap([...values, ["e", { error: errorChain(122) }]]),
      },
    };
    const { receiver } = restore(spans, { metadata: { [String(2n ** 63n)]: SITE } });
    const [id, span] = Object.entries(receiver.persist().spans)[0] ?? [];
    expect(id).toBe("18446744073709551615");
    expect(span?.metadata_id).toBe(2n ** 63n);
    expect(span?.values["n7"]).toEqual({ int: 7 });
    expect(span?.values["e"]).toEqual({ error: errorChain(122) });
  });

  it("a copy: what the host does with its state afterwards changes nothing", () => {
    const error = { message: "before", source: null };
    const spans = { 1: { ...SPAN, values: { a: { error } } as { [name: string]: TracedValue } } };
    const { receiver } = restore(spans);
    error.message = "after";
    spans[1].values["b"] = { bool: true };
    expect(receiver.persist().spans).toEqual({ 1: { ...SPAN, values: { a: { error: { message: "before", source: null } } } } });
  });

  it("only what state itself says: nothing is inherited, not even from a polluted Object.prototype", () => {
    const inherited = Object.create({ 9: SPAN }) as PersistedSpans;
    expect(restore(inherited).receiver.stats.liveSpans).toBe(0);
    const polluted = Object.prototype as { [key: string]: unknown };
    try {
      polluted["entered"] = 1;
      polluted["relay"] = { span: 7 };
      polluted["parent_id"] = 9;
      const relay = new RestoringRelayLog();
      const { receiver } = restore({ 1: SPAN }, { relay });
      expect(relay.take()).toEqual(["call site work", "restore 1 work local - saved -"]);
      receiver.receive(event());
      expect(relay.take()).toEqual(["event work"]);
    } finally {
      for (const key of ["entered", "relay", "parent_id"]) delete polluted[key];
    }
  });

  it("spans whose call site is not known, until they are needed", () => {
    const { receiver, log } = restore({ 1: SPAN }, { metadata: {} });
    expect(receiver.tryReceive(enter(1))).toMatchObject({ code: "unknown_metadata_id", id: 1 });
    receiver.receive(callSite(1, SITE));
    receiver.receive(enter(1));
    expect(log.take()).toEqual(["call site work", "new 1 work", "enter 1"]);
  });
});

describe("A restored receiver", () => {
  /** One execution up to its first commit, with spans 2 and 1 entered, 3 open. */
  function firstAttempt(relay: RelayLog): Attempt {
    const receiver = new TracingEventReceiver<number>({}, {}, [], { relay });
    const events = [
      callSite(1, SITE),
      newSpan(1, { a: { int: 1 } }),
      newSpan(2, {}, 1),
      newSpan(3),
      clone(3),
      enter(2),
      enter(1),
      record(3, { b: { bool: true }, undeclared: { bool: true } }),
    ];
    for (const one of events) receiver.receive(one);
    const metadata = receiver.persistMetadata();
    const { spans, localSpans } = receiver.persist();
    relay.take();
    return { metadata, spans, local: [...localSpans] };
  }

  it("keeps what the guest is inside of: the contextual parent is what it was", () => {
    const relay = new RelayLog();
    const { receiver, log } = goOn(firstAttempt(relay), relay);
    for (const one of [event(), exit(1), event(), newSpan(4), exit(2), event()]) receiver.receive(one);
    expect(log.take()).toEqual(["event work in 1", "exit 1", "event work in 2", "new 4 work in 2", "exit 2", "event work"]);
  });

  it("dispatches the exit that the guest still has to make, and none of its own before the guest is inside again", () => {
    const relay = new RelayLog();
    const state = firstAttempt(relay);
    const { receiver } = goOn(state, relay);
    receiver.receive(exit(1));
    expect(receiver.persist().spans).toEqual({
      ...state.spans,
      1: { ...state.spans[1], entered: undefined },
      2: { ...state.spans[2], entered: 1 },
    });
    expect(relay.take()).toEqual(["exit 1", "suspend", "commit"]);
  });

  it("writes down again what it was given, and local spans too", () => {
    const relay = new RestoringRelayLog();
    const state = firstAttempt(relay);
    const { receiver } = goOn(state, relay);
    expect(receiver.persistMetadata()).toEqual(state.metadata);
    const { spans, localSpans } = receiver.persist();
    expect(spans).toEqual(state.spans);
    expect([...localSpans]).toEqual(state.local);
    expect(spans).toEqual({
      1: { metadata_id: 1, ref_count: 1, values: { a: { int: 1 } }, entered: 2, relay: { span: 1 } },
      2: { metadata_id: 1, parent_id: 1, ref_count: 1, values: {}, entered: 1, relay: { span: 2 } },
      3: { metadata_id: 1, ref_count: 2, values: { b: { bool: true }, undeclared: { bool: true } }, relay: { span: 3 } },
    });
  });

  it("rolls back to what it was given: the same state serves the next attempt", () => {
    const relay = new RelayLog();
    const state = firstAttempt(relay);
    for (let attempt = 0; attempt < 2; attempt++) {
      const { receiver } = goOn(state, relay);
      for (const one of [exit(1), drop(2), newSpan(4), enter(4)]) receiver.receive(one);
      receiver[Symbol.dispose]();
      const span = 4 + attempt;
      expect(relay.take()).toEqual([
        "exit 1",
        "close 2",
        `new ${span} work`,
        `enter ${span}`,
        "rollback",
        `exit ${span}`,
        `close ${span}`,
      ]);
    }
  });

  it("without local spans makes them anew when the guest enters them, with all their values", () => {
    const { receiver, log } = goOn({ ...firstAttempt(new RelayLog()), local: [] }, new RelayLog());
    for (const one of [event(), event({}, 3), record(3, { a: { int: 2 } }), followsFrom(3, 1), exit(1), newSpan(4, {}, 3)]) {
      expect(receiver.tryReceive(one)).toBeUndefined();
    }
    expect(log.take()).toEqual(["event work", "event work", "new 1 work"]);
    for (const one of [enter(3), enter(2), drop(1)]) receiver.receive(one);
    expect(log.take()).toEqual(["new 2 work{b=true, a=2}", "enter 2", "new 3 work in 2", "enter 3"]);
  });

  it("cannot enter a lost span whose parent has closed", () => {
    const { receiver, log } = restore({ 2: { ...SPAN, parent_id: 1 } });
    log.take();
    expect(receiver.tryReceive(enter(2))).toMatchObject({ code: "unknown_span_id", id: 1 });
    expect(log.take()).toEqual([]);
    expect(receiver.persist().spans).toEqual({ 2: { ...SPAN, parent_id: 1 } });
  });

  it("knows a span that only the process remembers, but not how to record to it or close it", () => {
    const { receiver, log } = restore({}, { local: [[5, 50]] });
    expect(receiver.stats.liveSpans).toBe(1);
    log.take();
    for (const one of [enter(5), event(), followsFrom(5, 5), exit(5)]) expect(receiver.tryReceive(one)).toBeUndefined();
    expect(log.take()).toEqual(["enter 50", "event work in 50", "follows 50 50", "exit 50"]);
    for (const one of [record(5, {}), clone(5), drop(5)]) {
      expect(receiver.tryReceive(one)).toMatchObject({ code: "unknown_span_id", id: 5 });
    }
    receiver.receive(newSpan(5));
    receiver.receive(record(5, { a: { int: 1 } }));
    expect(log.take()).toEqual(["record 50 {a=1}"]);
    const { spans, localSpans } = receiver.persist();
    expect([Object.keys(spans), [...localSpans]]).toEqual([["5"], [[5, 50]]]);
  });

  it("takes what the process remembers from a map, a list or anything that can be walked through", () => {
    for (const local of [new Map([[1, 10]]), [[1, 10]] as const, new Map([[1, 10]]).entries()] satisfies LocalSpans<number>[]) {
      const { receiver, log } = restore({ 1: SPAN }, { local });
      receiver.receive(enter(1));
      expect(log.take().at(-1)).toBe("enter 10");
    }
  });
});

/** The next receiver of the execution; what it told the relay so far is taken. */
function goOn({ spans, metadata, local }: Attempt, relay: RelayLog): ReturnType<typeof restore> {
  const restored = restore(spans, { metadata, local, relay });
  relay.take();
  return restored;
}

describe("Names are data, whatever they are:", () => {
  const sites = HOSTILE_NAMES.map((name, position) =>
    callSite(position, { name, target: name, module_path: name, file: name, fields: [...HOSTILE_NAMES] }),
  );
  const values = valueMap(HOSTILE_NAMES.map((name) => [name, { string: name }] as const));

  function withHostileNames() {
    const receiver = new TracingEventReceiver<number>({}, {}, [], { relay: new RestoringRelayLog() });
    for (const one of sites) receiver.receive(one);
    receiver.receive(newSpan(1, values));
    receiver.receive(newSpan(2, {}, 1, 2));
    receiver.receive(record(2, values));
    const metadata = receiver.persistMetadata();
    return { metadata, ...receiver.persist() };
  }

  it("they are kept as they are in memory", () => {
    const { metadata, spans } = withHostileNames();
    expect(Object.values(metadata).map(({ name }) => name)).toEqual(HOSTILE_NAMES);
    for (const span of [spans["1"], spans["2"]]) {
      expect(Object.keys(span?.values ?? {}).sort()).toEqual([...HOSTILE_NAMES].sort());
      for (const name of HOSTILE_NAMES)
        expect(Object.getOwnPropertyDescriptor(span?.values, name)?.value).toEqual({ string: name });
    }
    expect(restore(spans, { metadata, relay: new RestoringRelayLog() }).receiver.persist().spans).toEqual(spans);
    expectCleanPrototypes();
  });

  it("they go through JSON text, where only lone surrogates become U+FFFD", () => {
    const { metadata, spans, localSpans } = withHostileNames();
    const wellFormed = new Set(HOSTILE_NAMES.map((name) => name.toWellFormed()));
    const read = { metadata: parseMetadata(printState(metadata)), spans: parseSpans(printState(spans)) };
    expect(Object.values(read.metadata).map(({ name }) => name)).toEqual(HOSTILE_NAMES.map((name) => name.toWellFormed()));
    expect(new Set(Object.keys(read.spans["1"]?.values ?? {}))).toEqual(wellFormed);

    const relay = new RestoringRelayLog();
    const { receiver } = restore(read.spans, { metadata: read.metadata, local: localSpans, relay });
    receiver.receive(enter(1));
    expect(printState(receiver.persistMetadata())).toBe(printState(metadata));
    expect(printState(receiver.persist().spans)).toBe(
      printState({ ...read.spans, 1: { ...read.spans["1"], entered: 1 } as PersistedSpan }),
    );
    expectCleanPrototypes();
  });

  it("state is maps without prototype, so that no name can reach one", () => {
    const { metadata, spans } = withHostileNames();
    for (const map of [metadata, spans, spans["1"]?.values]) expect(Object.getPrototypeOf(map)).toBe(null);
  });
});

function expectCleanPrototypes(): void {
  expect(Object.keys(Object.prototype)).toEqual([]);
  expect(({} as { string?: unknown }).string).toBeUndefined();
  expect(Object.getPrototypeOf({})).toBe(Object.prototype);
}
