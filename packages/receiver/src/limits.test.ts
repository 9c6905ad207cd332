import { controlWord, DEFAULT_LIMITS, type Id, type Limits, type TracingEvent, type TunnelError } from "@spanduct/protocol";
import { protobuf } from "@spanduct/protocol/protobuf";
import { describe, expect, it } from "vitest";
import {
  batchOf,
  callSite,
  drop,
  enter,
  event,
  exit,
  followsFrom,
  manyValues,
  newSpan,
  record,
} from "../../../test/support/events.ts";
import { RelayLog } from "../../../test/support/relay-log.ts";
import { errorChain } from "../../../test/support/sink-calls.ts";
import { MetadataArena, TracingEventReceiver } from "./index.ts";

interface Host {
  readonly receiver: TracingEventReceiver<number>;
  readonly log: RelayLog;
  readonly errors: TunnelError[];
}

function host(limits: Partial<Limits> = {}): Host {
  const log = new RelayLog();
  const errors: TunnelError[] = [];
  const receiver = new TracingEventReceiver<number>({}, {}, [], { relay: log, limits, onError: (error) => errors.push(error) });
  return { receiver, log, errors };
}

/** A value of 38 bytes under a name of one letter. */
const TEN = { string: "0123456789" } as const;

interface Budget {
  readonly limit: keyof Limits;
  readonly max: number;
  readonly code?: string;
  /** Uses the budget up. */
  readonly fits: readonly TracingEvent[];
  /** Each is one too many; `actual` is what the error says. */
  readonly over: readonly (readonly [event: TracingEvent, actual?: number])[];
  /** Goes on after that. */
  readonly after: readonly TracingEvent[];
}

const BUDGETS: readonly Budget[] = [
  {
    limit: "maxValuesPerRecord",
    max: 3,
    code: "too_many_values",
    fits: [callSite(1), newSpan(1, manyValues(3)), record(1, manyValues(3)), event(manyValues(3))],
    over: [
      [newSpan(2, manyValues(4)), 4],
      [record(1, manyValues(4)), 4],
      [event(manyValues(4)), 4],
    ],
    after: [newSpan(2), record(1, manyValues(2))],
  },
  {
    limit: "maxValuesPerSpan",
    max: 3,
    fits: [callSite(1), newSpan(1, { a: TEN }), record(1, { b: TEN, c: TEN }), newSpan(2, manyValues(3))],
    over: [
      [record(1, { a: TEN, d: TEN }), 4],
      [newSpan(3, manyValues(4)), 4],
    ],
    after: [record(1, { a: { bool: true } }), newSpan(3, manyValues(3))],
  },
  {
    limit: "maxSpanValueBytes",
    max: 76,
    fits: [callSite(1), newSpan(1, { a: TEN }), record(1, { b: TEN }), newSpan(2, { a: TEN, b: TEN })],
    over: [
      [record(1, { "": { bool: true } }), 92],
      [record(1, { b: { string: `${TEN.string}+` } }), 78],
      [record(2, { [`long ${"name".repeat(5)}`]: { bool: true } }), 142],
      [newSpan(3, { a: TEN, bb: TEN }), 78],
      [newSpan(2, { a: { error: errorChain(4) } }), 90],
    ],
    after: [record(1, { a: { bool: true } }), record(1, { b: { string: `${TEN.string}+` } }), newSpan(3, { a: TEN })],
  },
  {
    limit: "maxLiveValueBytes",
    max: 114,
    fits: [callSite(1), newSpan(1, { a: TEN, b: TEN }), newSpan(2, { a: TEN })],
    over: [
      [newSpan(3, { "": { bool: true } }), 130],
      [newSpan(2, { a: TEN, b: TEN }), 152],
      [record(1, { c: { bool: true } }), 132],
    ],
    after: [newSpan(3), drop(1), newSpan(4, { a: TEN, b: TEN }), newSpan(4), newSpan(5, { a: TEN, b: TEN })],
  },
  {
    limit: "maxCallSites",
    max: 2,
    fits: [callSite(1), callSite(2), callSite(2), newSpan(1)],
    over: [
      [callSite(3), 3],
      [callSite(1, { name: "changed" }), 3],
    ],
    after: [callSite(1), newSpan(2), event({}, 1, 2)],
  },
  {
    limit: "maxLiveSpans",
    max: 2,
    fits: [callSite(1), newSpan(1), newSpan(2n ** 64n - 1n)],
    over: [[newSpan(3), 3]],
    after: [newSpan(1), drop(1), newSpan(3)],
  },
  {
    limit: "maxLinksPerSpan",
    max: 2,
    fits: [callSite(1), newSpan(1), newSpan(2), followsFrom(1, 2), followsFrom(1, 1)],
    over: [[followsFrom(1, 2), 3]],
    after: [followsFrom(2, 1)],
  },
  {
    limit: "maxEventsPerSpan",
    max: 2,
    fits: [callSite(1), newSpan(1), newSpan(2), enter(1), event(), event({}, 1)],
    over: [
      [event(), 3],
      [event({}, 1), 3],
    ],
    after: [event({}, 2), exit(1), event(), event(), event()],
  },
  {
    limit: "maxFieldsPerCallSite",
    max: 2,
    fits: [callSite(1, { fields: ["a", "b"] })],
    over: [[callSite(2, { fields: ["a", "b", "c"] })]],
    after: [callSite(2, { fields: [] })],
  },
  {
    limit: "maxStringBytes",
    max: 6,
    fits: [callSite(1, { name: "ééé", fields: ["abcdef"] }), newSpan(1, { a: { string: "🦀bc" } })],
    over: [
      [callSite(1, { name: "éééa" })],
      [callSite(1, { fields: ["abcdefg"] })],
      [newSpan(1, { a: { string: "🦀bcd" } })],
      [newSpan(1, { a: { error: { message: "abcdefg", source: null } } })],
      [record(1, { abcdefg: { bool: true } })],
    ],
    after: [record(1, { abcdef: { bool: true } })],
  },
];

