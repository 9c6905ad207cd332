import { DecodeError, TunnelError } from "@spanduct/protocol";

/**
 * The layout of a ring, as `proto/README.md` describes it: offsets of the header's words, as indices into an `Int32Array`. Those of
 * the guest, those of the host and those that never change lie on cache lines of their own.
 */
export const Word = {
  mark: 0,
  capacity: 1,
  written: 16,
  refused: 17,
  guestWaits: 18,
  read: 32,
  control: 33,
  announce: 34,
  closed: 35,
  hostWaits: 36,
} as const;

export const HEADER_BYTES = 192;
/** Of the word in front of a record's bytes: its length and this bit. */
export const TAKEN: number = 0x8000_0000 | 0;

/**
 * From this length on copies are aligned: engines copy shared memory by eight bytes only where both sides are aligned alike, and else
 * byte by byte, which takes some seven times as long.
 */
export const LONG = 512;

/** The bytes `SPR1`. */
const MARK = 0x3152_5053;
const MIN_CAPACITY = 64;
const MAX_CAPACITY = 2 ** 26;

/** Bytes of a record with so many bytes of content. */
export function recordSize(length: number): number {
  return 4 + ((length + 3) & ~3);
}

/** Views on a ring. */
export interface RingViews {
  /** The header, and the data as words behind it. */
  readonly words: Int32Array;
  readonly data: Uint8Array;
}

/**
 * Make a ring for a guest in another thread of this process: post it there, or put it into `workerData`. It is zeroed memory that
 * no one else has, and for one guest and one host.
 *
 * @param capacity bytes of records that may wait for the host, rounded up to a power of two from 64 B to 64 MiB. Default 1 MiB.
 * @throws TunnelError "transport_failed": there is no shared memory, as in web pages that are not cross-origin isolated
 */
export function createRing(capacity: number = 2 ** 20): Uint8Array {
  if (typeof SharedArrayBuffer === "undefined") {
    throw new TunnelError(
      "transport_failed",
      "there is no SharedArrayBuffer; web pages have it when they are cross-origin isolated",
    );
  }
  let rounded = MIN_CAPACITY;
  while (rounded < capacity && rounded < MAX_CAPACITY) rounded *= 2;
  const words = new Int32Array(new SharedArrayBuffer(HEADER_BYTES + rounded));
  words[Word.mark] = MARK;
  words[Word.capacity] = rounded;
  return new Uint8Array(words.buffer);
}

/**
 * Views on the ring at the beginning of `memory`, which may be longer.
 *
 * @throws DecodeError "malformed": there is no ring
 */
export function viewRing(memory: Uint8Array): RingViews {
  const { buffer, byteOffset, byteLength } = memory;
  if (byteOffset % 4 !== 0 || byteLength < HEADER_BYTES) throw new DecodeError("malformed", "no place for a ring", byteOffset);
  const header = new Int32Array(buffer, byteOffset, HEADER_BYTES / 4);
  const mark = Atomics.load(header, Word.mark);
  const capacity = Atomics.load(header, Word.capacity);
  if (mark !== MARK) throw new DecodeError("malformed", `0x${(mark >>> 0).toString(16)} is not the mark of a ring`, byteOffset);
  const power = capacity > 0 && (capacity & (capacity - 1)) === 0;
  if (!power || capacity < MIN_CAPACITY || capacity > Math.min(MAX_CAPACITY, byteLength - HEADER_BYTES)) {
    throw new DecodeError("malformed", `${capacity} is not the capacity of a ring in ${byteLength} bytes`, byteOffset + 4);
  }
  return {
    words: new Int32Array(buffer, byteOffset, (HEADER_BYTES + capacity) / 4),
    data: new Uint8Array(buffer, byteOffset + HEADER_BYTES, capacity),
  };
}
