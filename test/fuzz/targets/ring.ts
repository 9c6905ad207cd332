import { DecodeError, isTunnelError } from "@spanduct/protocol";
import { createRing, RingReader, ringSender } from "@spanduct/transport/ring";
import type { Random } from "../random.ts";
import { holds, same, type Target } from "../target.ts";

type Item =
  /** A batch, written as the sender does it. */
  | { readonly send: Uint8Array }
  /** More of the last batch. */
  | { readonly grow: Uint8Array }
  /** A word of the ring that the guest overwrites; the index counts from the end where it is below 0. */
  | { readonly word: number; readonly value: number }
  /** The host looks, and takes so many batches. */
  | { readonly take: number };

/** Bytes of data: a ring of so few wraps often. */
const CAPACITY = 256;
const WORDS = [0, 1, 16, 17, 18, 32, 33, 34, 35, 36];
const VALUES = [0, 1, -1, 3, 4, 64, 252, 256, 257, 260, 2 ** 31 - 1, -(2 ** 31), 2 ** 30];

/** The host's reader of a ring, while the guest writes whatever it likes into the memory. */
export function ringTarget(): Target<Item> {
  return {
    name: "ring",
    what: "batches come as they were written, in order, and from broken rings come copies of bounded length or one coded error",
    make(random) {
      const honest = random.oneIn(3);
      return Array.from({ length: random.between(4, 80) }, () => anyItem(random, honest));
    },
    run(items) {
      const ring = createRing(CAPACITY);
      const sender = ringSender(ring);
      const reader = new RingReader(ring);
      const words = new Int32Array(ring.buffer);
      /** What was written and not taken, as long as nobody has broken the ring. */
      const written: number[][] = [];
      let isHonest = true;
      let isOver = false;
      let events = 0;
      for (const item of items) {
        events++;
        if ("send" in item) {
          if (attempt(() => sender.send(item.send)) !== undefined && isHonest) written.push([...item.send]);
        } else if ("grow" in item) {
          let grown = false;
          attempt(() => {
            grown = sender.grow(item.grow, 0) !== false;
          });
          if (!isHonest || !grown) continue;
          holds("a batch that was taken does not grow", written.length > 0);
          written.at(-1)?.push(...item.grow);
        } else if ("word" in item) {
          words[(item.word + words.length) % words.length] = item.value;
          isHonest = false;
        } else {
          const taken = take(reader, item.take);
          if (isOver) same("what comes out of a ring that was given up", taken, []);
          if (taken === undefined) {
            holds("a ring that nobody has broken is whole", !isHonest);
            isOver = true;
          } else if (isHonest) {
            same(
              "batches",
              taken.map((batch) => [...batch]),
              written.splice(0, taken.length),
            );
            holds("all that is there is taken", taken.length === item.take || written.length === 0);
          } else {
            holds(
              "a batch is no longer than the ring",
              taken.every((batch) => batch.length < CAPACITY),
            );
            holds(
              "a batch is a copy",
              taken.every((batch) => batch.buffer !== ring.buffer),
            );
          }
        }
      }
      return events;
    },
  };
}

function anyItem(random: Random, honest: boolean): Item {
  const bytes = (): Uint8Array =>
    Uint8Array.from({ length: random.below(random.pick([1, 5, 40, 300])) }, () => random.below(256));
  switch (random.below(honest ? 6 : 8)) {
    case 0:
    case 1:
    case 2:
      return { send: bytes() };
    case 3:
      return { grow: bytes() };
    case 4:
    case 5:
      return { take: random.pick([1, 2, 100]) };
    default:
      return {
        word: random.oneIn(2) ? random.pick(WORDS) : -1 - random.below(CAPACITY / 4),
        value: random.oneIn(2) ? random.pick(VALUES) : random.below(CAPACITY),
      };
  }
}

/** @returns the batches that were there; `undefined` when the ring is broken */
function take(reader: RingReader, most: number): Uint8Array[] | undefined {
  const taken: Uint8Array[] = [];
  try {
    const bytes = reader.look();
    holds("what is there fits into the ring", bytes >= 0 && bytes <= reader.capacity);
    for (let batch = reader.take(); batch !== undefined; batch = reader.take()) {
      taken.push(batch);
      if (taken.length === most) break;
      // A record is four bytes at least.
      holds("there are no more batches than fit", taken.length <= CAPACITY / 4);
    }
  } catch (error) {
    if (error instanceof DecodeError && error.code === "malformed") return undefined;
    throw error;
  }
  return taken;
}

function attempt(send: () => unknown): true | undefined {
  try {
    send();
    return true;
  } catch (error) {
    if (isTunnelError(error)) return undefined;
    // The guest has broken its own ring.
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
