import { controlWord, isTunnelError, type TunnelError } from "@spanduct/protocol";
import { afterEach, describe, expect, it, onTestFinished } from "vitest";
import { type TransportPair, type TransportSetup, transportContract } from "../../../../test/contract/transport.ts";
import { Pump } from "../pump.ts";
import { createRing, LONG, Word } from "./layout.ts";
import { RingReader } from "./ring-reader.ts";
import { type RingReceiverOptions, ringReceiver } from "./ring-receiver.ts";
import { type RingSender, ringSender } from "./ring-sender.ts";

const PLAIN = controlWord(5, false);

/** Lets the event loop turn until `condition` holds. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}

function pair(capacity: number, { onBatch }: TransportSetup): TransportPair {
  const ring = createRing(capacity);
  const guest = ringSender(ring);
  let handled = 0;
  let sent = 0;
  const host = ringReceiver(ring, (bytes) => {
    const word = onBatch(bytes);
    handled++;
    return word;
  });
  return {
    guest: {
      send(batch) {
        const word = guest.send(batch);
        sent++;
        return word;
      },
    },
    settle: () => until(() => handled === sent),
    closeHost: async () => host.close(),
    [Symbol.asyncDispose]: async () => host.close(),
  };
}

const exceptions = [
  {
    reason: "a ring never holds a batch that is larger than the ring",
    titles: ["send: a batch above the bound goes through when nothing else is on its way"],
  },
];

transportContract("ring", (setup) => pair(setup.maxInFlightBytes, setup), exceptions);

describe("without Atomics.waitAsync", () => {
  const atomics = Atomics as { waitAsync?: unknown };
  const { waitAsync } = atomics;
  transportContract(
    "ring that is polled",
    (setup) => {
      delete atomics.waitAsync;
      return pair(setup.maxInFlightBytes, setup);
    },
    exceptions,
  );
  afterEach(() => {
    atomics.waitAsync = waitAsync;
  });
});

/** A batch that begins with its number, and whose other bytes follow from it. */
function batchOf(number: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => number * 7 + i);
}

function code(action: () => unknown): string | undefined {
  try {
    action();
  } catch (error) {
    if (isTunnelError(error)) return error.code;
    throw error;
  }
  return undefined;
}

/** All that a reader finds. */
function takeAll(reader: RingReader): Uint8Array[] {
  const batches: Uint8Array[] = [];
  reader.look();
  for (let batch = reader.take(); batch !== undefined; batch = reader.take()) batches.push(batch);
  return batches;
}

describe("createRing", () => {
  it.each([
    [0, 64],
    [64, 64],
    [65, 128],
    [100_000, 131_072],
    [2 ** 26, 2 ** 26],
    [2 ** 40, 2 ** 26],
    [Number.NaN, 64],
  ])("of %d bytes has a capacity of %d", (asked, capacity) => {
    expect(new RingReader(createRing(asked)).capacity).toBe(capacity);
  });

  it('throws "transport_failed" where there is no shared memory', () => {
    const global = globalThis as { SharedArrayBuffer?: unknown };
    const original = global.SharedArrayBuffer;
    delete global.SharedArrayBuffer;
    try {
      expect(code(() => createRing())).toBe("transport_failed");
    } finally {
      global.SharedArrayBuffer = original;
    }
  });
});

