import { attemptKey, IdPermutation } from "@spanduct/protocol";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AttemptIds, RolledBackSeeds, randomSeeds } from "./identity.ts";

const key = (seed: bigint, attempt = 0, retry = 0): AttemptIds => new AttemptIds(attemptKey(seed, attempt, retry));

function spanIds(ids: AttemptIds, numbers: readonly (number | bigint)[]): string[] {
  return numbers.map((number) => {
    ids.next(number);
    return ids.spanId();
  });
}

function bits(hex: string): number {
  return [...BigInt(`0x${hex}`).toString(2)].filter((bit) => bit === "1").length;
}

describe("AttemptIds", () => {
  it("spanId, traceId: hexadecimal digits that a backend takes, the same for the same seed and numbers", () => {
    const ids = key(0n);
    ids.next(1);
    // Persisted executions count on these: a change of the derivation is a change of ids that are out already.
    expect([ids.spanId(), ids.traceId()]).toEqual(["415f0e5629ce18c3", "d8101f0282f63afd835b4006ef888cdd"]);
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (seed, number) => {
        const one = key(seed);
        const other = key(seed);
        one.next(number);
        other.next(number);
        expect(one.spanId()).toMatch(/^(?!0{16})[0-9a-f]{16}$/);
        expect(one.traceId()).toMatch(/^(?!0{32})[0-9a-f]{32}$/);
        expect([one.spanId(), one.traceId()]).toEqual([other.spanId(), other.traceId()]);
      }),
    );
  });

  it("spanKey: what its ids are permuted with, as the contract has it", () => {
    // Persisted executions count on this one too.
    expect(key(0n).spanKey).toBe("71ff74186657ba0f1275e1b0de583e48");
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.nat({ max: Number.MAX_SAFE_INTEGER - 1 }), (seed, number) => {
        const ids = key(seed);
        expect(ids.spanKey).toMatch(/^[0-9a-f]{32}$/);
        const words = [0, 8, 16, 24].map((at) => Number.parseInt(ids.spanKey.slice(at, at + 8), 16));
        const permutation = new IdPermutation(...(words as [number, number, number, number]));
        permutation.apply(Math.floor((number + 1) / 2 ** 32), (number + 1) | 0);
        const halves = [permutation.high, permutation.low].map((half) => (half >>> 0).toString(16).padStart(8, "0"));
        expect(spanIds(ids, [number])).toEqual([halves.join("")]);
      }),
    );
  });

  it("spanId, traceId: no two are the same within an attempt, whatever numbers a guest uses", () => {
    const numbers = fc.array(
      fc.oneof(
        fc.nat({ max: 5 }),
        fc.nat(),
        fc.constantFrom<number | bigint>(
          2 ** 32 - 1,
          2 ** 32,
          2 ** 53 - 1,
          2n ** 53n,
          2n ** 53n + 1n,
          2n ** 63n - 2n,
          2n ** 63n - 1n,
          2n ** 63n,
          2n ** 64n - 1n,
        ),
      ),
      { maxLength: 60 },
    );
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), numbers, (seed, used) => {
        const ids = key(seed);
        const traces = new Set<string>();
        const spans = used.map((number) => {
          ids.next(number);
          traces.add(ids.traceId().slice(16));
          return ids.spanId();
        });
        expect(new Set(spans).size).toBe(used.length);
        expect(traces.size).toBe(used.length);
      }),
    );
  });

  it("spanId: a number that comes again gets another id, and what follows is not disturbed", () => {
    const plain = spanIds(key(5n), [1, 2, 3, 4]);
    const reused = spanIds(key(5n), [1, 2, 2, 1, 3, 0, 4]);
    expect([0, 1, 4, 6].map((place) => reused[place])).toEqual(plain);
    expect(new Set(reused).size).toBe(7);
  });

  it("spanId: seeds, attempts and retries close to each other give ids that have nothing in common", () => {
    const families: AttemptIds[] = [];
    for (let i = 0; i < 16; i++) {
      families.push(key(BigInt(i)), key((BigInt(i + 1) << 32n) | 7n), key(3n, i + 1), key(3n, 2 ** 40 + i), key(3n, 0, i + 1));
    }
    const all = families.flatMap((ids) =>
      spanIds(
        ids,
        Array.from({ length: 500 }, (_, i) => i + 1),
      ),
    );
    expect(new Set(all).size).toBe(families.length * 500);
  });

  it("spanId: about half of the bits change with one bit of the number or the seed, so ids look random", () => {
    let changed = 0;
    let pairs = 0;
    for (let i = 0n; i < 200n; i++) {
      const base = 1n + i * 7919n;
      const [id] = spanIds(key(i), [base]) as [string];
      for (const bit of [0n, 1n, 17n, 31n, 32n, 50n]) {
        const [otherNumber] = spanIds(key(i), [base ^ (1n << bit)]) as [string];
        const [otherSeed] = spanIds(key(i ^ (1n << bit)), [base]) as [string];
        changed += bits((BigInt(`0x${id}`) ^ BigInt(`0x${otherNumber}`)).toString(16));
        changed += bits((BigInt(`0x${id}`) ^ BigInt(`0x${otherSeed}`)).toString(16));
        pairs += 2;
      }
    }
    // 64 fair coins: 32 ± 4 a pair, so the mean of 2400 pairs is off by 0.4 with a chance below one in a million.
    expect(Math.abs(changed / pairs - 32)).toBeLessThan(0.4);
  });

  it("traceId: all four parts look random, also from numbers that follow each other", () => {
    const ids = key(1n);
    const ones = [0, 0, 0, 0];
    for (let number = 1; number <= 1000; number++) {
      ids.next(number);
      for (let part = 0; part < 4; part++) ones[part] = (ones[part] ?? 0) + bits(ids.traceId().slice(part * 8, part * 8 + 8));
    }
    for (const count of ones) expect(Math.abs(count / 1000 - 16)).toBeLessThan(0.6);
  });
});

describe("RolledBackSeeds", () => {
  it("counts by seed and attempt, and forgets the oldest beyond 4096", () => {
    const seeds = new RolledBackSeeds();
    seeds.add(1n, 0);
    seeds.add(1n, 0);
    seeds.add(1n + 2n ** 64n, 0);
    expect([seeds.count(1n, 0), seeds.count(1n, 1), seeds.count(2n, 0)]).toEqual([3, 0, 0]);
    for (let i = 0; i < 4096; i++) seeds.add(BigInt(i) + 10n, 0);
    expect([seeds.count(1n, 0), seeds.count(10n, 0)]).toEqual([0, 1]);
  });
});

describe("randomSeeds", () => {
  it("gives 64 bits, others each time", () => {
    const seeds = Array.from({ length: 100 }, randomSeeds());
    expect(new Set(seeds).size).toBe(100);
    for (const seed of seeds) expect(BigInt.asUintN(64, seed)).toBe(seed);
  });
});
