import { controlWord } from "@spanduct/protocol";
import { Pump } from "@spanduct/transport";
import { streamReceiver } from "@spanduct/transport/stream";
import type { Random } from "../random.ts";
import { holds, same, type Target } from "../target.ts";

type Item =
  /** As much as the stream brings at once. */
  { readonly chunk: Uint8Array };

const MAX_BATCH_BYTES = 300;
const PREFACE = [...Buffer.from("spanduct/1\n")];
const BATCH = 1;
const END = 2;
const MAX_END_BYTES = 64 * 1024;

/** The host's end of a byte stream: what comes is cut into batches however it was cut on the way. */
export function streamTarget(): Target<Item> {
  return {
    name: "stream",
    what: "a stream of bytes, however it is chopped and broken, gives the batches that a naive reader finds, and no others",
    make(random) {
      let bytes = [...PREFACE, ...Array.from({ length: random.below(12) }, () => anyFrame(random)).flat()];
      if (random.oneIn(2)) bytes = damage(random, bytes);
      const items: Item[] = [];
      for (let at = 0; at < bytes.length; ) {
        const end = at + random.pick([1, 1, 3, 5, 64, 5000]);
        items.push({ chunk: Uint8Array.from(bytes.slice(at, end)) });
        at = end;
      }
      return items;
    },
    run(items) {
      const expected = naive(items.flatMap(({ chunk }) => [...chunk]));
      const stream = new FakeStream();
      const turns: (() => void)[] = [];
      const batches: number[][] = [];
      const receiver = streamReceiver(
        stream,
        (bytes) => {
          batches.push([...bytes]);
          return controlWord(5, false);
        },
        { maxBatchBytes: MAX_BATCH_BYTES, pump: new Pump({ schedule: (turn) => turns.push(turn) }) },
      );
      for (const { chunk } of items) {
        if (!stream.destroyed) stream.emit("data", chunk);
        for (let turn = turns.shift(); turn !== undefined; turn = turns.shift()) turn();
      }
      same("batches", batches, expected.batches);
      same("batches that are counted", receiver.stats.batches, batches.length);
      holds("a stream that breaks the form is closed, and no other", stream.destroyed === expected.isOver);
      return items.length;
    },
  };
}

function anyFrame(random: Random): number[] {
  const payload = Array.from({ length: random.pick([0, 1, 7, 200, MAX_BATCH_BYTES]) }, () => random.below(256));
  return [random.oneIn(30) ? END : BATCH, ...lengthOf(payload.length), ...payload];
}

function lengthOf(length: number): number[] {
  return [length & 0xff, (length >>> 8) & 0xff, (length >>> 16) & 0xff, length >>> 24];
}

function damage(random: Random, bytes: number[]): number[] {
  const at = random.below(bytes.length + 1);
  switch (random.below(5)) {
    case 0:
      return bytes.with(Math.min(at, bytes.length - 1), random.below(256));
    case 1:
      return bytes.toSpliced(at, random.between(1, 9));
    case 2:
      return bytes.toSpliced(at, 0, ...Array.from({ length: random.between(1, 9) }, () => random.pick([0, 1, 2, 5, 255])));
    case 3:
      // Promises of more than there will ever be.
      return [
        ...bytes,
        random.pick([BATCH, END, 3, 255]),
        ...lengthOf(random.pick([MAX_BATCH_BYTES + 1, 65_537, 2 ** 31, 2 ** 32 - 1])),
        1,
      ];
    default:
      return bytes.slice(0, at);
  }
}

/** What is in a stream, read with all of it at hand. */
function naive(bytes: readonly number[]): { readonly batches: number[][]; readonly isOver: boolean } {
  const batches: number[][] = [];
  const begins = PREFACE.every((byte, at) => at >= bytes.length || bytes[at] === byte);
  if (!begins) return { batches, isOver: true };
  for (let at = PREFACE.length; at < bytes.length; ) {
    const kind = bytes[at] as number;
    if (kind !== BATCH && kind !== END) return { batches, isOver: true };
    if (at + 5 > bytes.length) break;
    const [a, b, c, d] = bytes.slice(at + 1, at + 5) as [number, number, number, number];
    const length = a + b * 2 ** 8 + c * 2 ** 16 + d * 2 ** 24;
    if (length > (kind === BATCH ? MAX_BATCH_BYTES : MAX_END_BYTES)) return { batches, isOver: true };
    if (at + 5 + length > bytes.length) break;
    if (kind === END) return { batches, isOver: true };
    batches.push(bytes.slice(at + 5, at + 5 + length));
    at += 5 + length;
  }
  return { batches, isOver: false };
}

/** What is used of a duplex stream of Node. */
class FakeStream {
  destroyed = false;
  readonly #listeners: { readonly event: string; readonly listener: (argument: unknown) => void }[] = [];

  on(event: string, listener: (argument: unknown) => void): void {
    this.#listeners.push({ event, listener });
  }

  emit(event: string, argument: unknown): void {
    for (const each of this.#listeners) if (each.event === event) each.listener(argument);
  }

  write(): boolean {
    return true;
  }

  end(done: () => void): void {
    done();
  }

  destroy(): void {
    this.destroyed = true;
  }

  pause(): void {}
  resume(): void {}
}
