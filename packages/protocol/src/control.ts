/**
 * The control word: what the narrow function returns to the guest, a signed 32-bit integer. The high half is a mark, so that a
 * function that happens to return some other number says nothing; the low half:
 *
 * | bits | meaning |
 * |---|---|
 * | 0–2 | the most verbose level the host wants: 0 off, 1 error … 5 trace |
 * | 3 | announce every call site again before it is next used |
 */
const MARK = 0x5350;
const LEVEL_BITS = 0b0111;
const ANNOUNCE_BIT = 0b1000;

/** Build a control word. @param level 0 (off) to 5 (trace) */
export function controlWord(level: number, announce: boolean): number {
  return (MARK << 16) | (level & LEVEL_BITS) | (announce ? ANNOUNCE_BIT : 0);
}

/** Whether `word` is a control word at all; the two readers below mean nothing otherwise. */
export function isControlWord(word: unknown): word is number {
  return typeof word === "number" && word >>> 16 === MARK;
}

/** The most verbose level the host wants, 0 to 5. */
export function controlLevel(word: number): number {
  return Math.min(word & LEVEL_BITS, 5);
}

/** Whether the host asks for call sites to be announced again. */
export function controlAnnounce(word: number): boolean {
  return (word & ANNOUNCE_BIT) !== 0;
}