describe("ringSender", () => {
  it("writes batches of every length around every place where a small ring wraps", () => {
    const ring = createRing(64);
    const sender = ringSender(ring);
    const reader = new RingReader(ring);
    for (let number = 0; number < 2000; number++) {
      const batch = batchOf(number, (number * 5) % 61);
      sender.send(batch);
      expect(takeAll(reader)).toEqual([batch]);
    }
  });

  it.each([0, 4])("writes long batches however they and the ring, at offset %d, are aligned", (offset) => {
    const empty = createRing(4096);
    const ring = new Uint8Array(new SharedArrayBuffer(offset + empty.length), offset);
    ring.set(empty);
    const sender = ringSender(ring);
    const reader = new RingReader(ring);
    for (let number = 0; number < 256; number++) {
      const length = LONG - 9 + ((number * 5) % 64);
      const batch = batchOf(number, 2 * length);
      const memory = new Uint8Array(3 * LONG).subarray(number % 8);
      memory.set(batch);
      sender.send(memory.subarray(0, length));
      expect(sender.grow(memory, length, 2 * length)).toBeUndefined();
      expect(takeAll(reader)).toEqual([batch]);
    }
  });

  it.each([2 ** 31, 2 ** 32])("goes on when positions pass %d", (limit) => {
    const ring = createRing(256);
    const words = new Int32Array(ring.buffer);
    words[Word.written] = words[Word.read] = limit - 1000;
    const sender = ringSender(ring);
    const reader = new RingReader(ring);
    for (let number = 0; number < 30; number++) {
      const full = [batchOf(number, 92), batchOf(number, 111)] as const;
      for (const batch of full) sender.send(batch);
      expect(sender.grow(batchOf(number, 156), 111)).toBeUndefined();
      expect(code(() => sender.send(new Uint8Array()))).toBe("transport_failed");
      expect(takeAll(reader)).toEqual([full[0], batchOf(number, 156)]);
    }
    expect((words[Word.read] as number) >>> 0).toBe((limit - 1000 + 30 * 256) % 2 ** 32);
  });

  it("fills the ring to the last byte, refuses what is beyond, counts it, and goes on when there is room", () => {
    const ring = createRing(64);
    const sender = ringSender(ring);
    const reader = new RingReader(ring);
    sender.send(batchOf(1, 28));
    sender.send(batchOf(2, 25));
    expect(code(() => sender.send(new Uint8Array()))).toBe("transport_failed");
    expect(code(() => sender.send(new Uint8Array(61)))).toBe("transport_failed");
    expect(takeAll(reader)).toEqual([batchOf(1, 28), batchOf(2, 25)]);
    expect(reader.refused).toBe(2);
    sender.send(batchOf(3, 60));
    expect(code(() => sender.grow(batchOf(4, 1), 0))).toBeUndefined();
    expect(takeAll(reader)).toEqual([batchOf(3, 60)]);
  });

  it("says why it refuses a batch", () => {
    const sender = ringSender(createRing(64));
    expect(() => sender.send(new Uint8Array(61))).toThrow("[transport_failed] the batch is larger than the ring");
    expect(() => sender.send(new Uint8Array(2 ** 31 - 1))).toThrow("[transport_failed] the batch is larger than the ring");
    sender.send(new Uint8Array(60));
    expect(() => sender.send(new Uint8Array(1))).toThrow("[transport_failed] the ring is full, and the host does not read");
  });

  it("refuses at once where threads must not sleep, as on the main thread of a web page", () => {
    const sender = ringSender(createRing(64), { waitMs: 1_000_000 });
    sender.send(new Uint8Array(60));
    const { wait } = Atomics;
    Atomics.wait = () => {
      throw new TypeError("Atomics.wait cannot be called in this context");
    };
    try {
      for (let i = 0; i < 3; i++) expect(code(() => sender.send(Uint8Array.of(i)))).toBe("transport_failed");
    } finally {
      Atomics.wait = wait;
    }
  });

  it("tells the host's level before anything was sent, and follows it at every event", () => {
    const ring = createRing();
    const sender = ringSender(ring);
    expect(sender.control()).toBeUndefined();
    const reader = new RingReader(ring);
    reader.control(controlWord(4, true));
    reader.control(controlWord(3, false));
    expect([sender.control(), sender.control()]).toEqual([controlWord(3, true), controlWord(3, false)]);
    reader.control(controlWord(0, false));
    expect(sender.send(Uint8Array.of(1))).toBe(controlWord(0, false));
    reader.control(controlWord(2, true));
    expect(sender.grow(Uint8Array.of(1, 2), 1)).toBe(controlWord(2, true));
    expect(sender.grow(Uint8Array.of(1, 2, 3), 2)).toBe(controlWord(2, false));
  });

  it('needs a ring: anything else is "malformed"', () => {
    const ring = createRing(64);
    for (const memory of [new Uint8Array(191), new Uint8Array(4096), ring.subarray(4), ring.subarray(1), ring.subarray(0, 255)]) {
      expect(code(() => ringSender(memory))).toBe("malformed");
      expect(code(() => new RingReader(memory))).toBe("malformed");
    }
  });
});

