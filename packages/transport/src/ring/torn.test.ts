/** Guests that stop, hosts that read and memory that changes at every point of the other side's work. */
import { isTunnelError } from "@spanduct/protocol";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRing, HEADER_BYTES, TAKEN, Word } from "./layout.ts";
import { RingReader } from "./ring-reader.ts";
import { type RingSender, ringSender } from "./ring-sender.ts";

const OPERATIONS = ["load", "store", "or", "add", "compareExchange"] as const;

/** Called around each atomic operation, with the index of its word. */
type Between = (when: "before" | "after", index: number) => void;

/** Run `action`, with `between` around each atomic operation in it, but not around those that it does itself. */
function interleaved<T>(action: () => T, between: Between): T {
  const originals = OPERATIONS.map((name) => [name, Atomics[name]] as const);
  const atomics = Atomics as unknown as { [name: string]: unknown };
  const restore = (): void => {
    for (const [name, original] of originals) atomics[name] = original;
  };
  const patch = (): void => {
    for (const [name, original] of originals) {
      atomics[name] = (...args: [words: Int32Array, index: number]) => {
        restore();
        try {
          between("before", args[1]);
          const result = (original as (...args: unknown[]) => unknown)(...args);
          between("after", args[1]);
          return result;
        } finally {
          patch();
        }
      };
    }
  };
  patch();
  try {
    return action();
  } finally {
    restore();
  }
}

/** A guest that hands over each event at once. An event is its length, its number and padding. */
class Guest {
  readonly #sender: RingSender;
  #batch = new Uint8Array();
  #sent = 0;
  /** Number of the next event. */
  next = 0;
  /** Numbers of the events that the ring took. */
  readonly accepted: number[] = [];

  constructor(ring: Uint8Array) {
    this.#sender = ringSender(ring);
  }

  /** @param grow whether to try that; else the event goes into a batch of its own */
  trace(length: number, grow: boolean): void {
    const event = new Uint8Array(3 + length).fill(0xee);
    event.set([length, this.next >> 8, this.next & 0xff]);
    const batch = grow ? Uint8Array.of(...this.#batch, ...event) : event;
    if (!grow || this.#sent === 0 || this.#sender.grow(batch, this.#sent) === false) {
      this.#batch = event;
      this.#sent = 0;
      try {
        this.#sender.send(event);
      } catch (error) {
        if (!isTunnelError(error)) throw error;
        this.next++;
        return;
      }
    } else {
      this.#batch = batch;
    }
    this.#sent = this.#batch.length;
    this.accepted.push(this.next++);
  }
}

/** Numbers of the events in batches. */
function eventsIn(batches: readonly Uint8Array[]): number[] {
  const numbers: number[] = [];
  for (const batch of batches) {
    for (let at = 0; at < batch.length; ) {
      const [length = 0, high = 0, low = 0] = batch.subarray(at, at + 3);
      const padding = batch.subarray(at + 3, at + 3 + length);
      if (padding.length < length || padding.some((byte) => byte !== 0xee)) throw new Error(`event ${low} is torn`);
      numbers.push((high << 8) | low);
      at += 3 + length;
    }
  }
  return numbers;
}

function takeAll(reader: RingReader): Uint8Array[] {
  const batches: Uint8Array[] = [];
  reader.look();
  for (let batch = reader.take(); batch !== undefined; batch = reader.take()) batches.push(batch);
  return batches;
}

/** What a guest does, and where the host reads. */
const program = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ length: fc.nat(60), grow: fc.boolean() }) },
    { weight: 1, arbitrary: fc.constant("read" as const) },
  ),
  { maxLength: 12 },
);