describe.each(BUDGETS)("TracingEventReceiver with $limit $max", ({ limit, max, code = "limit_exceeded", fits, over, after }) => {
  it("takes what fits and refuses what does not, as if it had never come", () => {
    const [asked, untouched] = [host({ [limit]: max }), host({ [limit]: max })];
    for (const one of fits)
      expect([asked, untouched].map(({ receiver }) => receiver.tryReceive(one))).toEqual([undefined, undefined]);
    for (const [one, actual] of over) {
      const error = asked.receiver.tryReceive(one);
      expect(error).toMatchObject({ code, ...(actual !== undefined && { max, actual }) });
      if (code === "limit_exceeded") expect(error?.message).toContain(`${limit} is ${max}`);
      if (code === "limit_exceeded" && actual !== undefined) expect(error).toMatchObject({ limit });
    }
    expect(asked.receiver.stats).toEqual({ ...untouched.receiver.stats, refused: { [code]: over.length } });
    for (const one of after)
      expect([asked, untouched].map(({ receiver }) => receiver.tryReceive(one))).toEqual([undefined, undefined]);
    expect(asked.log.lines).toEqual(untouched.log.lines);
    expect(asked.receiver.persistMetadata()).toEqual(untouched.receiver.persistMetadata());
    expect(asked.receiver.persist()).toEqual(untouched.receiver.persist());
  });

  it("does the same with batches of bytes, and goes on behind the refused event", () => {
    const [asked, untouched] = [host({ [limit]: max }), host({ [limit]: max })];
    asked.receiver.receiveBatch(batchOf(protobuf, [...fits, ...over.map(([one]) => one), ...after]));
    untouched.receiver.receiveBatch(batchOf(protobuf, [...fits, ...after]));
    expect(asked.errors.map((error) => error.code)).toEqual(over.map(() => code));
    expect(untouched.errors).toEqual([]);
    expect(asked.receiver.stats).toEqual({
      ...untouched.receiver.stats,
      bytes: asked.receiver.stats.bytes,
      refused: { [code]: over.length },
    });
    expect(asked.log.lines).toEqual(untouched.log.lines);
    expect(asked.receiver.persist()).toEqual(untouched.receiver.persist());
  });
});

