import {
  controlAnnounce,
  controlLevel,
  isControlWord,
  type PersistedSpan,
  type TracingEvent,
  type TunnelError,
} from "@spanduct/protocol";
import { json } from "@spanduct/protocol/json";
import { protobuf } from "@spanduct/protocol/protobuf";
import { describe, expect, it } from "vitest";
import { batchOf, callSite, enter, event, newSpan, record } from "../../../test/support/events.ts";
import { RelayLog } from "../../../test/support/relay-log.ts";
import { type ReceiverOptions, TracingEventReceiver } from "./index.ts";

class Host {
  readonly log = new RelayLog();
  readonly errors: TunnelError[] = [];
  readonly receiver: TracingEventReceiver<number>;

  constructor(restored?: Host, options: Partial<ReceiverOptions<number>> = {}) {
    const metadata = restored?.receiver.persistMetadata() ?? {};
    const { spans, localSpans } = restored?.receiver.persist() ?? { spans: {}, localSpans: [] };
    this.receiver = new TracingEventReceiver<number>(metadata, spans, localSpans, {
      relay: this.log,
      onError: (error) => this.errors.push(error),
      ...options,
    });
  }

  /** Whether the answer asks for call sites to be announced again. */
  batch(sequence: number, events: readonly TracingEvent[] = [], droppedEvents = 0): boolean {
    const word = this.receiver.receiveBatch(batchOf(protobuf, events, { sequence, droppedEvents }));
    expect(isControlWord(word)).toBe(true);
    return controlAnnounce(word);
  }

  get codes(): string[] {
    return this.errors.map((error) => error.code);
  }

  get losses(): string[] {
    return this.log.lines.filter((line) => line.startsWith("loss"));
  }
}

describe("TracingEventReceiver reports a loss, counts it, and asks once for call sites,", () => {
  it("when sequence numbers jump, before what the batch brings", () => {
    const host = new Host();
    expect(host.batch(0, [callSite(1)])).toBe(false);
    host.log.take();
    expect(host.batch(3, [event()])).toBe(true);
    expect(host.log.take().slice(1)).toEqual(["loss of 2 batches, 0 events", "event site 1"]);
    expect(host.batch(4, [event()])).toBe(false);
    expect(host.receiver.stats).toMatchObject({ lostBatches: 2, droppedEvents: 0, events: 3, refused: {} });
  });

  it("when the guest says that it dropped events", () => {
    const host = new Host();
    expect([0, 2, 2, 7].map((dropped, sequence) => host.batch(sequence, [], dropped))).toEqual([false, true, false, true]);
    expect(host.losses).toEqual(["loss of 0 batches, 2 events", "loss of 0 batches, 5 events"]);
    expect(host.receiver.stats).toMatchObject({ lostBatches: 0, droppedEvents: 7 });
  });

  it("when both happened", () => {
    const host = new Host();
    host.batch(0);
    expect(host.batch(2, [], 3)).toBe(true);
    expect(host.losses).toEqual(["loss of 1 batches, 3 events"]);
  });

  it("when the first batch of an execution never came", () => {
    const host = new Host();
    expect(host.batch(2, [], 1)).toBe(true);
    expect(host.losses).toEqual(["loss of 2 batches, 1 events"]);
  });

  it("when a new sender dropped events before its first batch", () => {
    const host = new Host();
    host.batch(0, [], 5);
    host.batch(1, [], 5);
    expect(host.batch(0, [], 2)).toBe(true);
    expect(host.losses).toEqual(["loss of 0 batches, 5 events", "loss of 0 batches, 2 events"]);
  });

  it("between two receivers of an execution, as long as a span is open", () => {
    const first = new Host();
    first.batch(0, [callSite(1), newSpan(1)], 4);
    const second = new Host(first);
    // A receiver to which nothing came knows what the one before it knew.
    const third = new Host(second);
    expect(third.batch(3, [], 9)).toBe(true);
    expect(third.losses).toEqual(["loss of 2 batches, 5 events"]);
    expect(third.receiver.stats).toMatchObject({ lostBatches: 2, droppedEvents: 5 });
    expect(third.receiver.persist().spans).toMatchObject({ 1: { sequence: 4, dropped_events: 9 } });
  });

  it("when the guest goes on after a rollback: what the attempt took is lost", () => {
    const first = new Host();
    first.batch(0, [callSite(1), newSpan(1)]);
    const metadata = first.receiver.persistMetadata();
    const { spans } = first.receiver.persist();
    const [failed, next] = [1, 2].map(() => new TracingEventReceiver<number>(metadata, spans, [], { relay: new RelayLog() }));
    failed?.receiveBatch(batchOf(protobuf, [callSite(2)], { sequence: 1 }));
    failed?.[Symbol.dispose]();
    const word = next?.receiveBatch(batchOf(protobuf, [], { sequence: 2 })) as number;
    expect(controlAnnounce(word)).toBe(true);
    expect(next?.stats.lostBatches).toBe(1);
  });

  it("when a header cannot be read: the next batch shows the gap", () => {
    const host = new Host();
    host.batch(0);
    const broken = batchOf(protobuf, [enter(1)], { sequence: 1 });
    broken[0] = 0xff;
    host.receiver.receiveBatch(broken);
    expect(host.codes).toEqual(["malformed"]);
    expect(host.batch(2)).toBe(true);
    expect(host.losses).toEqual(["loss of 1 batches, 0 events"]);
  });
});

