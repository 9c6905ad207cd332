/** Random numbers from a seed, the same on every machine (sfc32). */
export class Random {
  #a: number;
  #b: number;
  #c = 0;
  #counter = 1;

  /** @param seed any text: what is the same text is the same numbers */
  constructor(seed: string) {
    let a = 0x9e37_79b9;
    let b = 0x243f_6a88;
    for (let i = 0; i < seed.length; i++) {
      a = Math.imul(a ^ seed.charCodeAt(i), 0x85eb_ca6b);
      b = Math.imul(b ^ (a >>> 13), 0xc2b2_ae35);
    }
    this.#a = a;
    this.#b = b;
    for (let i = 0; i < 12; i++) this.bits();
  }

  /** 32 bits, not negative. */
  bits(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** A whole number from 0 up to but not including `end`, which is at most 2^32. */
  below(end: number): number {
    return Math.floor((this.bits() / 2 ** 32) * end);
  }

  /** A whole number from `min` to `max`. */
  between(min: number, max: number): number {
    return min + this.below(max - min + 1);
  }

  /** True once in `times`. */
  oneIn(times: number): boolean {
    return this.below(times) === 0;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
}
