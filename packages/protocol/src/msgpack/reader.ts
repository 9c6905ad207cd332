import { DecodeError } from "../errors.ts";
import type { Limits } from "../limits.ts";
import { readUtf8 } from "../utf8.ts";
import { canonicalInteger } from "../values.ts";

const NO_BYTES = new Uint8Array(0);
const NO_VIEW = new DataView(NO_BYTES.buffer);
const NIL = 0xc0;

/**
 * Reads MessagePack items one by one. Every length is checked against the bytes that are there before anything is allocated,
 * and nothing recurses. What does not fit throws a `DecodeError` with the offset of the item.
 */
export class MsgpackReader {
  readonly #limits: Limits;
  #bytes: Uint8Array = NO_BYTES;
  #view: DataView = NO_VIEW;
  /** Offset of the next item. */
  pos = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Begin at the start of `bytes`. */
  reset(bytes: Uint8Array): void {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.pos = 0;
  }

  /** Keep nobody's memory alive. */
  release(): void {
    this.#bytes = NO_BYTES;
    this.#view = NO_VIEW;
    this.pos = 0;
  }

  get atEnd(): boolean {
    return this.pos >= this.#bytes.length;
  }

  /** Take a nil if one is next. */
  nil(): boolean {
    if (this.#bytes[this.pos] !== NIL) return false;
    this.pos++;
    return true;
  }

  bool(): boolean {
    const start = this.pos;
    const head = this.#head();
    if (head !== 0xc2 && head !== 0xc3) this.fail("not a boolean", start);
    return head === 0xc3;
  }

  /** Any integer of MessagePack, in canonical form. */
  integer(): number | bigint {
    const start = this.pos;
    return this.#integer(this.#head()) ?? this.fail("not an integer", start);
  }

  /** An integer from 0 up to 2^64-1, in canonical form. */
  u64(): number | bigint {
    const start = this.pos;
    const value = this.integer();
    if (value < 0) this.fail("a negative number", start);
    return value;
  }

  u32(): number {
    const start = this.pos;
    const value = this.integer();
    if (value < 0 || value > 0xffff_ffff) this.fail("not a number of 32 bits", start);
    return value as number;
  }

  /** An integer from 0 up to 2^53-1. */
  safe(): number {
    const start = this.pos;
    const value = this.integer();
    if (value < 0 || typeof value === "bigint") this.fail("not a number up to 2^53-1", start);
    return value;
  }

  /** An integer, or sixteen bytes with one: little-endian, two's complement where it is `signed`. Canonical. */
  wideInteger(signed: boolean): number | bigint {
    const start = this.pos;
    const head = this.#head();
    let value = this.#integer(head);
    if (value === undefined) {
      if (head !== 0xc4 || this.#take(1) !== 16) this.fail("neither an integer nor 16 bytes with one", start);
      const at = this.#advance(16);
      const high = signed ? this.#view.getBigInt64(at + 8, true) : this.#view.getBigUint64(at + 8, true);
      value = canonicalInteger((high << 64n) | this.#view.getBigUint64(at, true));
    }
    if (!signed && value < 0) this.fail("a negative number", start);
    return value;
  }

  /** A float of either width, or an integer, which some writers make of whole numbers. */
  float(): number {
    const start = this.pos;
    const head = this.#head();
    if (head === 0xca) return this.#view.getFloat32(this.#advance(4));
    if (head === 0xcb) return this.#view.getFloat64(this.#advance(8));
    return Number(this.#integer(head) ?? this.fail("not a number", start));
  }

  text(): string {
    const start = this.pos;
    const length = this.#textLength(this.#head()) ?? this.fail("not text", start);
    if (length > this.#bytes.length - this.pos) this.fail(`length ${length} runs past the end`, start);
    if (length > this.#limits.maxStringBytes) this.exceed("maxStringBytes", length, start);
    const text = readUtf8(this.#bytes, this.pos, this.pos + length);
    if (text === undefined) this.fail("invalid UTF-8", start);
    this.pos += length;
    return text;
  }

  optionalText(): string | undefined {
    return this.nil() ? undefined : this.text();
  }

  /** Whether text is next. */
  atText(): boolean {
    const head = this.#bytes[this.pos] as number;
    return (head >= 0xa0 && head < 0xc0) || (head >= 0xd9 && head <= 0xdb);
  }

  /** The header of an array; as many items follow, and there is a byte for each. */
  array(what: string): number {
    const start = this.pos;
    const head = this.#head();
    const length =
      (head & 0xf0) === 0x90 ? head & 0xf : head === 0xdc ? this.#take(2) : head === 0xdd ? this.#take(4) : undefined;
    if (length === undefined) this.fail(`${what} is not an array`, start);
    if (length > this.#bytes.length - this.pos) this.fail(`${length} items run past the end`, start);
    return length;
  }

  /** Pass over `count` items with all that is in them. */
  skip(count: number): void {
    for (let left = count; left > 0; left--) {
      const start = this.pos;
      const head = this.#head();
      if (head < 0x80 || head >= 0xe0) continue;
      if (head < 0x90) left += 2 * (head & 0xf);
      else if (head < 0xa0) left += head & 0xf;
      else left += this.#skipBody(head, start);
    }
  }

  fail(reason: string, offset: number): never {
    throw new DecodeError("malformed", reason, offset);
  }

  exceed(limit: keyof Limits, actual: number, offset: number): never {
    throw new DecodeError("limit_exceeded", `${limit} is ${this.#limits[limit]}, found ${actual}`, offset);
  }

  /** Pass over what belongs to a header from 0xa0 to 0xdf. @returns how many items follow that are inside */
  #skipBody(head: number, start: number): number {
    const text = this.#textLength(head);
    if (text !== undefined) {
      this.#advance(text);
      return 0;
    }
    switch (head) {
      case 0xc0:
      case 0xc2:
      case 0xc3:
        return 0;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        this.#advance(this.#take(1 << (head - 0xc4)));
        return 0;
      case 0xc7:
      case 0xc8:
      case 0xc9:
        this.#advance(this.#take(1 << (head - 0xc7)) + 1);
        return 0;
      case 0xca:
        this.#advance(4);
        return 0;
      case 0xcb:
        this.#advance(8);
        return 0;
      case 0xcc:
      case 0xcd:
      case 0xce:
      case 0xcf:
        this.#advance(1 << (head - 0xcc));
        return 0;
      case 0xd0:
      case 0xd1:
      case 0xd2:
      case 0xd3:
        this.#advance(1 << (head - 0xd0));
        return 0;
      case 0xd4:
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        this.#advance((1 << (head - 0xd4)) + 1);
        return 0;
      case 0xdc:
        return this.#take(2);
      case 0xdd:
        return this.#take(4);
      case 0xde:
        return 2 * this.#take(2);
      case 0xdf:
        return 2 * this.#take(4);
      default:
        this.fail("the byte 0xc1", start);
    }
  }

  /** The integer that begins with `head`, if one does. */
  #integer(head: number): number | bigint | undefined {
    if (head < 0x80) return head;
    if (head >= 0xe0) return head - 0x100;
    switch (head) {
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.#take(1 << (head - 0xcc));
      case 0xcf:
        return canonicalInteger(this.#view.getBigUint64(this.#advance(8)));
      case 0xd0:
        return this.#view.getInt8(this.#advance(1));
      case 0xd1:
        return this.#view.getInt16(this.#advance(2));
      case 0xd2:
        return this.#view.getInt32(this.#advance(4));
      case 0xd3:
        return canonicalInteger(this.#view.getBigInt64(this.#advance(8)));
      default:
        return undefined;
    }
  }

  #textLength(head: number): number | undefined {
    if (head >= 0xa0 && head < 0xc0) return head & 0x1f;
    if (head >= 0xd9 && head <= 0xdb) return this.#take(1 << (head - 0xd9));
    return undefined;
  }

  #head(): number {
    return this.#bytes[this.#advance(1)] as number;
  }

  /** An unsigned number of 1, 2 or 4 bytes. */
  #take(width: number): number {
    const at = this.#advance(width);
    if (width === 1) return this.#bytes[at] as number;
    return width === 2 ? this.#view.getUint16(at) : this.#view.getUint32(at);
  }

  /** Move on by so many bytes. @returns where they begin */
  #advance(length: number): number {
    const at = this.pos;
    if (length > this.#bytes.length - at) this.fail("truncated", at);
    this.pos = at + length;
    return at;
  }
}