describe("TracingEventReceiver", () => {
  it("tests every budget, and has a default for each", () => {
    const elsewhere = ["maxBatchBytes", "maxItemsPerBatch", "maxExecutionBytes", "maxErrorDepth"];
    expect([...BUDGETS.map(({ limit }) => limit), ...elsewhere].sort()).toEqual(Object.keys(DEFAULT_LIMITS).sort());
  });

  it("takes a batch of maxBatchBytes and refuses a longer one unread", () => {
    const batch = batchOf(protobuf, [callSite(1)]);
    const { receiver, errors, log } = host({ maxBatchBytes: batch.length });
    receiver.receiveBatch(batch);
    expect(errors).toEqual([]);
    receiver.receiveBatch(batchOf(protobuf, [callSite(1), newSpan(1)], { sequence: 1 }));
    expect(errors).toMatchObject([{ code: "limit_exceeded", limit: "maxBatchBytes", max: batch.length }]);
    receiver.receiveBatch(batchOf(protobuf, [callSite(2)]));
    expect(receiver.stats).toMatchObject({ batches: 2, bytes: 2 * batch.length, events: 2, refused: { limit_exceeded: 1 } });
    expect(log.lines.filter((line) => line.startsWith("call site"))).toEqual(["call site site 1", "call site site 2"]);
  });

  it("takes maxItemsPerBatch of a batch, and nothing of it beyond", () => {
    const { receiver, errors } = host({ maxItemsPerBatch: 2 });
    receiver.receiveBatch(batchOf(protobuf, [callSite(1, { fields: [] }), newSpan(1)]));
    expect(errors).toEqual([]);
    receiver.receiveBatch(batchOf(protobuf, [newSpan(2), newSpan(3), newSpan(4), newSpan(5)], { sequence: 1 }));
    expect(errors).toMatchObject([{ name: "DecodeError", code: "limit_exceeded" }]);
    expect(errors[0]?.reason).toContain("maxItemsPerBatch is 2");
    receiver.receiveBatch(batchOf(protobuf, [newSpan(6)], { sequence: 2 }));
    expect(receiver.stats).toMatchObject({ batches: 3, events: 5, refused: { limit_exceeded: 1 } });
    expect(Object.keys(receiver.persist().spans)).toEqual(["1", "2", "3", "6"]);
  });

  it("takes maxExecutionBytes in all and nothing beyond, and tells the guest to be silent", () => {
    const [first, second] = [batchOf(protobuf, [callSite(1)]), batchOf(protobuf, [newSpan(1)], { sequence: 1 })];
    const { receiver, errors } = host({ maxExecutionBytes: first.length + second.length });
    receiver.receiveBatch(first);
    receiver.receiveBatch(second);
    expect(errors).toEqual([]);
    const third = batchOf(protobuf, [], { sequence: 2 });
    expect(receiver.control()).toBe(controlWord(5, false));
    expect(receiver.receiveBatch(third)).toBe(controlWord(0, false));
    expect(receiver.maxLevel).toBe(0);
    const [max, actual] = [first.length + second.length, first.length + second.length + third.length];
    expect(errors).toMatchObject([{ code: "limit_exceeded", limit: "maxExecutionBytes", max, actual }]);
    expect(receiver.stats).toMatchObject({ batches: 2, bytes: max, events: 2, liveSpans: 1 });
    expect(Object.keys(receiver.persist().spans)).toEqual(["1"]);
  });

  it("keeps maxErrorDepth errors of a chain and says how many there were more", () => {
    for (const depth of [3, 4]) {
      const { receiver } = host({ maxErrorDepth: 3 });
      receiver.receiveBatch(batchOf(protobuf, [callSite(1), newSpan(1, { a: { error: errorChain(depth) } })]));
      const last = depth === 3 ? { message: "3", source: null } : { message: "3", source: null, omitted: 1 };
      expect(receiver.persist().spans["1"]?.values["a"]).toEqual({
        error: { message: "1", source: { message: "2", source: last } },
      });
    }
  });

  it("bounds what a guest makes it keep, however it goes about it", () => {
    const { receiver, errors } = host({ maxLiveSpans: 100, maxSpanValueBytes: 1000, maxLiveValueBytes: 5000, maxCallSites: 10 });
    const big = (length: number) => ({ string: "x".repeat(length) });
    for (let i = 0; i < 1000; i++) {
      receiver.receiveBatch(
        batchOf(
          protobuf,
          [
            callSite(i % 20, { name: `${i}` }),
            newSpan(i, { a: big(i % 600) }, undefined, i % 10),
            record(i, { [`${"name".repeat(i % 100)}`]: big(100) }),
            record(i - (i % 7), { a: big(i % 50), b: big(i % 500) }),
            enter(i),
            followsFrom(i, i),
          ],
          { sequence: i },
        ),
      );
    }
    const { callSites, liveSpans } = receiver.stats;
    expect(callSites).toBeLessThanOrEqual(10);
    expect(liveSpans).toBeLessThanOrEqual(100);
    expect(errors.length).toBeGreaterThan(1000);
    const { spans } = receiver.persist();
    const bytes = Object.values(spans).map(({ values }) =>
      Object.entries(values).reduce((sum, [name, value]) => {
        return sum + 16 + 2 * (name.length + ("string" in value ? value.string.length : 0));
      }, 0),
    );
    expect(Math.max(...bytes)).toBeLessThanOrEqual(1000);
    expect(bytes.reduce((sum, one) => sum + one, 0)).toBeLessThanOrEqual(5000);
    expect(bytes.reduce((sum, one) => sum + one, 0)).toBeGreaterThan(4000);
  });

  it("lets restored spans stay above budgets, and shrink, but not grow", () => {
    const values = { a: { string: "x".repeat(100) }, b: TEN, c: TEN };
    const limits = { maxValuesPerSpan: 2, maxSpanValueBytes: 200, maxLiveValueBytes: 300, maxLiveSpans: 1 };
    const span = { metadata_id: 1, ref_count: 1, values };
    const site = { kind: "span", name: "work", target: "app", level: "info", fields: ["a", "b", "c"] } as const;
    const receiver = new TracingEventReceiver<number>({ 1: site }, { 1: span, 2: span }, [], { relay: new RelayLog(), limits });
    const refusals = (...events: TracingEvent[]) => events.map((one) => receiver.tryReceive(one)?.reason.split(" ")[0]);
    expect(refusals(record(1, { d: { bool: true } }), record(1, { a: { string: "x".repeat(101) } }), newSpan(3))).toEqual([
      "maxValuesPerSpan",
      "maxSpanValueBytes",
      "maxLiveSpans",
    ]);
    expect(
      refusals(record(1, { a: { string: "x".repeat(99) } }), record(1, { a: TEN }), record(1, { b: { bool: true } })),
    ).toEqual([undefined, undefined, undefined]);
    expect(refusals(record(1, { c: { string: "x".repeat(20) } }), drop(2), record(1, { c: { string: "x".repeat(20) } }))).toEqual(
      ["maxLiveValueBytes", undefined, undefined],
    );
  });

  it("tells onError at most 16 times a batch and counts all", () => {
    const { receiver, errors } = host();
    const bad = Array.from({ length: 100 }, (_, i) => enter(i));
    receiver.receiveBatch(batchOf(protobuf, [...bad, callSite(1)]));
    expect(errors.map((error) => "id" in error && error.id)).toEqual(Array.from({ length: 16 }, (_, i) => i));
    expect(receiver.stats).toMatchObject({ events: 1, refused: { unknown_span_id: 100 } });
    receiver.receiveBatch(batchOf(protobuf, bad, { sequence: 1 }));
    expect(errors).toHaveLength(32);
    for (const one of bad) receiver.tryReceive(one);
    expect(errors).toHaveLength(132);
    expect(receiver.stats.refused).toEqual({ unknown_span_id: 300 });
  });

  it("counts as one batch what a sender drives into it between two control words", () => {
    const { receiver, errors } = host();
    for (let i = 0; i < 100; i++) receiver.spanEntered(i, undefined);
    expect(errors).toHaveLength(16);
    receiver.control();
    for (let i = 0; i < 100; i++) receiver.spanEntered(i, undefined);
    expect(errors).toHaveLength(32);
    receiver.receiveBatch(batchOf(protobuf, [enter(1)]));
    expect(errors).toHaveLength(33);
    expect(receiver.stats.refused).toEqual({ unknown_span_id: 201 });
  });

  it("refuses call sites that the arena has no room for, and goes on with those it knows", () => {
    const arena = new MetadataArena({ maxCallSites: 2, maxProgramShare: 1 });
    const log = new RelayLog();
    const receiver = new TracingEventReceiver<number>({}, {}, [], { relay: log, arena });
    const ids: Id[] = [1, 2, 3, 1];
    expect(ids.map((id) => receiver.tryReceive(callSite(id))?.code)).toEqual([undefined, undefined, "limit_exceeded", undefined]);
    expect([1, 3].map((site) => receiver.tryReceive(newSpan(site, {}, undefined, site))?.code)).toEqual([
      undefined,
      "unknown_metadata_id",
    ]);
    expect(receiver.stats).toMatchObject({ callSites: 2, refused: { limit_exceeded: 1, unknown_metadata_id: 1 } });
  });
});