describe("TracingEventReceiver sees no loss", () => {
  it("in a new sender, which begins with 0", () => {
    const host = new Host();
    host.batch(0, [callSite(1)]);
    host.batch(1);
    expect(host.batch(0, [callSite(1)])).toBe(false);
    expect(host.batch(1)).toBe(false);
    expect(host.losses).toEqual([]);
  });

  it("in what was lost before it was restored without an open span, but in what is lost after", () => {
    const first = new Host();
    first.batch(0, [callSite(1)], 4);
    const restored = new Host(first);
    expect(restored.batch(7, [], 9)).toBe(false);
    expect(restored.losses).toEqual([]);
    expect(restored.batch(9, [], 10)).toBe(true);
    expect(restored.losses).toEqual(["loss of 1 batches, 1 events"]);
    expect(restored.receiver.stats).toMatchObject({ lostBatches: 1, droppedEvents: 1 });
  });

  it("in a drop count that falls", () => {
    const host = new Host();
    host.batch(0, [], 5);
    expect(host.batch(1, [], 3)).toBe(false);
    host.batch(3, [], 2);
    expect(host.losses).toEqual(["loss of 0 batches, 5 events", "loss of 1 batches, 0 events"]);
    expect(host.receiver.stats.droppedEvents).toBe(5);
  });

  it("where state of a genuine crate says nothing of batches", () => {
    const first = new Host();
    first.batch(0, [callSite(1), newSpan(1)], 4);
    const metadata = first.receiver.persistMetadata();
    const { sequence, dropped_events: dropped, ...span } = first.receiver.persist().spans["1"] as PersistedSpan;
    expect([sequence, dropped]).toEqual([1, 4]);
    const receiver = new TracingEventReceiver<number>(metadata, { 1: span }, [], { relay: new RelayLog() });
    expect(controlAnnounce(receiver.receiveBatch(batchOf(protobuf, [], { sequence: 7, droppedEvents: 9 })))).toBe(false);
    expect(receiver.stats).toMatchObject({ lostBatches: 0, droppedEvents: 0 });
  });

  it("in lines of a genuine crate, which have no header", () => {
    const host = new Host(undefined, { codec: json });
    const line = new TextEncoder().encode(`${JSON.stringify(callSite(1))}\n`);
    for (let i = 0; i < 3; i++) expect(controlAnnounce(host.receiver.receiveBatch(line))).toBe(false);
    expect(host.receiver.stats).toMatchObject({ events: 3, lostBatches: 0 });
  });
});

describe("TracingEventReceiver refuses a batch that came before", () => {
  it("whole, and goes on with the one after", () => {
    const host = new Host();
    host.batch(0, [callSite(1)]);
    host.batch(1, [event()]);
    host.log.take();
    expect(host.batch(1, [event()])).toBe(false);
    expect(host.log.take()).toEqual([]);
    expect(host.errors).toMatchObject([{ code: "duplicate_batch", actual: 1 }]);
    expect(host.receiver.stats).toMatchObject({ events: 2, refused: { duplicate_batch: 1 }, lostBatches: 0 });
    host.batch(2, [event()]);
    expect(host.receiver.stats.events).toBe(3);
  });

  it("and is not led astray by the largest number there is", () => {
    const host = new Host();
    host.batch(0);
    host.batch(Number.MAX_SAFE_INTEGER, [callSite(1)], Number.MAX_SAFE_INTEGER);
    host.batch(5);
    expect(host.codes).toEqual(["duplicate_batch"]);
    expect(host.batch(0, [callSite(2)])).toBe(false);
    expect(host.receiver.stats.callSites).toBe(2);
  });
});

