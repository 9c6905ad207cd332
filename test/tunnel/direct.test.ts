import {
  type BatchHeader,
  type RawValue,
  type TracedError,
  TracedValues,
  type ValueColumns,
  type ValueKind,
} from "@spanduct/protocol";
import { protobuf } from "@spanduct/protocol/protobuf";
import { TracingEventReceiver } from "@spanduct/receiver";
import { batches, type SenderOutput, type Span, TracingEventSender, uint } from "@spanduct/sender";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { batch } from "../support/arbitrary-events.ts";
import { RelayLog } from "../support/relay-log.ts";
import { replay, type SinkCall } from "../support/sink-calls.ts";

function open(): { receiver: TracingEventReceiver<number>; log: RelayLog } {
  const log = new RelayLog();
  return { receiver: new TracingEventReceiver<number>({}, {}, [], { relay: log }), log };
}

/** A sender whose events go straight into the receiver. */
function joined(receiver: TracingEventReceiver<number>): SenderOutput {
  let sequence = 0;
  return {
    open(clock, droppedEvents) {
      if (sequence === 0) {
        receiver.batch({
          version: 1,
          clock: clock?.domain ?? "none",
          baseTimeUnixNano: clock?.start() ?? 0n,
          sequence: sequence++,
          droppedEvents,
        });
      }
      return receiver;
    },
    delivered: () => undefined,
    discard: () => 1,
    flush: () => receiver.control(),
  };
}

/** Something of everything that a guest can say; counts every reading of its clock as a nanosecond. */
function work(output: SenderOutput): void {
  let now = 0;
  const clock = { domain: "wall", start: () => 1_700_000_000_000_000_000n, now: () => now++ } as const;
  const sender = new TracingEventSender(output, { clock });
  const outer = sender.span({ name: "outer", fields: ["__proto__", "count", "error", "later"] });
  const inner = sender.span({ name: "inner" });
  const note = sender.event({ name: "note", level: "debug", fields: ["text", "big"], file: "work.ts", line: 7 });
  let first: Span | undefined;
  for (let i = 0; i < 3; i++) {
    outer.run({ ["__proto__"]: `p${i}`, count: uint(i) }, (span) => {
      note.emit({ text: "inside" });
      inner.run(undefined, (child) => {
        child.followsFrom(span);
        if (first !== undefined) child.followsFrom(first);
        note.emit({ big: 2n ** 100n }, span);
      });
      const kept = span.clone();
      span.record({ later: { debug: true } });
      kept.close();
      first ??= inner.start(undefined, span);
    });
  }
  expect(() => {
    outer.run({}, () => {
      throw new RangeError("too far", { cause: new Error("why") });
    });
  }).toThrow(RangeError);
  first?.enter();
  sender.flush();
}

describe("A sender joined to a receiver with nothing between", () => {
  it("has the relay told what it is told through bytes", () => {
    const [direct, bytes] = [open(), open()];
    work(joined(direct.receiver));
    work(batches((batch) => bytes.receiver.receiveBatch(batch), { maxBytes: 1_000_000, maxEvents: 1_000_000 }));
    const lines = direct.log.take();
    expect(lines.length).toBeGreaterThan(40);
    expect(lines).toEqual(bytes.log.take());
    expect(lines.filter((line) => line.startsWith("event exception"))).toHaveLength(1);
    expect({ ...direct.receiver.stats, batches: 1, bytes: bytes.receiver.stats.bytes }).toEqual(bytes.receiver.stats);
    expect(direct.receiver.persistMetadata()).toEqual(bytes.receiver.persistMetadata());
    expect(direct.receiver.persist()).toEqual(bytes.receiver.persist());
    expect(direct.log.take()).toEqual(bytes.log.take());
  });

  it("whatever it says", () => {
    const encoder = protobuf.createEncoder();
    fc.assert(
      fc.property(batch, (calls) => {
        // Where times count from is up to the codec.
        const said = calls.filter(([method]) => method !== "timeBase").map(wellFormedCall);
        const [direct, bytes] = [open(), open()];
        replay(said, direct.receiver);
        replay(said, encoder);
        bytes.receiver.receiveBatch(encoder.finish());
        expect(direct.log.take()).toEqual(bytes.log.take());
        const { events, refused, liveSpans } = bytes.receiver.stats;
        expect(direct.receiver.stats).toMatchObject({ events, refused, liveSpans });
        expect(direct.receiver.persist()).toEqual(bytes.receiver.persist());
      }),
    );
  });

  it("may fill its columns of values again and again", () => {
    const { receiver, log } = open();
    const header: BatchHeader = { version: 1, clock: "none", baseTimeUnixNano: 0n, sequence: 0, droppedEvents: 0 };
    const fields = ["a", "b"];
    const data = { kind: "span", name: "work", target: "app", level: "info", fields } as const;
    receiver.batch(header);
    receiver.newCallSite(1, data, undefined);
    const values = new TracedValues();
    for (let i = 0; i < 3; i++) {
      values.clear(fields);
      values.push(i % 2, 2, i);
      receiver.newSpan(i, undefined, 1, values, i);
    }
    fields[0] = "changed";
    values.clear(["b"]);
    values.push(0, 2, 9);
    receiver.valuesRecorded(0, values, undefined);
    expect(log.take().slice(2)).toEqual(["new 1 work{a=0} @0", "new 2 work{b=1} @1", "new 3 work{a=2} @2", "record 1 {b=9}"]);
    expect(receiver.persistMetadata()["1"]?.fields).toEqual(["a", "b"]);
    expect(receiver.persist().spans["0"]?.values).toEqual({ a: { int: 0 }, b: { int: 9 } });
  });
});

/** Text that survives UTF-8; bytes cannot carry other. */
function wellFormedCall(call: SinkCall): SinkCall {
  return call.map((arg) => {
    return arg instanceof TracedValues ? wellFormedValues(arg) : wellFormed(arg);
  }) as unknown as SinkCall;
}

function wellFormedValues(values: ValueColumns): TracedValues {
  const result = new TracedValues();
  result.clear(wellFormed(values.fields) as string[]);
  for (let i = 0; i < values.size; i++) {
    const raw = wellFormed(values.raws[i]) as RawValue;
    result.push(wellFormed(values.keys[i]) as string | number, values.kinds[i] as ValueKind, raw);
  }
  return result;
}

function wellFormed(value: unknown): unknown {
  if (typeof value === "string") return value.toWellFormed();
  if (Array.isArray(value)) return value.map(wellFormed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value as TracedError).map(([key, item]) => [key, wellFormed(item)]));
}
