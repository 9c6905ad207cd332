import { DecodeError } from "@spanduct/protocol";

/**
 * Frames of a byte stream, see `proto/README.md`. Each direction begins with the preface, once; then come frames:
 *
 * | bytes | meaning |
 * |---|---|
 * | 1 | kind |
 * | 4 | length of the payload, little-endian |
 * | length | payload |
 */
export const PREFACE: Uint8Array = Uint8Array.from("spanduct/1\n", (character) => character.charCodeAt(0));

/** Where the version stands in the preface. */
const VERSION_AT = 9;
const HEADER_BYTES = 5;

/** What a frame is. Guests send the first two, hosts the others. */
export const FrameKind = {
  /** A batch. */
  batch: 1,
  /** The guest's last frame: what ended it, or an empty payload when it came to its end. */
  end: 2,
  /** The host's first frame: the control word to begin with, then what else the host has to say to this guest. */
  hello: 3,
  /** How many batches the host has handled since its last answer, and the control word. */
  answer: 4,
} as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

/** The most bytes that the payload of a kind may have; `undefined` for a kind that is not expected. */
export type MaxPayload = (kind: number) => number | undefined;

export interface Frame {
  readonly kind: number;
  /** Part of the chunk that held all of it, or memory of its own. */
  readonly payload: Uint8Array;
}

/** A frame as bytes; the payload is copied. */
export function encodeFrame(kind: FrameKind, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  bytes[0] = kind;
  writeUint32(bytes, 1, payload.length);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

export function writeUint32(bytes: Uint8Array, at: number, value: number): void {
  for (let i = 0; i < 4; i++) bytes[at + i] = value >>> (8 * i);
}

export function readUint32(bytes: Uint8Array, at: number): number {
  let value = 0;
  for (let i = 3; i >= 0; i--) value = value * 256 + (bytes[at + i] as number);
  return value;
}

/** Memory that a frame gets before any of it has come. */
const FIRST_BYTES = 4096;

/**
 * Cuts a stream into frames, in time that is linear in its bytes however they are chopped. What it holds of an unfinished frame is
 * at most twice what has come of it, never what was announced.
 */
export class FrameReader {
  readonly #maxPayload: MaxPayload;
  #chunk: Uint8Array = new Uint8Array();
  #at = 0;
  /** Bytes of the stream before `#chunk`. */
  #before = 0;
  /** Bytes of the preface that have come. */
  #preface = 0;
  readonly #header: Uint8Array = new Uint8Array(HEADER_BYTES);
  #headerLength = 0;
  /** Of the frame at hand, once its header is whole. */
  #length = 0;
  #partial: Uint8Array | undefined;
  #filled = 0;
  #copied = 0;

  constructor(maxPayload: MaxPayload) {
    this.#maxPayload = maxPayload;
  }

  /** Whether the stream may end here: between two frames, or before the preface. */
  get atBoundary(): boolean {
    return this.#headerLength === 0 && (this.#preface === 0 || this.#preface === PREFACE.length);
  }

  /** Bytes that were moved in memory so far: what reading costs beyond a fixed amount for each chunk and frame. */
  get copiedBytes(): number {
    return this.#copied;
  }

  /** How much of the frame at hand has come, for people. */
  get progress(): string {
    if (this.#preface < PREFACE.length) return `${this.#preface} of ${PREFACE.length} bytes of the preface`;
    if (this.#headerLength < HEADER_BYTES) return `${this.#headerLength} of ${HEADER_BYTES} bytes of a header`;
    return `${this.#filled} of ${this.#length} bytes of a frame`;
  }

  /** Add what comes next. @param chunk kept, and handed out in parts; everything before it has been read with `next` */
  push(chunk: Uint8Array): void {
    this.#before += this.#chunk.length;
    this.#chunk = chunk;
    this.#at = 0;
  }

  /**
   * The next frame, if all of it is there.
   *
   * @throws DecodeError "malformed": not the preface, or a kind that is not expected
   * @throws DecodeError "unsupported_version": the preface of another version
   * @throws DecodeError "limit_exceeded": longer than its kind may be; nothing was allocated
   */
  next(): Frame | undefined {
    if (this.#preface < PREFACE.length && !this.#readPreface()) return undefined;
    if (this.#headerLength < HEADER_BYTES && !this.#readHeader()) return undefined;
    const payload = this.#readPayload();
    if (payload === undefined) return undefined;
    this.#headerLength = 0;
    return { kind: this.#header[0] as number, payload };
  }

  #readPreface(): boolean {
    for (; this.#preface < PREFACE.length; this.#preface++, this.#at++) {
      if (this.#at === this.#chunk.length) return false;
      const byte = this.#chunk[this.#at] as number;
      if (byte === PREFACE[this.#preface]) continue;
      // "spanduct/2", "spanduct/10".
      const isVersion = this.#preface >= VERSION_AT && byte >= 0x30 && byte <= 0x39;
      throw isVersion
        ? new DecodeError("unsupported_version", "the stream has another version than 1", this.#before + this.#at)
        : new DecodeError("malformed", "the stream does not begin with the preface of spanduct", this.#before + this.#at);
    }
    return true;
  }

  #readHeader(): boolean {
    while (this.#headerLength < HEADER_BYTES) {
      if (this.#at === this.#chunk.length) return false;
      this.#header[this.#headerLength++] = this.#chunk[this.#at++] as number;
      if (this.#headerLength === 1) this.#maxLength();
    }
    const length = readUint32(this.#header, 1);
    const max = this.#maxLength();
    if (length > max) {
      throw new DecodeError(
        "limit_exceeded",
        `a frame of kind ${this.#header[0]} announces ${length} bytes, ${max} are allowed`,
        this.#before + this.#at,
      );
    }
    this.#length = length;
    this.#filled = 0;
    return true;
  }

  #maxLength(): number {
    const kind = this.#header[0] as number;
    const max = this.#maxPayload(kind);
    if (max === undefined)
      throw new DecodeError("malformed", `a frame of kind ${kind} is not expected`, this.#before + this.#at - 1);
    return max;
  }

  #readPayload(): Uint8Array | undefined {
    const length = this.#length;
    const end = Math.min(this.#at + length - this.#filled, this.#chunk.length);
    const part = this.#chunk.subarray(this.#at, end);
    this.#at = end;
    if (part.length === length) return part;
    const partial = this.#room(part.length);
    partial.set(part, this.#filled);
    this.#copied += part.length;
    this.#filled += part.length;
    if (this.#filled < length) return undefined;
    this.#partial = undefined;
    return partial.subarray(0, length);
  }

  /** Where the frame at hand is gathered, with room for so many bytes more. */
  #room(bytes: number): Uint8Array {
    const needed = this.#filled + bytes;
    const known = this.#partial;
    if (known !== undefined && needed <= known.length) return known;
    const grown = new Uint8Array(Math.min(this.#length, Math.max(FIRST_BYTES, 2 * needed)));
    if (known !== undefined) {
      grown.set(known.subarray(0, this.#filled));
      this.#copied += this.#filled;
    }
    this.#partial = grown;
    return grown;
  }
}
