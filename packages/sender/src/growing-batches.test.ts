import { controlWord, type TracingEvent } from "@spanduct/protocol";
import { json } from "@spanduct/protocol/json";
import { msgpack } from "@spanduct/protocol/msgpack";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bodyOf, kindOf, RecordingHost } from "../../../test/support/recording-host.ts";
import { tickingClock, work } from "../test/traced-work.ts";
import type { BatchOptions } from "./batches.ts";
import { type GrowingBoundary, growingBatches } from "./growing-batches.ts";
import { TunnelTracerProvider } from "./otel/tunnel-tracer-provider.ts";
import { type SenderOptions, TracingEventSender } from "./sender.ts";

/** Keeps batches until the host takes them, and lets the last one grow. */
class Boundary implements GrowingBoundary {
  readonly host: RecordingHost;
  readonly waiting: Uint8Array[] = [];
  word: number | undefined;
  closed = false;
  /** Called when the guest is about to hand something over: what the host does meanwhile. */
  meanwhile: () => void = () => undefined;

  constructor(host: RecordingHost = new RecordingHost()) {
    this.host = host;
  }

  take(): void {
    for (const batch of this.waiting.splice(0)) this.host.send(batch);
  }

  send(batch: Uint8Array): number | undefined {
    this.meanwhile();
    if (this.closed) throw new Error("no room");
    this.waiting.push(batch.slice());
    return this.word;
  }

  grow(memory: Uint8Array, from: number, to: number): number | undefined | false {
    this.meanwhile();
    const last = this.waiting.at(-1);
    if (last === undefined || this.closed) return false;
    expect(last.length).toBe(from);
    this.waiting[this.waiting.length - 1] = Uint8Array.of(...last, ...memory.subarray(from, to));
    return this.word;
  }

  control(): number | undefined {
    return this.word;
  }
}

interface Joined {
  readonly boundary: Boundary;
  readonly host: RecordingHost;
  readonly sender: TracingEventSender;
}

function join(options?: BatchOptions, senderOptions?: SenderOptions, boundary: Boundary = new Boundary()): Joined {
  return { boundary, host: boundary.host, sender: new TracingEventSender(growingBatches(boundary, options), senderOptions) };
}

