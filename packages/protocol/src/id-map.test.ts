import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { id as arbitraryId } from "../../../test/support/arbitrary-events.ts";
import type { Id } from "./event.ts";
import { IdMap, SecretSource, secretKey } from "./id-map.ts";

const secret = fc.record({
  factor: fc.integer().map((n) => n | 1),
  mask: fc.integer(),
  wideMask: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
});

describe("IdMap", () => {
  it("keeps what a Map keeps, whatever the ids, in the order in which they came", () => {
    const id = fc.oneof(fc.nat(8), arbitraryId);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom("set", "delete"), id)), (steps) => {
        const map = new IdMap<Id>();
        const model = new Map<Id, Id>();
        for (const [step, key] of steps) {
          if (step === "set") map.set(key, key);
          else map.delete(key);
          if (step === "set") model.set(key, key);
          else model.delete(key);
          expect(map.get(key)).toBe(model.get(key));
          expect(map.size).toBe(model.size);
        }
        expect([...map.values()]).toEqual([...model.values()]);
      }),
    );
  });

  it("gives different ids different keys, under any secret", () => {
    const id = fc.oneof(arbitraryId, fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }));
    fc.assert(
      fc.property(secret, fc.uniqueArray(id, { minLength: 2, maxLength: 200 }), (key, ids) => {
        expect(new Set(ids.map((one) => secretKey(one, key))).size).toBe(ids.length);
      }),
    );
  });

  it("spreads ids that V8 would put into one bucket", () => {
    const chosen: number[] = [];
    for (let id = 1; chosen.length < 512; id++) if (bucket(id) === 0) chosen.push(id);
    fc.assert(
      fc.property(secret, (key) => {
        const sizes = new Map<number, number>();
        for (const id of chosen) {
          const at = bucket(secretKey(id, key) as number);
          sizes.set(at, (sizes.get(at) ?? 0) + 1);
        }
        expect(Math.max(...sizes.values())).toBeLessThan(32);
      }),
      { numRuns: 50 },
    );
  });
});

describe("SecretSource", () => {
  it("gives a different secret each time, however many are drawn at once", () => {
    for (const drawn of [1, 3]) {
      const source = new SecretSource(drawn);
      const secrets = Array.from({ length: 10 }, () => source.next());
      expect(secrets.every(({ factor }) => (factor & 1) === 1)).toBe(true);
      expect(secrets.every(({ wideMask }) => wideMask >= 0n && wideMask < 2n ** 64n)).toBe(true);
      expect(new Set(secrets.map(({ mask }) => mask)).size).toBeGreaterThan(8);
      expect(new Set(secrets.map(({ wideMask }) => wideMask)).size).toBe(10);
    }
  });
});

/** Where V8 puts an integer of 32 bits in a map of a few thousand entries. */
function bucket(key: number): number {
  let hash = ~key + (key << 15);
  hash ^= hash >>> 12;
  hash += hash << 2;
  hash ^= hash >>> 4;
  hash = Math.imul(hash, 2057);
  hash ^= hash >>> 16;
  return hash & 0xfff;
}
