import {
  type Codec,
  DEFAULT_LIMITS,
  DecodeError,
  isTunnelError,
  ReceiveError,
  TracedValues,
  type TracingEvent,
  type TunnelErrorCode,
} from "@spanduct/protocol";
import { json } from "@spanduct/protocol/json";
import { msgpack } from "@spanduct/protocol/msgpack";
import { protobuf } from "@spanduct/protocol/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { batch as arbitraryBatch } from "../../../test/support/arbitrary-events.ts";
import {
  batchOf,
  callSite,
  clone,
  drop,
  enter,
  event,
  exit,
  followsFrom,
  newSpan,
  record,
} from "../../../test/support/events.ts";
import { RelayLog } from "../../../test/support/relay-log.ts";
import { replay } from "../../../test/support/sink-calls.ts";
import { type ReceiverOptions, TracingEventReceiver } from "./index.ts";

const CODECS: readonly Codec[] = [protobuf, json, msgpack];

function open(options: Partial<ReceiverOptions<number>> = {}): { receiver: TracingEventReceiver<number>; log: RelayLog } {
  const log = new RelayLog();
  return { receiver: new TracingEventReceiver<number>({}, {}, [], { relay: log, ...options }), log };
}

/** What the relay is told of each event. */
function told(events: readonly TracingEvent[]): string[][] {
  const { receiver, log } = open();
  return events.map((one) => {
    receiver.receive(one);
    return log.take();
  });
}

describe("TracingEventReceiver.receive()", () => {
  it("tells the relay what each event means", () => {
    const events: [TracingEvent, string[]][] = [
      [callSite(1, { name: "work" }), ["call site work"]],
      [newSpan(1, { a: { string: "x" }, b: { float: 0.5 } }), ['new 1 work{a="x", b=0.5f}']],
      [enter(1), ["enter 1"]],
      [newSpan(2), ["new 2 work in 1"]],
      [newSpan(3, {}, 2), ["new 3 work under 2"]],
      [record(2, { a: { u_int: 1 }, undeclared: { bool: true } }), ["record 2 {a=1u}"]],
      [record(2, {}), ["record 2 "]],
      [followsFrom(2, 1), ["follows 2 1"]],
      [event({ a: { object: "debug" } }), ['event work{a=<"debug">} in 1']],
      [event({}, 2), ["event work under 2"]],
      [clone(2), []],
      [drop(2), []],
      [exit(1), ["exit 1"]],
      [drop(2), ["close 2"]],
      [event(), ["event work"]],
    ];
    expect(told(events.map(([one]) => one))).toEqual(events.map(([, lines]) => lines));
  });

  it("throws what tryReceive() returns", () => {
    const { receiver } = open();
    expect(() => receiver.receive(enter(1))).toThrow(ReceiveError);
    expect(() => receiver.receive(enter(1))).toThrow("[unknown_span_id] unknown span ID: 1");
    expect(() => receiver.receive({} as TracingEvent)).toThrow(DecodeError);
    expect(receiver.stats.refused).toEqual({ unknown_span_id: 2, malformed: 1 });
  });
});

describe("TracingEventReceiver.tryReceive() returns", () => {
  const { receiver } = open();
  receiver.receive(callSite(1));
  receiver.receive(newSpan(1));

  it.each<[string, unknown, TunnelErrorCode, object]>([
    ["malformed for what is no event", { span_entered: { id: "1" } }, "malformed", { offset: 0 }],
    ["malformed for an event that throws when it is read", hostileEvent(), "malformed", { offset: 0 }],
    ["unknown_metadata_id for a span of no known call site", newSpan(2, {}, 9, 7), "unknown_metadata_id", { id: 7 }],
    ["unknown_metadata_id for an event of no known call site", event({}, 9, 7), "unknown_metadata_id", { id: 7 }],
    ["unknown_span_id for a parent that does not exist", newSpan(2, {}, 9), "unknown_span_id", { id: 9 }],
    ["unknown_span_id for a span that is its own parent", newSpan(2, {}, 2), "unknown_span_id", { id: 2 }],
    ["unknown_span_id for what an event belongs to", event({}, 9), "unknown_span_id", { id: 9 }],
    ["unknown_span_id for an id beyond 2^53", enter(2n ** 64n - 1n), "unknown_span_id", { id: 2n ** 64n - 1n }],
    ["unknown_span_id for the first of two unknown ones", followsFrom(9, 8), "unknown_span_id", { id: 9 }],
    ["unknown_span_id for what is followed", followsFrom(1, 8), "unknown_span_id", { id: 8 }],
    ["unknown_span_id to record to", record(9, {}), "unknown_span_id", { id: 9 }],
    ["unknown_span_id to clone", clone(9), "unknown_span_id", { id: 9 }],
    ["unknown_span_id to drop", drop(9), "unknown_span_id", { id: 9 }],
    ["unknown_span_id to exit", exit(9), "unknown_span_id", { id: 9 }],
  ])("%s", (_, one, code, detail) => {
    const before = receiver.stats;
    expect(receiver.tryReceive(one as TracingEvent)).toMatchObject({ code, ...detail });
    expect(receiver.stats).toEqual({ ...before, refused: { ...before.refused, [code]: (before.refused[code] ?? 0) + 1 } });
  });

  it("nothing when all is well, also after an error", () => {
    expect(receiver.tryReceive(enter(9))).toBeDefined();
    expect(receiver.tryReceive(enter(1))).toBeUndefined();
  });
});

