import * as threads from "node:worker_threads";
import { controlWord } from "@spanduct/protocol";
import { batches, performanceClock, type SendBatch, TracingEventSender } from "@spanduct/sender";
import { messagePortReceiver, messagePortSender } from "@spanduct/transport/message-port";
import { createRing, ringReceiver, ringSender } from "@spanduct/transport/ring";
import { three } from "../corpus.ts";
import { inTurn, summary } from "../measure.ts";
import type { Result } from "../result.ts";

/** Bytes of the ring, and of the memory that is copied into. */
const CAPACITY = 2 ** 20;
const WORD = controlWord(5, false);
const MAX_BATCHES = 512;
const ROUNDS = 15;
const WARM_UP_ROUNDS = 3;
const ROUND_MS = 30;

/** From the guest's call until the host has each batch. Both ends are on one thread: the time is the work of both. */
interface Way {
  /** One unit of work: all batches, each handed to the host. */
  send(): void | Promise<void>;
  close(): void;
}

/** What a host does with a batch, the same for all: count its bytes. At first it goes through each of them as well. */
class Arrivals {
  bytes = 0;
  checksum = 0;
  checks = true;

  readonly take = (batch: Uint8Array): number => {
    this.bytes += batch.length;
    if (this.checks) for (const byte of batch) this.checksum = (this.checksum * 31 + byte) % 1_000_003;
    return WORD;
  };
}

function throughRing({ take }: Arrivals, unit: readonly Uint8Array[]): Way {
  const memory = createRing(CAPACITY);
  const host = ringReceiver(memory, take);
  return through(ringSender(memory), host, unit);
}

function throughPort({ take }: Arrivals, unit: readonly Uint8Array[]): Way {
  const { port1, port2 } = new threads.MessageChannel();
  const host = messagePortReceiver(port1, take, { threads });
  return through(messagePortSender(port2, { poll: () => threads.receiveMessageOnPort(port2) }), host, unit);
}

function through(
  { send }: { readonly send: SendBatch },
  host: { drain(): Promise<void>; close(): void },
  unit: readonly Uint8Array[],
): Way {
  return {
    send() {
      for (const batch of unit) send(batch);
      return host.drain();
    },
    close: () => host.close(),
  };
}

function copied({ take }: Arrivals, unit: readonly Uint8Array[]): Way {
  const memory = new Uint8Array(CAPACITY);
  let end = 0;
  const places = unit.map(({ length }) => {
    end += length;
    return memory.subarray(end - length, end);
  });
  return {
    send() {
      for (let i = 0; i < unit.length; i++) {
        const place = places[i] as Uint8Array;
        place.set(unit[i] as Uint8Array);
        take(place);
      }
    },
    close() {},
  };
}

/** The corpus as batches, of so many events each at most, that fit into half of the ring. */
function encoded(maxEvents: number): Uint8Array[] {
  const made: Uint8Array[] = [];
  let bytes = 0;
  const output = batches(
    (batch) => {
      bytes += batch.length;
      if (made.length < MAX_BATCHES && bytes <= CAPACITY / 2) made.push(batch.slice());
    },
    { maxEvents },
  );
  three(16_384).tunnel(new TracingEventSender(output, { clock: performanceClock(performance) }))();
  return made;
}

/** @returns nanoseconds of one unit of work */
async function time(way: Way): Promise<number> {
  const begin = performance.now();
  let units = 0;
  do {
    await way.send();
    units++;
  } while (performance.now() - begin < ROUND_MS);
  return ((performance.now() - begin) * 1e6) / units;
}

async function compared(maxEvents: number): Promise<Result[]> {
  const unit = encoded(maxEvents);
  const bytes = unit.reduce((sum, batch) => sum + batch.length, 0);
  const expected = new Arrivals();
  for (const batch of unit) expected.take(batch);

  const ways = [throughRing, throughPort, copied].map((make) => {
    const arrivals = new Arrivals();
    return { arrivals, way: make(arrivals, unit) };
  });
  for (const { arrivals, way } of ways) {
    await way.send();
    if (arrivals.bytes !== bytes || arrivals.checksum !== expected.checksum) throw new Error("bytes were lost or changed");
    arrivals.checks = false;
  }
  const contenders = ways.map(
    ({ way }) =>
      async () =>
        (await time(way)) / unit.length,
  );
  const rounds = await inTurn(ROUNDS, WARM_UP_ROUNDS, contenders);
  for (const { arrivals, way } of ways) {
    way.close();
    if (arrivals.bytes % bytes !== 0) throw new Error("bytes were lost");
  }

  const result = (name: string, ours: number, peer: number): Result => {
    const pairs = rounds.map((measured) => [measured[ours] as number, measured[peer] as number] as const);
    const size = `batches of ${maxEvents} events, ${Math.round(bytes / unit.length)} bytes`;
    return { name: `${name}: ${size}`, unit: "ns/batch", ...summary(pairs), target: undefined };
  };
  return [result("ring | message port", 0, 1), result("ring | bare copy", 0, 2), result("message port | bare copy", 1, 2)];
}

/** The transports of one process beside each other, and beside a copy of the same bytes into memory of the same size. */
export async function ring(): Promise<Result[]> {
  // As batches are by default, and a span at a time.
  return [...(await compared(512)), ...(await compared(3))];
}