describe("a guest that stops", () => {
  it("after any of its stores leaves what it had published, whole, and nothing else", () => {
    fc.assert(
      fc.property(program, fc.infiniteStream(fc.boolean()), (steps, coins) => {
        const ring = createRing(256);
        const guest = new Guest(ring);
        const reader = new RingReader(ring);
        const read: number[] = [];
        let images = 0;

        /** The host finds `image` when the guest is dead. */
        const expectIn = (image: Uint8Array, published: readonly number[]): void => {
          images++;
          const memory = createRing(256);
          memory.set(image);
          expect([...read, ...eventsIn(takeAll(new RingReader(memory)))]).toEqual(published);
        };

        for (const step of steps) {
          if (step === "read") {
            read.push(...eventsIn(takeAll(reader)));
            continue;
          }
          let seen: readonly number[] = [...guest.accepted];
          let last = ring.slice();
          interleaved(
            () => guest.trace(step.length, step.grow),
            (when, index) => {
              const image = ring.slice();
              const changed = [...image.keys()].filter((i) => image[i] !== last[i]);
              // The one atomic store that publishes is that of `written`, or of the length of a record.
              if (when === "after" && changed.length > 0 && (index === Word.written || index >= HEADER_BYTES / 4)) {
                seen = [...guest.accepted, guest.next];
              }
              if (when === "before") {
                // Plain stores may have got through in any order, and any number of them.
                for (let count = 0; count < changed.length; count++) {
                  const ordered = last.slice();
                  for (const i of changed.slice(0, count)) ordered[i] = image[i] as number;
                  expectIn(ordered, seen);
                  const any = last.slice();
                  for (const i of changed) if (coins.next().value) any[i] = image[i] as number;
                  expectIn(any, seen);
                }
              }
              expectIn(image, seen);
              last = image;
            },
          );
          expectIn(ring, guest.accepted);
          expect(seen).toEqual(guest.accepted);
        }
        if (steps.some((step) => step !== "read")) expect(images).toBeGreaterThan(3);
      }),
      { numRuns: 150 },
    );
  });
});

describe("a host that reads", () => {
  it("at any point of what the guest does gets every event once, whole and in order", () => {
    fc.assert(
      fc.property(program, fc.nat(5), (steps, every) => {
        // Where the host reads is tried out: at every point alone, and at each n-th one.
        for (let point = 0, points = 1; point < points; point++) {
          const ring = createRing(256);
          const guest = new Guest(ring);
          const reader = new RingReader(ring);
          const read: number[] = [];
          points = 0;
          for (const step of steps) {
            if (step === "read") continue;
            interleaved(
              () => guest.trace(step.length, step.grow),
              () => {
                const here = points++;
                if (here === point || (every > 0 && here > point && (here - point) % every === 0)) {
                  read.push(...eventsIn(takeAll(reader)));
                }
              },
            );
          }
          read.push(...eventsIn(takeAll(reader)));
          expect(read).toEqual(guest.accepted);
        }
      }),
      { numRuns: 100 },
    );
  });

  it("is not disturbed by a guest that writes at any point of its reading", () => {
    fc.assert(
      fc.property(program, program, (before, meanwhile) => {
        for (let point = 0, points = 1; point < points; point++) {
          const ring = createRing(256);
          const guest = new Guest(ring);
          const reader = new RingReader(ring);
          for (const step of before) if (step !== "read") guest.trace(step.length, step.grow);
          points = 0;
          const read = interleaved(
            () => eventsIn(takeAll(reader)),
            () => {
              if (points++ !== point) return;
              for (const step of meanwhile) if (step !== "read") guest.trace(step.length, step.grow);
            },
          );
          read.push(...eventsIn(takeAll(reader)));
          expect(read).toEqual(guest.accepted);
        }
      }),
      { numRuns: 100 },
    );
  });
});

/** Words that are likely to hit something. */
const word = fc.oneof(
  fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  fc.integer({ min: -300, max: 300 }),
  fc.constantFrom(0x7fff_ffff, -0x8000_0000, TAKEN, TAKEN | 8, 252, 253, 256, 260, 4, 3, 0, -1),
);
/** Stores of a guest that means harm: header or data, anywhere. */
const attack = fc.array(
  fc.tuple(
    fc.oneof(
      fc.constantFrom(
        Word.written,
        Word.written,
        Word.read,
        Word.hostWaits,
        Word.guestWaits,
        Word.closed,
        Word.capacity,
        Word.mark,
      ),
      fc.nat(HEADER_BYTES / 4 + 63),
    ),
    word,
  ),
  { maxLength: 12 },
);

