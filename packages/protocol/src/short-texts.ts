import { readUtf8 } from "./utf8.ts";

const SLOTS = 128;
/** Three words of the text and its length. */
const WORDS = 4;
const NOT_ASCII = 0x8080_8080 | 0;

/** Short texts that come again and again, made once. Bounded: one that falls on the slot of another one takes its place. */
export class ShortTexts {
  /** Bytes of the longest text that is kept; of longer ones fewer come again. */
  static readonly WIDTH = 12;

  readonly #texts: string[] = new Array<string>(SLOTS).fill("");
  readonly #words = new Int32Array(SLOTS * WORDS);

  /**
   * The text of `length` bytes at `start`, at most `WIDTH`. There must be `WIDTH` bytes, whatever they are.
   *
   * @param view of all of `bytes`
   * @returns `undefined` when it is not ASCII
   */
  get(bytes: Uint8Array, view: DataView, start: number, length: number): string | undefined {
    const first = view.getInt32(start, true) & mask(length);
    const second = view.getInt32(start + 4, true) & mask(length - 4);
    const third = view.getInt32(start + 8, true) & mask(length - 8);
    if (((first | second | third) & NOT_ASCII) !== 0) return undefined;
    const mixed = Math.imul(Math.imul(Math.imul(first, 31) ^ second, 31) ^ third, 0x9e37_79b1) + length;
    const slot = (mixed ^ (mixed >>> 16)) & (SLOTS - 1);
    const words = this.#words;
    const at = slot * WORDS;
    if (words[at] === first && words[at + 1] === second && words[at + 2] === third && words[at + 3] === length) {
      return this.#texts[slot] as string;
    }
    const text = readUtf8(bytes, start, start + length) as string;
    words[at] = first;
    words[at + 1] = second;
    words[at + 2] = third;
    words[at + 3] = length;
    this.#texts[slot] = text;
    return text;
  }
}

/** The bits of a little-endian word that are of its first `count` bytes. */
function mask(count: number): number {
  return count >= 4 ? -1 : count <= 0 ? 0 : (1 << (8 * count)) - 1;
}