describe("TracingEventReceiver asks for call sites, once,", () => {
  it("when it meets one that it does not know", () => {
    const host = new Host();
    host.batch(0, [callSite(1)]);
    expect(host.batch(1, [newSpan(1, {}, undefined, 2), event({}, undefined, 2)])).toBe(true);
    expect(host.batch(2)).toBe(false);
    expect(host.codes).toEqual(["unknown_metadata_id", "unknown_metadata_id"]);
  });

  it("when a value belongs to a field that its call site does not have, so it may have changed", () => {
    const host = new Host();
    host.batch(0, [callSite(1)]);
    const { receiver } = host;
    const values = { fields: [], keys: [2], kinds: [1], raws: [true], size: 1 } as const;
    receiver.newSpan(1, undefined, 1, values, undefined);
    expect(host.errors).toMatchObject([{ code: "unknown_field", id: 2 }]);
    expect(receiver.stats.liveSpans).toBe(0);
    expect(controlAnnounce(receiver.control())).toBe(true);
    expect(controlAnnounce(receiver.control())).toBe(false);
  });

  it("when values go by index to a span whose call site was not kept", () => {
    const first = new Host();
    first.batch(0, [callSite(1), newSpan(1)]);
    const { spans } = first.receiver.persist();
    const errors: TunnelError[] = [];
    const receiver = new TracingEventReceiver<number>({}, spans, [], {
      relay: new RelayLog(),
      onError: (error) => errors.push(error),
    });
    receiver.valuesRecorded(1, { fields: [], keys: [0], kinds: [1], raws: [true], size: 1 }, undefined);
    expect(errors).toMatchObject([{ code: "unknown_metadata_id", id: 1 }]);
    expect(controlAnnounce(receiver.control())).toBe(true);
    receiver.receive(callSite(1));
    receiver.valuesRecorded(1, { fields: [], keys: [0], kinds: [1], raws: [true], size: 1 }, undefined);
    expect(receiver.persist().spans["1"]?.values).toEqual({ a: { bool: true } });
  });

  it("when it refuses a batch for its size, so that the next one need not be lost too", () => {
    const host = new Host(undefined, { limits: { maxBatchBytes: 200 } });
    const events = [callSite(1), newSpan(1, { a: { string: "x".repeat(200) } })];
    expect(host.batch(0, events)).toBe(true);
    expect(host.codes).toEqual(["limit_exceeded"]);
    host.batch(1, [callSite(1), newSpan(2)]);
    expect(host.losses).toEqual(["loss of 1 batches, 0 events"]);
    expect(host.receiver.stats).toMatchObject({ liveSpans: 1, lostBatches: 1 });
  });

  it("but not when it has no room for more of them", () => {
    const host = new Host(undefined, { limits: { maxCallSites: 1 } });
    expect(host.batch(0, [callSite(1), callSite(2), newSpan(1, {}, undefined, 2)])).toBe(false);
    expect(host.codes).toEqual(["limit_exceeded", "unknown_metadata_id"]);
  });

  it("and not for a span that it does not know", () => {
    const host = new Host();
    expect(host.batch(0, [callSite(1), record(1, {})])).toBe(false);
    expect(host.codes).toEqual(["unknown_span_id"]);
  });
});

describe("TracingEventReceiver.joinGuest", () => {
  it("takes the guest's next batch as the first one and asks for call sites, once", () => {
    const host = new Host();
    host.receiver.joinGuest();
    expect(controlAnnounce(host.receiver.control())).toBe(true);
    expect(host.batch(7, [callSite(1), newSpan(1)], 3)).toBe(false);
    expect(host.losses).toEqual([]);
    expect(host.batch(9, [], 4)).toBe(true);
    expect(host.losses).toEqual(["loss of 1 batches, 1 events"]);
  });

  it("still knows what an earlier receiver of the execution was about to get", () => {
    const before = new Host();
    before.batch(0, [callSite(1), newSpan(1)]);
    const host = new Host(before);
    host.receiver.joinGuest();
    host.batch(2);
    expect(host.losses).toEqual(["loss of 1 batches, 0 events"]);
  });
});

describe("TracingEventReceiver.maxLevel", () => {
  const level = (receiver: TracingEventReceiver<number>) => controlLevel(receiver.control());

  it("is 5 unless the host says otherwise, and goes to the guest with the next control word", () => {
    const { receiver } = new Host();
    expect(level(receiver)).toBe(5);
    receiver.maxLevel = 2;
    expect(receiver.maxLevel).toBe(2);
    expect(controlLevel(receiver.receiveBatch(batchOf(protobuf, [])))).toBe(2);
    expect(level(new Host(undefined, { maxLevel: 0 }).receiver)).toBe(0);
  });

  it("is no more verbose than the relay wants", () => {
    const relay: RelayLog & { maxLevel?: number } = new RelayLog();
    const { receiver } = new Host(undefined, { relay, maxLevel: 3 });
    expect(level(receiver)).toBe(3);
    relay.maxLevel = 0;
    expect(level(receiver)).toBe(0);
    relay.maxLevel = 5;
    expect(level(receiver)).toBe(3);
  });
});
