import { type Codec, type EventTime, type TracingEvent, toValueMap, type ValueColumns } from "@spanduct/protocol";
import { json } from "@spanduct/protocol/json";
import { protobuf } from "@spanduct/protocol/protobuf";
import { describe, expect, it } from "vitest";
import { batchOf, callSite, drop, event, newSpan, record } from "../../../test/support/events.ts";
import { RelayLog } from "../../../test/support/relay-log.ts";
import { type CallSite, MetadataArena, type Parent, type ReceiverOptions, TracingEventReceiver } from "./index.ts";

/** Receivers of one host. */
function host(): (options?: Partial<ReceiverOptions<number>>) => { receiver: TracingEventReceiver<number>; log: RelayLog } {
  const arena = new MetadataArena();
  return (options = {}) => {
    const log = new RelayLog();
    return { receiver: new TracingEventReceiver<number>({}, {}, [], { relay: log, arena, program: "p", ...options }), log };
  };
}

describe("receivers of one arena", () => {
  it("keep their spans and values apart, whoever's batch comes next", () => {
    const receiverOf = host();
    const hosts = Array.from({ length: 5 }, () => receiverOf());
    let sequence = 0;
    const send = (events: (i: number) => TracingEvent[]): void => {
      for (const [i, { receiver }] of hosts.entries()) receiver.receiveBatch(batchOf(protobuf, events(i), { sequence }));
      sequence++;
    };
    send((i) => [callSite(1), newSpan(i, { a: { int: i } })]);
    send((i) => [record(i, { b: { string: `of ${i}` } }), event({ a: { int: 10 * i } }, i), newSpan(9, { a: { int: -i } }, i)]);
    send((i) => [record(i, { a: { bool: true } }), drop(9)]);
    for (const [i, { receiver, log }] of hosts.entries()) {
      expect(receiver.stats.refused).toEqual({});
      expect(log.take().filter((line) => !/^(time base|call site)/.test(line))).toEqual([
        `new 1 site 1{a=${i}}`,
        `record 1 {b="of ${i}"}`,
        `event site 1{a=${10 * i}} under 1`,
        `new 2 site 1{a=${-i}} under 1`,
        "record 1 {a=true}",
        "close 2",
      ]);
      const { spans } = receiver.persist();
      expect(Object.values(spans).map(({ values }) => values)).toEqual([{ a: { bool: true }, b: { string: `of ${i}` } }]);
    }
  });

  it("take in batches in the middle of a batch of another", () => {
    const receiverOf = host();
    const inner = receiverOf();
    const innerBatch = batchOf(protobuf, [callSite(1), newSpan(1, { b: { string: "inner" } }), event({ a: { int: 2 } }, 1)]);
    const seen: unknown[] = [];
    class Nesting extends RelayLog {
      override newSpan(
        site: CallSite,
        id: number | bigint,
        values: ValueColumns,
        parent: Parent<number>,
        time: EventTime,
      ): number {
        inner.receiver.receiveBatch(innerBatch);
        seen.push(toValueMap(values));
        return super.newSpan(site, id, values, parent, time);
      }

      override event(site: CallSite, values: ValueColumns, parent: Parent<number>, time: EventTime): void {
        inner.receiver.receive(event({ b: { string: "later" } }));
        seen.push(toValueMap(values));
        super.event(site, values, parent, time);
      }
    }
    const outer = receiverOf({ relay: new Nesting() });
    const outerBatch = batchOf(protobuf, [callSite(1), newSpan(1, { a: { int: 1 } }), event({ a: { string: "outer" } }, 1)]);
    outer.receiver.receiveBatch(outerBatch);
    expect(seen).toEqual([{ a: { int: 1 } }, { a: { string: "outer" } }]);
    expect(outer.receiver.stats).toMatchObject({ events: 3, refused: {} });
    expect(inner.receiver.stats).toMatchObject({ events: 4, refused: {} });
  });

  it("have the codec and the limits that they were given", () => {
    const receiverOf = host();
    const strict = { maxStringBytes: 4 };
    const cases: [Codec, Partial<ReceiverOptions<number>>, refused: number][] = [
      [protobuf, {}, 0],
      [json, { codec: json }, 0],
      [protobuf, { limits: strict }, 1],
      [json, { codec: json, limits: { ...strict } }, 1],
    ];
    const receivers = cases.map(([codec, options, refused]) => ({ codec, refused, ...receiverOf(options) }));
    for (let sequence = 0; sequence < 3; sequence++) {
      for (const { codec, receiver, refused } of receivers) {
        receiver.receiveBatch(
          batchOf(codec, [callSite(1, { name: "s", target: "t" }), event({ a: { string: "12345" } })], { sequence }),
        );
        expect(receiver.stats.refused.limit_exceeded ?? 0).toBe(refused * (sequence + 1));
      }
    }
  });
});
