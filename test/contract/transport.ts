import { controlWord, isTunnelError } from "@spanduct/protocol";
import { TracingEventReceiver } from "@spanduct/receiver";
import { batches, TracingEventSender } from "@spanduct/sender";
import type { BatchHandler, GuestTransport } from "@spanduct/transport";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TraceRecorder } from "../support/trace-recorder.ts";

/** Both ends of a transport, joined. */
export interface TransportPair extends AsyncDisposable {
  readonly guest: GuestTransport;
  /** Resolves when the host has handled all that was sent and the guest has seen the answers. */
  settle(): Promise<void>;
  /** The host goes away; resolves when the guest can know. */
  closeHost(): Promise<void>;
}

/** What a transport is made with in the contract suite. */
export interface TransportSetup {
  readonly onBatch: BatchHandler;
  /** Bytes that may be on their way. */
  readonly maxInFlightBytes: number;
}

/** What a transport cannot do, and why. */
export interface TransportException {
  readonly reason: string;
  readonly titles: readonly string[];
}

/** What every transport does, whatever it is made of. `create` returns a new pair each time. */
export function transportContract(
  name: string,
  create: (setup: TransportSetup) => TransportPair | Promise<TransportPair>,
  exceptions: readonly TransportException[] = [],
): void {
  const unmet = new Set(exceptions.flatMap(({ titles }) => titles));

  function test(title: string, body: () => Promise<void>): void {
    const exception = exceptions.find(({ titles }) => titles.includes(title));
    unmet.delete(title);
    if (exception === undefined) it(title, body);
    else it.skip(`${title} (${exception.reason})`);
  }

  const PLAIN = controlWord(5, false);

  function recording(answer: (batch: number) => number = () => PLAIN): { received: Uint8Array[]; onBatch: BatchHandler } {
    const received: Uint8Array[] = [];
    return { received, onBatch: (bytes) => answer(received.push(bytes) - 1) };
  }

  describe(`${name}: what every transport does`, () => {
    test("send: batches arrive whole and in order", async () => {
      const sequences = fc.array(fc.uint8Array({ maxLength: 2000 }), { maxLength: 20 });
      await fc.assert(
        fc.asyncProperty(sequences, async (sent) => {
          const { received, onBatch } = recording();
          await using pair = await create({ onBatch, maxInFlightBytes: 1 << 20 });
          for (const batch of sent) pair.guest.send(batch);
          await pair.settle();
          expect(received).toEqual(sent);
        }),
        { numRuns: 25 },
      );
    });

    test("send: a batch of a megabyte arrives", async () => {
      const { received, onBatch } = recording();
      await using pair = await create({ onBatch, maxInFlightBytes: 1 << 24 });
      const batch = Uint8Array.from({ length: 1 << 20 }, (_, i) => i % 251);
      pair.guest.send(batch);
      await pair.settle();
      expect(received).toHaveLength(1);
      expect(received[0]?.length).toBe(batch.length);
      expect(received[0]?.every((byte, i) => byte === batch[i])).toBe(true);
    });

    test("send: the caller's memory is its own again at once, and only the view travels", async () => {
      const { received, onBatch } = recording();
      await using pair = await create({ onBatch, maxInFlightBytes: 1 << 20 });
      const memory = Uint8Array.of(1, 2, 3, 4);
      pair.guest.send(memory.subarray(1, 3));
      memory.fill(9);
      pair.guest.send(memory.subarray(0, 1));
      await pair.settle();
      expect(received).toEqual([Uint8Array.of(2, 3), Uint8Array.of(9)]);
    });

    test("send: what the host does to the bytes is not seen by the guest", async () => {
      await using pair = await create({ onBatch: (bytes) => bytes.fill(0) && PLAIN, maxInFlightBytes: 1 << 20 });
      const batch = Uint8Array.of(1, 2, 3);
      pair.guest.send(batch);
      await pair.settle();
      expect(batch).toEqual(Uint8Array.of(1, 2, 3));
    });

    test("send: returns the host's last control word once it has come", async () => {
      const { onBatch } = recording((batch) => controlWord(batch + 1, false));
      await using pair = await create({ onBatch, maxInFlightBytes: 1 << 20 });
      pair.guest.send(Uint8Array.of(1));
      pair.guest.send(Uint8Array.of(2));
      await pair.settle();
      expect(pair.guest.send(Uint8Array.of(3))).toBe(controlWord(2, false));
    });

    test("send: a request to announce again is passed on once, also when later answers do not repeat it", async () => {
      const { onBatch } = recording((batch) => controlWord(4, batch === 0));
      await using pair = await create({ onBatch, maxInFlightBytes: 1 << 20 });
      const answers = [pair.guest.send(Uint8Array.of(1)), pair.guest.send(Uint8Array.of(2))];
      await pair.settle();
      answers.push(pair.guest.send(Uint8Array.of(3)), pair.guest.send(Uint8Array.of(4)));
      expect(answers.filter((word) => word === controlWord(4, true))).toHaveLength(1);
    });

    test("send: beyond the bound of bytes on their way batches are refused, and accepted once the host has answered", async () => {
      const { received, onBatch } = recording();
      await using pair = await create({ onBatch, maxInFlightBytes: 100 });
      const batch = new Uint8Array(60);
      let accepted = 0;
      while (accepted < 100 && code(() => pair.guest.send(batch)) === undefined) accepted++;
      expect(code(() => pair.guest.send(batch))).toBe("transport_failed");
      // A bound that has to be a power of two is at most twice as high.
      expect(accepted * 60).toBeLessThanOrEqual(200);
      await pair.settle();
      pair.guest.send(batch);
      await pair.settle();
      expect(received.map((bytes) => bytes.length)).toEqual(new Array(accepted + 1).fill(60));
    });

    test("send: a batch above the bound goes through when nothing else is on its way", async () => {
      const { received, onBatch } = recording();
      await using pair = await create({ onBatch, maxInFlightBytes: 10 });
      pair.guest.send(new Uint8Array(5000));
      await pair.settle();
      expect(received.map((bytes) => bytes.length)).toEqual([5000]);
    });

    test("send: what is not refused arrives, whatever is, and a sender's losses are counted to the event", async () => {
      const receiver = new TracingEventReceiver({}, {}, [], { relay: new TraceRecorder() });
      await using pair = await create({ onBatch: (bytes) => receiver.receiveBatch(bytes), maxInFlightBytes: 2000 });
      const tracing = new TracingEventSender(batches((batch) => pair.guest.send(batch), { maxEvents: 3 }));
      const note = tracing.event({ name: "note", fields: ["text"] });
      for (let turn = 0; turn < 3; turn++) {
        for (let i = 0; i < 300; i++) note.emit({ text: "x".repeat(i) });
        tracing.flush();
        await pair.settle();
      }
      tracing.flush();
      await pair.settle();
      const { events, droppedEvents, refused } = receiver.stats;
      expect(tracing.droppedEvents).toBeGreaterThan(100);
      expect(droppedEvents).toBe(tracing.droppedEvents);
      // Call sites that were announced, and announced again, are events too.
      expect(events + droppedEvents).toBeGreaterThanOrEqual(900);
      expect(refused).toEqual({});
    });

    test("send: is refused when the host is gone", async () => {
      await using pair = await create({ onBatch: () => PLAIN, maxInFlightBytes: 100 });
      await pair.closeHost();
      expect(code(() => pair.guest.send(Uint8Array.of(1)))).toBe("transport_closed");
    });

    if (unmet.size > 0) throw new Error(`no test has the title ${[...unmet].join(", ")}`);
  });
}

/** Code of the error that `action` throws. */
function code(action: () => unknown): string | undefined {
  try {
    action();
  } catch (error) {
    if (isTunnelError(error)) return error.code;
    throw error;
  }
  return undefined;
}
