import { readUtf8 } from "./utf8.ts";

const SLOTS = 128;

/**
 * Strings that come again and again (names of fields, small values), made once. Bounded: a string that falls on the slot of
 * another one takes its place.
 */
export class TextCache {
  /** Bytes of the longest text that is kept. */
  static readonly WIDTH = 32;

  readonly #texts: string[] = new Array<string>(SLOTS).fill("");
  readonly #lengths = new Uint8Array(SLOTS);
  readonly #bytes = new Uint8Array(SLOTS * TextCache.WIDTH);

  /** The ASCII text `bytes[start, end)`, at most `WIDTH` long. @param hash of its bytes, any function of them */
  get(bytes: Uint8Array, start: number, end: number, hash: number): string {
    const slot = (hash ^ (hash >>> 14)) & (SLOTS - 1);
    const length = end - start;
    const base = slot * TextCache.WIDTH - start;
    const kept = this.#bytes;
    if (this.#lengths[slot] === length) {
      let at = start;
      while (at < end && kept[base + at] === bytes[at]) at++;
      if (at === end) return this.#texts[slot] as string;
    }
    this.#lengths[slot] = length;
    for (let at = start; at < end; at++) kept[base + at] = bytes[at] as number;
    // ASCII is always valid.
    const text = readUtf8(bytes, start, end) as string;
    this.#texts[slot] = text;
    return text;
  }
}