describe("a guest that means harm", () => {
  /** Look and take until there is no more. @returns how it ended, and the lengths of what was taken */
  function readAll(reader: RingReader): { readonly error: string | undefined; readonly lengths: number[] } {
    const lengths: number[] = [];
    try {
      for (const batch of takeAll(reader)) lengths.push(batch.length);
      return { error: undefined, lengths };
    } catch (error) {
      if (!isTunnelError(error)) throw error;
      return { error: error.code, lengths };
    }
  }

  it("gets a coded error and is given up, or is read within bounds, whatever it stores and whenever", () => {
    let broken = 0;
    fc.assert(
      fc.property(program, attack, attack, fc.nat(40), (steps, first, second, point) => {
        const ring = createRing(256);
        const words = new Int32Array(ring.buffer);
        const guest = new Guest(ring);
        const reader = new RingReader(ring);
        for (const step of steps) {
          if (step === "read") takeAll(reader);
          else guest.trace(step.length, step.grow);
        }
        for (const [index, value] of first) words[index] = value;
        let points = 0;
        const { error, lengths } = interleaved(
          () => readAll(reader),
          () => {
            if (points++ === point) for (const [index, value] of second) words[index] = value;
          },
        );
        // What one look finds is at most the ring full of empty records, each of which fits.
        expect(lengths.length).toBeLessThanOrEqual(64);
        expect(lengths.every((length) => length <= 252)).toBe(true);
        expect(points).toBeLessThan(2000);
        expect([undefined, "malformed"]).toContain(error);
        if (error !== undefined) {
          broken++;
          words[Word.written] = (words[Word.read] as number) + 8;
          expect(readAll(reader)).toEqual({ error: undefined, lengths: [] });
        }
      }),
      { numRuns: 3000 },
    );
    expect(broken).toBeGreaterThan(300);
  });

  const FIRST = HEADER_BYTES / 4;

  it.each<[string, readonly [index: number, value: number][], string]>([
    ["more than the ring holds", [[Word.written, 260]], "the guest has written 260 bytes of 256"],
    ["less than nothing", [[Word.written, -260]], "the guest has written -260 bytes of 256"],
    ["half a word", [[Word.written, 6]], "the guest has written 6 bytes of 256"],
    [
      "a record that was taken",
      [
        [Word.written, 8],
        [FIRST, TAKEN | 4],
      ],
      "a record has the length 0x80000004",
    ],
    [
      "a record that is too long",
      [
        [Word.written, 8],
        [FIRST, 253],
      ],
      "a record has the length 0xfd",
    ],
  ])('gives "malformed" for %s', (_, stores, reason) => {
    const ring = createRing(256);
    const reader = new RingReader(ring);
    for (const [index, value] of stores) new Int32Array(ring.buffer)[index] = value;
    expect(() => takeAll(reader)).toThrow(`[malformed] ${reason} at offset 0`);
    expect([reader.look(), reader.take()]).toEqual([0, undefined]);
  });

  it("is told apart from memory that is no ring, whatever its header says", () => {
    fc.assert(
      fc.property(attack, fc.nat(8), (stores, offset) => {
        const ring = createRing(256);
        const words = new Int32Array(ring.buffer);
        for (const [index, value] of stores) words[index] = value;
        try {
          const { capacity } = new RingReader(ring.subarray(offset));
          expect([offset, Math.log2(capacity) % 1]).toEqual([0, 0]);
          expect(capacity).toBeLessThanOrEqual(256);
        } catch (error) {
          if (!isTunnelError(error)) throw error;
          expect(error.code).toBe("malformed");
        }
      }),
      { numRuns: 1000 },
    );
  });
});