function hostileEvent(): unknown {
  return {
    get span_entered(): never {
      throw new Error("from the guest");
    },
  };
}

describe("Entered spans", () => {
  it("are a set: entered twice and exited once leaves nothing to exit", () => {
    const { receiver, log } = open();
    for (const one of [callSite(1), newSpan(1), enter(1), enter(1), exit(1)]) receiver.receive(one);
    log.take();
    receiver[Symbol.dispose]();
    expect(log.take()).toEqual(["rollback", "close 1"]);
  });

  it("keep their place when they are entered again", () => {
    const { receiver, log } = open();
    for (const one of [callSite(1), newSpan(1), newSpan(2), enter(1), enter(2), enter(1), event()]) receiver.receive(one);
    expect(log.take().at(-1)).toBe("event site 1 in 2");
  });

  it("that close are left without an exit, and what is inside of them stays inside of the rest", () => {
    const { receiver, log } = open();
    for (const one of [callSite(1), newSpan(1), newSpan(2), enter(1), enter(2), drop(2), event()]) receiver.receive(one);
    expect(log.take().slice(-2)).toEqual(["close 2", "event site 1 in 1"]);
    expect(receiver.tryReceive(exit(2))?.code).toBe("unknown_span_id");
    receiver.persist();
    expect(log.take()).toEqual(["suspend", "exit 1", "commit"]);
  });

  it("may be left in any order, and spans that were never entered may be left", () => {
    const { receiver, log } = open();
    for (const one of [callSite(1), ...[1, 2, 3, 4].map((id) => newSpan(id)), enter(1), enter(2), enter(3)])
      receiver.receive(one);
    log.take();
    for (const one of [exit(2), event(), exit(3), event(), exit(4), exit(1), event()]) receiver.receive(one);
    expect(log.take()).toEqual([
      "exit 2",
      "event site 1 in 3",
      "exit 3",
      "event site 1 in 1",
      "exit 4",
      "exit 1",
      "event site 1",
    ]);
  });

  it("100,000 deep are entered, left from the bottom, persisted and rolled back one by one", () => {
    const count = 100_000;
    const ids = Array.from({ length: count }, (_, id) => id);
    for (const end of ["exit", "persist", "roll back"] as const) {
      const calls = { newSpan: 0, enter: 0, exit: 0, tryClose: 0 };
      const relay = Object.assign(new RelayLog(), {
        newSpan: () => ++calls.newSpan,
        enter: () => calls.enter++,
        exit: () => calls.exit++,
        tryClose: () => calls.tryClose++,
      });
      const receiver = new TracingEventReceiver<number>({}, {}, [], { relay });
      receiver.receive(callSite(1));
      const none = new TracedValues();
      for (const id of ids) {
        receiver.newSpan(id, undefined, 1, none, undefined);
        receiver.spanEntered(id, undefined);
      }
      expect(receiver.stats.liveSpans).toBe(count);
      if (end === "exit") for (const id of ids) receiver.spanExited(id, undefined);
      if (end === "roll back") receiver[Symbol.dispose]();
      else expect(Object.keys(receiver.persist().spans)).toHaveLength(count);
      expect(calls).toEqual({ newSpan: count, enter: count, exit: count, tryClose: end === "roll back" ? count : 0 });
    }
  });
});