describe("ringSender.grow", () => {
  function growing(capacity: number): { sender: RingSender; reader: RingReader } {
    const ring = createRing(capacity);
    return { sender: ringSender(ring), reader: new RingReader(ring) };
  }

  it("adds to the batch that was sent last, until the host has taken it", () => {
    const { sender, reader } = growing(256);
    sender.send(batchOf(1, 3));
    const batch = batchOf(1, 40);
    for (let length = 4; length <= 40; length++) {
      expect(sender.grow(batch.subarray(0, length), length - 1)).toBeUndefined();
    }
    expect(takeAll(reader)).toEqual([batch]);
    expect(takeAll(reader)).toEqual([]);
    expect(sender.grow(batchOf(1, 41), 40)).toBe(false);
    sender.send(batchOf(2, 9));
    expect(takeAll(reader)).toEqual([batchOf(2, 9)]);
    expect(sender.grow(batchOf(2, 10), 9)).toBe(false);
  });

  it("has nothing to add to before anything was sent", () => {
    expect(growing(64).sender.grow(Uint8Array.of(1), 0)).toBe(false);
  });

  it("writes nothing where there is no room", () => {
    const { sender, reader } = growing(128);
    sender.send(batchOf(1, 60));
    sender.send(batchOf(2, 1));
    expect(sender.grow(batchOf(2, 61), 1)).toBe(false);
    expect(sender.grow(batchOf(2, 60), 1)).toBeUndefined();
    expect(sender.grow(batchOf(2, 61), 60)).toBe(false);
    expect(takeAll(reader)).toEqual([batchOf(1, 60), batchOf(2, 60)]);
  });

  it("grows around the end of the ring, from every place", () => {
    const { sender, reader } = growing(64);
    for (let number = 0; number < 500; number++) {
      const batch = batchOf(number, 1 + ((number * 13) % 60));
      const first = number % batch.length;
      sender.send(batch.subarray(0, first));
      const second = first + ((batch.length - first) >> 1);
      sender.grow(batch.subarray(0, second), first);
      sender.grow(batch, second);
      expect(takeAll(reader)).toEqual([batch]);
    }
  });
});

/** A host whose timers and event loop turn by hand. */
class HandHost {
  readonly ring: Uint8Array = createRing(1024);
  readonly sender: RingSender = ringSender(this.ring);
  readonly received: Uint8Array[] = [];
  readonly turns: (() => void)[] = [];
  timers: { readonly ms: number; readonly run: () => void }[] = [];

  start(
    options: RingReceiverOptions = {},
    onBatch: (bytes: Uint8Array) => number = () => PLAIN,
  ): ReturnType<typeof ringReceiver> {
    const host = ringReceiver(
      this.ring,
      (bytes) => {
        this.received.push(bytes);
        return onBatch(bytes);
      },
      {
        pump: new Pump({ schedule: (turn) => this.turns.push(turn), now: () => 0 }),
        timer: (run, ms) => {
          const timer = { run, ms };
          this.timers.push(timer);
          return () => {
            this.timers = this.timers.filter((other) => other !== timer);
          };
        },
        ...options,
      },
    );
    onTestFinished(() => host.close());
    return host;
  }

  turn(): void {
    for (const turn of this.turns.splice(0)) turn();
  }

  fire(): void {
    for (const { run } of this.timers.splice(0)) run();
  }
}

