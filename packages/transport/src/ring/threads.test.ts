/** Rings between real threads. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { controlWord } from "@spanduct/protocol";
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { createRing } from "./layout.ts";
import { ringReceiver } from "./ring-receiver.ts";

const MODULE = JSON.stringify(new URL("../../dist/ring/index.js", import.meta.url).href);
const PLAIN = controlWord(5, false);

/** What both sides know of the events: number and seed give the bytes. */
const EVENTS = `
  function random(seed) {
    return () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return (t ^ (t >>> 14)) >>> 0;
    };
  }
  /** Event: number and length in four bytes each, then bytes that follow from the number. */
  function event(number, length) {
    const bytes = new Uint8Array(8 + length).fill(number * 31 + 7);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, number);
    view.setUint32(4, length);
    return bytes;
  }
`;

interface GuestData {
  readonly ring: Uint8Array;
  /** Where the guest says how many events the ring has taken, and how many not. */
  readonly counts?: Int32Array;
  readonly seed?: number;
}

/** A worker whose code finds its `workerData`, a `sender` of the ring, and `event` and `random`. */
function startGuest(code: string, data: GuestData, options: object = {}): Worker {
  const source = `
    const { workerData } = require("node:worker_threads");
    const { ring, counts, seed } = workerData;
    ${EVENTS}
    import(${MODULE}).then(({ ringSender }) => {
      const sender = ringSender(ring, ${JSON.stringify(options)});
      ${code}
    });
  `;
  const worker = new Worker(source, { eval: true, workerData: data });
  onTestFinished(async () => {
    await worker.terminate();
  });
  return worker;
}

/** Sends events of random length, some as growth of the batch before, and counts them. Never ends by itself if \`total\` is 0. */
function storm(total: number, maxLength: number): string {
  return `
    const next = random(seed);
    let batch = new Uint8Array(), sent = 0;
    for (let number = 0; ${total} === 0 || number < ${total}; number++) {
      const one = event(number, next() % ${maxLength});
      const joined = new Uint8Array(batch.length + one.length);
      joined.set(batch);
      joined.set(one, batch.length);
      if (next() % 4 > 0 && batch.length > 0 && joined.length < 2000 && sender.grow(joined, batch.length) !== false) {
        batch = joined;
      } else {
        batch = one;
        try {
          sender.send(one);
        } catch (error) {
          if (error.code !== "transport_failed") throw error;
          batch = new Uint8Array();
          Atomics.add(counts, 1, 1);
          continue;
        }
      }
      Atomics.add(counts, 0, 1);
    }
  `;
}

/** Checks batches of events, and keeps their numbers. */
class Checker {
  readonly numbers: number[] = [];

  readonly onBatch = (batch: Uint8Array): number => {
    const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength);
    for (let at = 0; at < batch.length; ) {
      const number = view.getUint32(at);
      const length = view.getUint32(at + 4);
      const byte = (number * 31 + 7) & 0xff;
      for (let i = at + 8; i < at + 8 + length; i++) {
        if (batch[i] !== byte) throw new Error(`event ${number} is torn at byte ${i - at}`);
      }
      this.numbers.push(number);
      at += 8 + length;
    }
    return PLAIN;
  };

  /** All numbers from 0 to so many, in order. */
  isComplete(total: number): boolean {
    return this.numbers.length === total && this.numbers.every((number, i) => number === i);
  }

  get isOrdered(): boolean {
    return this.numbers.every((number, i) => i === 0 || number > (this.numbers[i - 1] as number));
  }
}

const seeds = fc.sample(fc.nat(), { numRuns: 4, seed: Date.now() });