describe("A rollback", () => {
  it("exits what is entered and closes what this attempt opened, innermost first", () => {
    const { receiver, log } = open();
    for (const one of [callSite(1), newSpan(1), enter(1), newSpan(2), newSpan(3), enter(3), drop(2)]) receiver.receive(one);
    log.take();
    receiver[Symbol.dispose]();
    expect(log.take()).toEqual(["rollback", "exit 3", "exit 1", "close 3", "close 1"]);
  });

  it("happens at the end of a block that is left before the commit", () => {
    const { receiver, log } = open();
    expect(() => {
      using execution = receiver;
      execution.receive(callSite(1));
      execution.receive(enter(1));
    }).toThrow("unknown_span_id");
    expect(log.take()).toEqual(["call site site 1", "rollback"]);
  });

  it("does not happen after a commit", () => {
    const { receiver, log } = open();
    {
      using execution = receiver;
      for (const one of [callSite(1), newSpan(1)]) execution.receive(one);
      execution.persist();
    }
    expect(log.take().slice(-2)).toEqual(["suspend", "commit"]);
  });
});

describe("A span that is opened under the number of another", () => {
  it("takes its place: values, call site and handles are the new ones, the relay's span stays", () => {
    const { receiver, log } = open();
    for (const one of [callSite(1), callSite(2), newSpan(1, { a: { int: 1 } }), clone(1), newSpan(1, { b: { int: 2 } }, 7, 2)]) {
      receiver.receive(one);
    }
    expect(log.take().slice(2)).toEqual(["new 1 site 1{a=1}"]);
    const { spans } = receiver.persist();
    expect(spans).toEqual({ 1: { metadata_id: 2, parent_id: 7, ref_count: 1, values: { b: { int: 2 } } } });
  });
});

describe("Values that come by index and by name", () => {
  const names = ["a", "b", "a", "__proto__"];

  function recorded(keys: readonly (number | string)[], fields: readonly string[] = [], declared = names): string[] {
    const { receiver, log } = open();
    receiver.receive(callSite(1, { fields: declared }));
    log.take();
    const kinds = keys.map(() => 2 as const);
    receiver.newEvent(1, undefined, { fields, keys, kinds, raws: keys.map((_, i) => i), size: keys.length }, undefined);
    return log.take();
  }

  it("are one value where they mean one name: the first place, the last value", () => {
    expect(recorded([0, 1, 2])).toEqual(["event site 1{a=2, b=1}"]);
    expect(recorded(["b", 0, 1])).toEqual(["event site 1{b=2, a=1}"]);
    expect(recorded([3, "__proto__"])).toEqual(["event site 1{__proto__=1}"]);
  });

  it("mean the fields that the sender gives with them, if it does", () => {
    expect(recorded([0, 1], ["b", "undeclared"])).toEqual(["event site 1{b=0}"]);
    expect(recorded([0, 1], ["b", "a"], ["a", "b"])).toEqual(["event site 1{b=0, a=1}"]);
  });

  it("are refused where they mean no field", () => {
    for (const key of [4, 2 ** 32 - 1]) expect(recorded([0, key])).toEqual([]);
  });

  it("stay apart from the values of the event before", () => {
    const { receiver, log } = open();
    for (const one of [
      callSite(1),
      event({ a: { int: 1 }, b: { int: 2 }, c: { int: 3 } }),
      event({ c: { int: 4 } }),
      event({}),
    ]) {
      receiver.receive(one);
    }
    expect(log.take().slice(1)).toEqual(["event site 1{a=1, b=2}", "event site 1", "event site 1"]);
  });
});