describe("ringReceiver", () => {
  it("sleeps until the guest writes, and looks ten times a second all the same", async () => {
    const hand = new HandHost();
    let asked = 0;
    hand.start({ control: () => controlWord(++asked, false) });
    const words = new Int32Array(hand.ring.buffer);
    expect(hand.sender.control()).toBe(controlWord(1, false));
    expect([words[Word.hostWaits], hand.timers.map(({ ms }) => ms)]).toEqual([1, [100]]);
    hand.fire();
    expect([hand.sender.control(), hand.turns.length, hand.timers.length]).toEqual([controlWord(2, false), 0, 1]);

    hand.sender.send(Uint8Array.of(1));
    expect(words[Word.hostWaits]).toBe(0);
    await until(() => hand.turns.length > 0);
    hand.turn();
    expect(hand.received).toEqual([Uint8Array.of(1)]);
  });

  it("gives batches time to grow after it has read, and does not let itself be woken meanwhile", async () => {
    const hand = new HandHost();
    hand.start();
    hand.sender.send(Uint8Array.of(1));
    await until(() => hand.turns.length > 0);
    hand.turn();
    expect(hand.timers.map(({ ms }) => ms)).toEqual([5]);
    hand.sender.send(Uint8Array.of(2));
    hand.sender.grow(Uint8Array.of(2, 3), 1);
    expect([hand.turns.length, new Int32Array(hand.ring.buffer)[Word.hostWaits]]).toEqual([0, 0]);
    hand.fire();
    hand.turn();
    expect(hand.received).toEqual([Uint8Array.of(1), Uint8Array.of(2, 3)]);
    hand.fire();
    expect([new Int32Array(hand.ring.buffer)[Word.hostWaits], hand.timers.map(({ ms }) => ms)]).toEqual([1, [100]]);
  });

  it("takes in one turn what was there when it looked, and goes on at once only where the ring is filling up", async () => {
    const hand = new HandHost();
    let more = 1;
    hand.start({}, () => {
      // A guest that writes as fast as the host reads.
      for (let i = 0; i < more && hand.received.length < 5; i++) hand.sender.send(new Uint8Array(60));
      return PLAIN;
    });
    hand.sender.send(new Uint8Array(60));
    await until(() => hand.turns.length > 0);
    hand.turn();
    expect([hand.received.length, hand.turns.length]).toEqual([1, 0]);
    more = 3;
    hand.fire();
    hand.turn();
    expect([hand.received.length, hand.turns.length]).toEqual([11, 0]);
  });

  it("does not lose its guest when the handler throws: the error goes to the event loop, and the next batch is handled", async () => {
    const hand = new HandHost();
    let failures = 0;
    hand.start({}, (bytes) => {
      if (bytes[0] === 2) throw new Error(`failure ${++failures}`);
      return PLAIN;
    });
    for (const byte of [1, 2, 3]) hand.sender.send(Uint8Array.of(byte));
    await until(() => hand.turns.length > 0);
    expect(() => hand.turn()).toThrow("failure 1");
    hand.turn();
    expect(hand.received.map(([byte]) => byte)).toEqual([1, 2, 3]);
  });

  it("drain: resolves when what is there is handled, in short turns, and does not wait for what comes meanwhile", async () => {
    const hand = new HandHost();
    const host = hand.start({}, ([byte]) => {
      if (byte === 0) hand.sender.send(Uint8Array.of(99));
      return PLAIN;
    });
    for (let byte = 0; byte < 40; byte++) hand.sender.send(Uint8Array.of(byte));
    let drained = false;
    const promise = host.drain().then(() => {
      drained = true;
    });
    while (!drained) {
      hand.turn();
      await new Promise(setImmediate);
    }
    await promise;
    expect(hand.received.map(([byte]) => byte)).toEqual(Array.from({ length: 40 }, (_, i) => i));
    const again = host.drain();
    hand.turn();
    await again;
    expect(hand.received.at(-1)).toEqual(Uint8Array.of(99));
    expect(host.stats).toEqual({ batches: 41, bytes: 41, refused: 0 });
  });

  it("close: nothing runs any more, and the guest is told", async () => {
    const hand = new HandHost();
    const host = hand.start();
    hand.sender.send(Uint8Array.of(1));
    host.close();
    host.close();
    expect(hand.timers).toEqual([]);
    const drained = host.drain();
    hand.turn();
    await drained;
    expect(code(() => hand.sender.send(Uint8Array.of(2)))).toBe("transport_closed");
    await new Promise(setImmediate);
    hand.turn();
    expect([hand.received, hand.turns, hand.timers]).toEqual([[], [], []]);
  });

  it("tells once of a guest that has broken the ring, closes it, and goes on living", async () => {
    const hand = new HandHost();
    const errors: TunnelError[] = [];
    const host = hand.start({ onFailure: (error) => errors.push(error) });
    hand.sender.send(Uint8Array.of(1));
    new Int32Array(hand.ring.buffer)[Word.written] = 1_000_000;
    for (const drained of [host.drain(), host.drain()]) {
      hand.turn();
      await drained;
    }
    expect(errors.map(({ code }) => code)).toEqual(["malformed"]);
    expect(code(() => hand.sender.send(Uint8Array.of(2)))).toBe("transport_closed");
    expect(hand.timers).toEqual([]);
  });

  it("does not keep the process alive, asleep or after it has read", async () => {
    const { execFileSync } = await import("node:child_process");
    const module = JSON.stringify(new URL("../../dist/ring/index.js", import.meta.url).href);
    const source = `
      const { createRing, ringReceiver, ringSender } = await import(${module});
      ringReceiver(createRing(), () => 0);
      const ring = createRing();
      ringReceiver(ring, (bytes) => { console.log(bytes.length); return 0; });
      ringSender(ring).send(new Uint8Array(3));
      await new Promise((resolve) => setTimeout(resolve, 30));
    `;
    const options = ["--input-type=module", "--eval", source];
    expect(execFileSync(process.execPath, options, { encoding: "utf8", timeout: 20_000 })).toBe("3\n");
  });
});