describe("a ring between threads", { timeout: 60_000 }, () => {
  it.each(seeds)("with waiting loses nothing: 4000 events of random length through 4 KiB (seed %d)", async (seed) => {
    const ring = createRing(4096);
    const counts = new Int32Array(new SharedArrayBuffer(8));
    const checker = new Checker();
    const host = ringReceiver(ring, checker.onBatch);
    await once(startGuest(storm(4000, 400), { ring, counts, seed }, { waitMs: 10_000 }), "exit");
    await host.drain();
    host.close();
    expect([...counts]).toEqual([4000, 0]);
    expect(checker.isComplete(4000)).toBe(true);
  });

  it.each(seeds)("without waiting loses only what it counts: 50000 events through 4 KiB (seed %d)", async (seed) => {
    const ring = createRing(4096);
    const counts = new Int32Array(new SharedArrayBuffer(8));
    const checker = new Checker();
    const host = ringReceiver(ring, checker.onBatch);
    await once(startGuest(storm(50_000, 400), { ring, counts, seed }), "exit");
    await host.drain();
    host.close();
    const [sent = 0, refused = 0] = counts;
    expect(sent + refused).toBe(50_000);
    expect(refused).toBeGreaterThan(0);
    expect(host.stats.refused).toBe(refused);
    expect(checker.numbers.length).toBe(sent);
    expect(checker.isOrdered).toBe(true);
  });

  it.each(seeds)("has all that a guest wrote before it was terminated (seed %d)", async (seed) => {
    for (let round = 0; round < 5; round++) {
      const ring = createRing(65_536);
      const counts = new Int32Array(new SharedArrayBuffer(8));
      const checker = new Checker();
      // Every second host reads meanwhile; else the guest sleeps when the ring is full.
      const live = round % 2 === 0 ? ringReceiver(ring, checker.onBatch) : undefined;
      const worker = startGuest(storm(0, 60), { ring, counts, seed: seed + round }, { waitMs: 60_000 });
      while (Atomics.load(counts, 0) === 0) await new Promise(setImmediate);
      for (let turns = (seed >> round) % 2000; turns > 0; turns--) await new Promise(setImmediate);
      await worker.terminate();
      const host = live ?? ringReceiver(ring, checker.onBatch);
      await host.drain();
      host.close();
      const confirmed = Atomics.load(counts, 0);
      // The guest may have died between the last store of an event and its count.
      expect([confirmed, confirmed + 1]).toContain(checker.numbers.length);
      expect(checker.isComplete(checker.numbers.length)).toBe(true);
    }
  });

  it("waits for a host that is dead only once, and goes on when that comes back to life", async () => {
    const ring = createRing(256);
    const counts = new Int32Array(new SharedArrayBuffer(8));
    const worker = startGuest(
      `for (let number = 0; number < 2000; number++) {
         try { sender.send(event(number, 40)); Atomics.add(counts, 0, 1); } catch { Atomics.add(counts, 1, 1); }
         if (number === 1000) Atomics.wait(counts, 1, Atomics.load(counts, 1));
       }`,
      { ring, counts },
      { waitMs: 200 },
    );
    const start = performance.now();
    while (Atomics.load(counts, 0) + Atomics.load(counts, 1) < 1001) await new Promise((resolve) => setTimeout(resolve, 1));
    // A thousand waits would be two hundred seconds.
    expect(performance.now() - start).toBeLessThan(20_000);
    expect([...counts]).toEqual([4, 997]);

    const checker = new Checker();
    const host = ringReceiver(ring, checker.onBatch);
    await host.drain();
    Atomics.notify(counts, 1);
    await once(worker, "exit");
    await host.drain();
    host.close();
    expect([...counts]).toEqual([4 + 999, 997]);
    expect(checker.numbers).toHaveLength(4 + 999);
  });

  it("waits no longer when the host closes the ring", async () => {
    const ring = createRing(256);
    const counts = new Int32Array(new SharedArrayBuffer(8));
    const host = ringReceiver(ring, () => {
      // What the guest waits for does not come.
      host.close();
      return PLAIN;
    });
    const worker = startGuest(
      `const codes = [];
       for (let number = 0; number < 1000; number++) try { sender.send(event(number, 40)); } catch (error) { codes.push(error.code); }
       Atomics.store(counts, 0, codes.filter((code) => code === "transport_closed").length);`,
      { ring, counts },
      { waitMs: 600_000 },
    );
    await once(worker, "exit");
    expect(counts[0]).toBeGreaterThan(900);
  });

  it("sees the host's level at once, also in a guest that never yields and sends nothing", async () => {
    const ring = createRing();
    let level = 5;
    const host = ringReceiver(ring, () => controlWord(level, false), { control: () => controlWord(level, false) });
    const worker = startGuest(
      `const log = [];
       for (const wanted of [0x53500005, 0x53500000, 0x53500004]) {
         while (sender.control() !== wanted);
         require("node:worker_threads").parentPort.postMessage(wanted & 7);
       }`,
      { ring },
    );
    for (const next of [0, 4, 4]) {
      const [seen] = await once(worker, "message");
      expect(seen).toBe(level);
      level = next;
    }
    await once(worker, "exit");
    host.close();
  });

  it.each([
    ["small batches at full speed", `for (;;) { try { sender.send(event(1, 8)); } catch {} }`],
    ["empty batches at full speed", `const empty = new Uint8Array(); for (;;) { try { sender.send(empty); } catch {} }`],
    ["batches as large as the ring", `const large = event(1, 2 ** 20 - 100); for (;;) { try { sender.send(large); } catch {} }`],
    [
      "a header that is scribbled over",
      `const words = new Int32Array(ring.buffer, 64, 60);
       const next = random(1);
       for (;;) words[next() % 60] = next();`,
    ],
    [
      "a ring that seems full of empty records, again and again",
      `const words = new Int32Array(ring.buffer);
       for (;;) { words.fill(0, 48); Atomics.store(words, 16, Atomics.load(words, 32) + 2 ** 20); }`,
    ],
  ])("leaves the host its timers: %s", async (_, code) => {
    const ring = createRing();
    let batches = 0;
    const errors: string[] = [];
    const host = ringReceiver(
      ring,
      () => {
        batches++;
        // As much as a receiver needs.
        for (const end = performance.now() + 0.002; performance.now() < end; );
        return PLAIN;
      },
      { onFailure: ({ code }) => errors.push(code) },
    );
    const worker = startGuest(code, { ring });
    while (batches === 0 && errors.length === 0) await new Promise(setImmediate);
    const late: number[] = [];
    for (let i = 0; i < 20; i++) {
      const start = performance.now();
      await new Promise((resolve) => setTimeout(resolve, 5));
      late.push(performance.now() - start - 5);
    }
    host.close();
    await worker.terminate();
    // The median, because machines under load answer now and then late by themselves.
    expect(late.sort((a, b) => a - b)[10]).toBeLessThan(50);
    expect(["", "malformed"]).toContain(errors.join());
  });
});