describe.each(CODECS)("TracingEventReceiver.receiveBatch() with codec $name", (codec) => {
  const CODES: readonly TunnelErrorCode[] = [
    "malformed",
    "limit_exceeded",
    "unsupported_version",
    "too_many_values",
    "unknown_metadata_id",
    "unknown_span_id",
    "unknown_field",
    "duplicate_batch",
  ];

  /** Hands in each of `batches`; whatever they are, the receiver answers, counts, and goes on. */
  function survive(batches: readonly Uint8Array[]): void {
    const errors: unknown[] = [];
    const { receiver, log } = open({ codec, onError: (error) => errors.push(error) });
    for (const batch of batches) expect(Number.isInteger(receiver.receiveBatch(batch))).toBe(true);
    expect(errors.length).toBeLessThanOrEqual(16 * batches.length);
    for (const error of errors) expect(isTunnelError(error) && CODES.includes(error.code)).toBe(true);
    const { batches: count, bytes, refused, events } = receiver.stats;
    expect([count, bytes]).toEqual([batches.length, batches.reduce((sum, { length }) => sum + length, 0)]);
    const refusals = Object.values(refused).reduce((sum, one) => sum + one, 0);
    expect(refusals === errors.length || errors.length >= 16).toBe(true);
    expect(Object.keys(refused).every((code) => (CODES as readonly string[]).includes(code))).toBe(true);
    expect(Number.isInteger(events)).toBe(true);
    log.take();
    receiver.receive(callSite(2n ** 64n - 1n, { name: "still here", fields: [] }));
    receiver.receive(event({}, undefined, 2n ** 64n - 1n));
    expect(log.take().at(-1)).toMatch(/^event still here/);
    receiver.persist();
  }

  it("never throws because of what the bytes are: random bytes", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }), (batches) => {
        survive(batches);
      }),
    );
  });

  it("never throws because of what the bytes are: batches with some bytes changed, cut, or put together", () => {
    const change = fc.tuple(fc.nat(), fc.nat(255));
    const damaged = fc.tuple(arbitraryBatch, fc.array(change, { maxLength: 4 }), fc.option(fc.nat(), { freq: 3 }));
    fc.assert(
      fc.property(fc.array(damaged, { maxLength: 3 }), (parts) => {
        survive(
          parts.map(([calls, changes, cut]) => {
            const encoder = codec.createEncoder();
            replay(calls, encoder);
            const bytes = encoder.finish().slice();
            for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
            return cut === null ? bytes : bytes.slice(0, cut % bytes.length);
          }),
        );
      }),
    );
  });

  it("counts batches, bytes, events and refusals", () => {
    const { receiver } = open({ codec });
    const first = batchOf(codec, [callSite(1), newSpan(1), enter(9), newSpan(2, {}, 1), drop(2)]);
    const second = batchOf(codec, [event({}, 9), event({}, undefined, 9)], { sequence: 1, droppedEvents: 2 });
    receiver.receiveBatch(first);
    receiver.receiveBatch(second);
    expect(receiver.stats).toEqual({
      events: 4,
      batches: 2,
      bytes: first.length + second.length,
      refused: { unknown_span_id: 2, unknown_metadata_id: 1 },
      lostBatches: 0,
      droppedEvents: 2,
      liveSpans: 1,
      callSites: 1,
    });
  });

  it("borrows the bytes: what the guest does to them afterwards changes nothing", () => {
    const { receiver } = open({ codec });
    const values = { a: { string: "x".repeat(100) }, undeclared: { string: "y" } };
    const bytes = batchOf(codec, [callSite(1), newSpan(1, values)]);
    receiver.receiveBatch(bytes);
    bytes.fill(0x20);
    expect(receiver.persist().spans["1"]?.values).toEqual(values);
  });
});

describe("TracingEventReceiver.stats", () => {
  it("is a copy: what is done to it changes nothing", () => {
    const { receiver } = open();
    receiver.tryReceive(enter(1));
    const { refused } = receiver.stats as { refused: { [code: string]: number } };
    refused["unknown_span_id"] = 99;
    expect(receiver.stats.refused).toEqual({ unknown_span_id: 1 });
  });

  it("does not count the call sites of a restored receiver as events", () => {
    const { receiver } = open();
    receiver.receive(callSite(1));
    const next = new TracingEventReceiver<number>(receiver.persistMetadata(), {}, [], { relay: new RelayLog() });
    expect(next.stats).toMatchObject({ events: 0, callSites: 1, refused: {} });
  });

  it("uses the default limits where none are given", () => {
    const { receiver } = open();
    receiver.receive(callSite(1));
    const values = Object.fromEntries(
      Array.from({ length: DEFAULT_LIMITS.maxValuesPerRecord + 1 }, (_, i) => [`n${i}`, { int: i }]),
    );
    expect(receiver.tryReceive(newSpan(1, values))).toMatchObject({ code: "too_many_values", max: 32, actual: 33 });
  });
});
