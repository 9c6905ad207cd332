const TWO_TO_32 = 4_294_967_296;

/**
 * A keyed bijection of the 64-bit numbers other than 0: a Feistel network of four rounds over two 32-bit halves. Where it gives 0
 * it is applied once more, which leaves a bijection of the others. Its inverse is the one with the keys in reverse order, with the
 * halves swapped on the way in and out.
 *
 * Part of the wire: hosts and guests derive ids of spans with it, see proto/README.md#trace-context.
 */
export class IdPermutation {
  readonly #key1: number;
  readonly #key2: number;
  readonly #key3: number;
  readonly #key4: number;
  /** What `apply` gave: 32 bits each, signed. */
  high = 0;
  low = 0;

  /** @param keys 32 bits each */
  constructor(key1: number, key2: number, key3: number, key4: number) {
    this.#key1 = key1;
    this.#key2 = key2;
    this.#key3 = key3;
    this.#key4 = key4;
  }

  /** Permute a number other than 0. @param high its upper 32 bits, signed or not; @param low its lower ones */
  apply(high: number, low: number): void {
    let left = high;
    let right = low;
    do {
      left ^= mix32((right + this.#key1) | 0);
      right ^= mix32((left + this.#key2) | 0);
      left ^= mix32((right + this.#key3) | 0);
      right ^= mix32((left + this.#key4) | 0);
    } while ((left | right) === 0);
    this.high = left;
    this.low = right;
  }
}

/** A bijection of the 32-bit numbers in which every bit of the argument moves every bit of the result. */
export function mix32(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x85eb_ca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2_ae35);
  return mixed ^ (mixed >>> 16);
}

/**
 * The keys of a permutation, 32 bits each, from the words of a seed. Different seeds of two words give different keys.
 *
 * @param which tells permutations of the same seed apart
 */
export function deriveKeys(seed: readonly number[], which: number): readonly [number, number, number, number] {
  // Two words of state, for which each step is a bijection.
  let a = which;
  let b = 0;
  for (const word of seed) {
    a = mix32(a ^ word);
    b = mix32((b + a) | 0);
  }
  const next = (): number => {
    a = mix32((a + b) | 0);
    b = mix32(b ^ a);
    return b;
  };
  return [next(), next(), next(), next()];
}

/**
 * What ids are derived from: the words of one attempt.
 *
 * @param seed any bigint; its lowest 64 bits count
 * @param attempt which attempt with this seed it is, from 0
 * @param retry how many attempts with this seed and number went out in part before
 */
export function attemptKey(seed: bigint, attempt: number, retry: number): readonly number[] {
  const bits = BigInt.asUintN(64, seed);
  return [Number(bits >> 32n) | 0, Number(bits & 0xffff_ffffn) | 0, Math.floor(attempt / TWO_TO_32), attempt | 0, retry];
}

/** `which` of the permutation that makes ids of spans. */
export const SPAN_IDS = 1;
