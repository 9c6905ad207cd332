import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IdPermutation, mix32 } from "./id-permutation.ts";

interface Vector {
  readonly span_key: string;
  readonly ids: { readonly [number: string]: string };
}

const root = resolve(import.meta.dirname, "../../..");
const vectors = JSON.parse(readFileSync(resolve(root, "test/vectors/span-ids.json"), "utf8")) as Vector[];

type Keys = [number, number, number, number];

function keysOf(spanKey: string): Keys {
  return [0, 8, 16, 24].map((at) => Number.parseInt(spanKey.slice(at, at + 8), 16)) as Keys;
}

function hex(word: number): string {
  return (word >>> 0).toString(16).padStart(8, "0");
}

describe("IdPermutation", () => {
  it("gives the ids that the vectors and the contract's page have", () => {
    expect(vectors.length).toBeGreaterThan(3);
    for (const { span_key, ids } of vectors) {
      const permutation = new IdPermutation(...keysOf(span_key));
      for (const [number, id] of Object.entries(ids)) {
        const next = BigInt(number) + 1n;
        permutation.apply(Number(next >> 32n), Number(next & 0xffff_ffffn));
        expect(hex(permutation.high) + hex(permutation.low), `${span_key} ${number}`).toBe(id);
      }
    }
    const page = readFileSync(resolve(root, "proto/README.md"), "utf8");
    const [, key, one, two] = /key `([0-9a-f]{32})` span 1 is `([0-9a-f]{16})` and span 2 is `([0-9a-f]{16})`/.exec(page) ?? [];
    expect(vectors.find(({ span_key }) => span_key === key)?.ids).toMatchObject({ 1: one, 2: two });
  });

  it("is undone by the keys in reverse order and the halves swapped, and never gives 0", () => {
    const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
    fc.assert(
      fc.property(fc.tuple(word, word, word, word), word, word, ([a, b, c, d], high, low) => {
        fc.pre((high | low) !== 0);
        const there = new IdPermutation(a, b, c, d);
        there.apply(high, low);
        expect(there.high | there.low).not.toBe(0);
        const back = new IdPermutation(d, c, b, a);
        back.apply(there.low, there.high);
        expect([back.low, back.high]).toEqual([high, low]);
      }),
    );
    // Of this key the first pass over 3 gives 0: the way back passes there as well.
    const [a, b, c, d] = keysOf("01234567523a3779b37bc5ec89abcdef");
    const back = new IdPermutation(d, c, b, a);
    back.apply(0x445f_9061, 0xb35f_a37f | 0);
    expect([back.low, back.high]).toEqual([0, 3]);
  });
});

it("mix32: no two numbers give the same", () => {
  const seen = new Set(Array.from({ length: 10_000 }, (_, i) => mix32(i * 429_497)));
  expect(seen.size).toBe(10_000);
});