describe("growingBatches", () => {
  it("hands over every event at once, in one batch for as long as nobody takes it", () => {
    const { boundary, host, sender } = join();
    const site = sender.event({ name: "e" });
    const lengths = [1, 2, 3].map(() => {
      site.emit();
      return boundary.waiting.map(({ length }) => length);
    });
    expect(lengths.map((batches) => batches.length)).toEqual([1, 1, 1]);
    boundary.take();
    site.emit();
    boundary.take();
    expect(host.eventsByBatch.map((events) => events.map(kindOf))).toEqual([
      ["new_call_site", "new_event", "new_event", "new_event"],
      ["new_event"],
    ]);
    expect(host.headers.map(({ sequence }) => sequence)).toEqual([0, 1]);
  });

  it.each([
    ["events", { maxEvents: 4 }, [4, 4, 3]],
    ["bytes", { maxBytes: 50 }, [4, 6, 1]],
  ])("begins a new batch when the one at hand has enough %s", (_, options, expected) => {
    const { boundary, host, sender } = join(options);
    const site = sender.event({ name: "e" });
    for (let i = 0; i < 10; i++) site.emit();
    boundary.take();
    expect(host.eventsByBatch.map((events) => events.length)).toEqual(expected);
  });

  it("begins a new batch after a flush, which by itself sends nothing", () => {
    const { boundary, host, sender } = join();
    const site = sender.event({ name: "e" });
    sender.flush();
    site.emit();
    sender.flush();
    sender.flush();
    site.emit();
    boundary.take();
    expect(host.eventsByBatch.map((events) => events.length)).toEqual([2, 1]);
  });

  it.each([
    ["protobuf", undefined],
    ["msgpack", msgpack],
    ["json", json],
  ])("gives the host the same events and times whenever it takes them, also in the middle of a call (%s)", (_, codec) => {
    const expected: TracingEvent[] = [];
    const hook = new TracingEventSender((event) => void expected.push(event), { clock: tickingClock(5n) });
    work(hook);
    const coins = fc.infiniteStream(fc.nat(6));
    fc.assert(
      fc.property(coins, coins, fc.integer({ min: 100, max: 3000 }), (between, meanwhile, maxBytes) => {
        const boundary = new Boundary(new RecordingHost(codec));
        const encoder = codec?.createEncoder();
        const clock = tickingClock(5n);
        const now = clock.now.bind(clock);
        clock.now = () => {
          if (between.next().value === 0) boundary.take();
          return now();
        };
        boundary.meanwhile = () => {
          if (meanwhile.next().value === 0) boundary.take();
        };
        const { host, sender } = join({ maxBytes, ...(encoder && { encoder }) }, { clock }, boundary);
        work(sender);
        boundary.take();
        expect(host.events).toEqual(expected);
        expect(host.headers.map(({ sequence }) => sequence)).toEqual(host.headers.map((_, i) => i));
      }),
      { numRuns: 50 },
    );
    expect(expected.every((event) => "time_unix_nano" in bodyOf(event))).toBe(true);
  });

  it("keeps times that are given, however far from each other", () => {
    const run = (sender: TracingEventSender): void => {
      const tracer = new TunnelTracerProvider(sender).getTracer("given");
      for (const time of [1e12, 2e12, 1e12 + 5, 1.7e12]) {
        const span = tracer.startSpan("s", { startTime: time });
        span.addEvent("e", undefined, time + 1);
        span.end(time + 2);
      }
    };
    const expected: TracingEvent[] = [];
    run(new TracingEventSender((event) => void expected.push(event), { clock: tickingClock(5n) }));
    fc.assert(
      fc.property(fc.infiniteStream(fc.boolean()), (coins) => {
        const { boundary, host, sender } = join({}, { clock: tickingClock(5n) });
        boundary.meanwhile = () => {
          if (coins.next().value) boundary.take();
        };
        run(sender);
        boundary.take();
        expect(host.events).toEqual(expected);
      }),
      { numRuns: 30 },
    );
  });

  it("counts what found no room, and tells the host with the next batch", () => {
    const { boundary, host, sender } = join();
    const site = sender.event({ name: "e" });
    const span = sender.span({ name: "s" });
    site.emit();
    boundary.closed = true;
    site.emit();
    expect(sender.droppedEvents).toBe(1);
    // Call site, span, enter.
    span.enter();
    expect(sender.droppedEvents).toBe(4);
    boundary.closed = false;
    site.emit();
    boundary.take();
    expect(host.headers.map(({ droppedEvents }) => droppedEvents)).toEqual([0, 4]);
    expect(host.eventsByBatch.map((events) => events.map(kindOf))).toEqual([
      ["new_call_site", "new_event"],
      ["new_call_site", "new_event"],
    ]);
  });

  it("tells at a flush of drops since the last batch began", () => {
    const { boundary, host, sender } = join();
    const site = sender.event({ name: "e" });
    site.emit();
    boundary.closed = true;
    site.emit();
    boundary.closed = false;
    sender.flush();
    sender.flush();
    boundary.take();
    expect(host.headers.map(({ droppedEvents }) => droppedEvents)).toEqual([0, 1]);
    expect(host.eventsByBatch[1]).toEqual([]);
  });

  it("counts an event that cannot be made, and the batch at hand stays whole", () => {
    const { boundary, host, sender } = join();
    const site = sender.event({ name: "e" });
    site.emit();
    sender.event({ name: {} as string }).emit();
    site.emit();
    boundary.take();
    expect(host.eventsByBatch.map((events) => events.map(kindOf))).toEqual([
      ["new_call_site", "new_event"],
      ["new_call_site", "new_event"],
    ]);
    expect(sender.droppedEvents).toBe(1);
    expect(host.headers.at(-1)).toMatchObject({ sequence: 1, droppedEvents: 1 });
  });

  it("lets call sites that are filtered see that the host wants more again, without anything being sent", () => {
    const { boundary, sender } = join();
    const site = sender.event({ name: "e" });
    boundary.word = controlWord(0, false);
    site.emit();
    expect([site.enabled, boundary.waiting.length]).toEqual([false, 1]);
    boundary.word = controlWord(2, false);
    expect(site.enabled).toBe(false);
    boundary.word = controlWord(3, true);
    expect([site.enabled, sender.maxLevel]).toEqual([true, 3]);
    site.emit();
    boundary.take();
    expect(boundary.host.events.map(kindOf)).toEqual(["new_call_site", "new_event", "new_call_site", "new_event"]);
  });
});
