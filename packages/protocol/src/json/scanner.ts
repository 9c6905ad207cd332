import { DecodeError } from "../errors.ts";
import type { Limits } from "../limits.ts";
import { TextCache } from "../text-cache.ts";
import { readUtf8, writeUtf8 } from "../utf8.ts";
import { canonicalInteger } from "../values.ts";
import { findKey, firstName, Key } from "./keys.ts";

/** Nesting of values that nobody asked for. */
const MAX_SKIP_NESTING = 128;
/** So many digits a `number` holds exactly, whatever they are. */
const SAFE_DIGITS = 15;
/** Digits of 2^128. */
const WIDE_DIGITS = 39;
/** Digits of nanoseconds below a second. */
const NANO_DIGITS = 9;
/**
 * Powers of ten that a `number` holds exactly. A number of at most 15 digits times or divided by one of them is rounded once,
 * as IEEE 754 has it.
 */
const EXACT_POWERS: readonly number[] = [
  1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];
/** Exponents beyond this make zero or infinity of any number that fits into a batch. */
const MAX_EXPONENT = 1e9;
const SCRATCH_BYTES = 1024;
const NO_BYTES: Uint8Array = new Uint8Array(0);

const TAB = 0x09;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const PLUS = 0x2b;
const COMMA = 0x2c;
const MINUS = 0x2d;
const DOT = 0x2e;
const SLASH = 0x2f;
const ZERO = 0x30;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const LOWER_B = 0x62;
const LOWER_E = 0x65;
const LOWER_F = 0x66;
const LOWER_N = 0x6e;
const LOWER_R = 0x72;
const LOWER_T = 0x74;
const LOWER_U = 0x75;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

const MAX_U64 = 2n ** 64n - 1n;
const MAX_U128 = 2n ** 128n - 1n;
const MAX_I128 = 2n ** 127n - 1n;

/**
 * Reads JSON token by token, in one pass, as the caller expects them; what it did not expect is a `DecodeError` ("malformed",
 * or "limit_exceeded" for strings and nesting). Nothing but `bytes` is looked at, and no string shares memory with it.
 */
export class JsonScanner {
  readonly #limits: Limits;
  #cache: TextCache | undefined;
  #scratch: Uint8Array = NO_BYTES;
  #bytes: Uint8Array = NO_BYTES;
  #pos = 0;
  #end = 0;
  /** Just behind an opening brace or bracket. */
  #first = false;

  // The string token read last, without its quotes.
  #start = 0;
  #stop = 0;
  #hash = 0;
  #escaped = false;
  #ascii = true;

  // The number token read last: the digits up to 15 of them, how many there are from the first that is not zero, and the
  // power of ten that they are to be multiplied with.
  #digits = 0;
  #digitCount = 0;
  #power = 0;
  #integral = true;

  // The point in time read last.
  seconds = 0;
  nanos = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Remember texts that come again, which is worth its memory from a few events on. */
  cacheTexts(): void {
    this.#cache ??= new TextCache();
  }

  /** Go on with `bytes[start, end)`. */
  reset(bytes: Uint8Array, start: number, end: number): void {
    this.#bytes = bytes;
    this.#pos = start;
    this.#end = end;
    this.#first = false;
  }

  /** Let go of the memory of `reset`, and of what one long string needed. */
  release(): void {
    this.reset(NO_BYTES, 0, 0);
    if (this.#scratch.length > SCRATCH_BYTES) this.#scratch = NO_BYTES;
  }

  /** Where the next token begins, or the end is. */
  get offset(): number {
    return this.#pos;
  }

  /** Whether only white space is left. */
  atEnd(): boolean {
    return this.#peek() === 0 && this.#pos === this.#end;
  }

  expectEnd(): void {
    if (!this.atEnd()) this.fail("text behind the end");
  }

  /** The opening brace of an object. @param what it is, for the message */
  open(what: string): void {
    const byte = this.#peek();
    if (byte === OPEN_BRACE) {
      this.#pos++;
      this.#first = true;
    } else if (byte === OPEN_BRACKET) {
      this.fail(`${what} is an array; positional forms are not read`);
    } else {
      this.fail(`${what} is not an object`);
    }
  }

  /** Whether one more member comes; past the closing brace if not. */
  more(): boolean {
    return this.#more(CLOSE_BRACE);
  }

  openList(what: string): void {
    if (this.#peek() !== OPEN_BRACKET) this.fail(`${what} is not an array`);
    this.#pos++;
    this.#first = true;
  }

  /** Whether one more item comes; past the closing bracket if not. */
  moreItems(): boolean {
    return this.#more(CLOSE_BRACKET);
  }

  /** Key of a member, one of the protocol's or `unknown`. The value is next. */
  key(): Key {
    const at = this.#pos;
    this.#string();
    let key: Key = Key.unknown;
    if (this.#escaped) {
      const end = this.#unescape();
      key = findKey(this.#scratch, 0, end);
      this.#utf8(this.#scratch, 0, end, at);
    } else if (this.#ascii) {
      key = findKey(this.#bytes, this.#start, this.#stop);
    } else {
      this.#utf8(this.#bytes, this.#start, this.#stop, at);
    }
    this.#colon();
    return key;
  }

  /**
   * Key of the next member that is in the set `allowed`; all others are skipped. `unknown` behind the last one.
   *
   * @param seen the set of those that came before and must not come again
   */
  member(allowed: number, seen: number): Key {
    while (this.more()) {
      const at = this.#pos;
      const key = this.key();
      const bit = key < 32 ? 1 << key : 0;
      if ((allowed & bit) === 0) this.skip();
      else if ((seen & bit) !== 0) this.fail(`${firstName(bit)} stands twice`, at);
      else return key;
    }
    return Key.unknown;
  }

  /** Refuse an object without one of the keys in `required`. */
  require(required: number, seen: number): void {
    const missing = required & ~seen;
    if (missing !== 0) this.fail(`${firstName(missing)} is missing`);
  }

  /** Key of a member as text. The value is next. */
  name(): string {
    const text = this.text();
    this.#colon();
    return text;
  }

  /** A string, at most `Limits.maxStringBytes` long. */
  text(): string {
    const at = this.#pos;
    this.#string();
    let bytes = this.#bytes;
    let start = this.#start;
    let end = this.#stop;
    if (this.#escaped) {
      end = this.#unescape();
      start = 0;
      bytes = this.#scratch;
    }
    const length = end - start;
    if (length > this.#limits.maxStringBytes) this.exceed("maxStringBytes", length, at);
    if (this.#cache !== undefined && length <= TextCache.WIDTH && this.#ascii && !this.#escaped) {
      return this.#cache.get(bytes, start, end, this.#hash);
    }
    return this.#utf8(bytes, start, end, at);
  }

  /** The name of a variant without content: a string, or an object whose only member is `null`. */
  variant(what: string): string {
    if (this.#peek() !== OPEN_BRACE) return this.text();
    this.open(what);
    if (!this.more()) this.fail(`${what} is empty`);
    const name = this.name();
    if (!this.tryNull()) this.fail(`${what} has content`);
    if (this.more()) this.fail(`${what} is two things`);
    return name;
  }

  /** Past `null` if that is what comes. */
  tryNull(): boolean {
    if (this.#peek() !== LOWER_N) return false;
    this.#literal("null");
    return true;
  }

  boolean(): boolean {
    const byte = this.#peek();
    if (byte === LOWER_T) {
      this.#literal("true");
      return true;
    }
    if (byte !== LOWER_F) this.fail("expected a boolean");
    this.#literal("false");
    return false;
  }

  u32(): number {
    const at = this.#pos;
    const value = this.u64();
    if (value > 0xffff_ffff) this.fail("number beyond 32 bits", at);
    return value as number;
  }

  /** An integer from 0 to 2^53-1. */
  safe(): number {
    const at = this.#pos;
    const value = this.u64();
    if (typeof value === "bigint") this.fail("number beyond 2^53-1", at);
    return value;
  }

  u64(): number | bigint {
    return this.#unsigned(MAX_U64);
  }

  u128(): number | bigint {
    return this.#unsigned(MAX_U128);
  }

  i128(): number | bigint {
    const at = this.#integer();
    if (this.#bytes[at] !== MINUS) return this.#wide(at, at, MAX_I128);
    const value = this.#wide(at, at + 1, MAX_I128 + 1n);
    return typeof value === "number" ? 0 - value : canonicalInteger(-value);
  }

  /** Any number of JSON that is finite as a double; NaN for `null`. */
  float(): number {
    if (this.tryNull()) return Number.NaN;
    const at = this.#number();
    const negative = this.#bytes[at] === MINUS;
    if (this.#digitCount <= SAFE_DIGITS && this.#power >= -22 && this.#power <= 22) {
      const power = EXACT_POWERS[Math.abs(this.#power)] as number;
      const value = this.#power < 0 ? this.#digits / power : this.#digits * power;
      return negative ? -value : value;
    }
    const value = Number(readUtf8(this.#bytes, at, this.#pos));
    if (!Number.isFinite(value)) this.fail("number out of range", at);
    return value;
  }

  /** Nanoseconds since the Unix epoch, 0 to 2^64-1, into `seconds` and `nanos`. */
  time(): void {
    const at = this.#integer();
    const split = Math.max(at, this.#pos - NANO_DIGITS);
    let seconds = 0;
    let nanos = 0;
    if (this.#bytes[at] === MINUS || this.#digitCount > 20) this.fail("time out of range", at);
    for (let i = at; i < split; i++) seconds = seconds * 10 + (this.#bytes[i] as number) - ZERO;
    for (let i = split; i < this.#pos; i++) nanos = nanos * 10 + (this.#bytes[i] as number) - ZERO;
    // 2^64-1 is 18446744073 seconds and 709551615 nanoseconds.
    if (seconds > 18_446_744_073 || (seconds === 18_446_744_073 && nanos > 709_551_615)) this.fail("time out of range", at);
    this.seconds = seconds;
    this.nanos = nanos;
  }

  /** Any value, checked and forgotten. */
  skip(): void {
    const closers: number[] = [];
    for (;;) {
      const byte = this.#peek();
      if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        if (closers.length === MAX_SKIP_NESTING) {
          throw new DecodeError("limit_exceeded", `values nested more than ${MAX_SKIP_NESTING} deep`, this.#pos);
        }
        closers.push(byte === OPEN_BRACE ? CLOSE_BRACE : CLOSE_BRACKET);
        this.#pos++;
        this.#first = true;
      } else if (byte === QUOTE) {
        this.#skipString();
      } else if (byte === LOWER_N) {
        this.#literal("null");
      } else if (byte === LOWER_T || byte === LOWER_F) {
        this.boolean();
      } else {
        this.#number();
      }
      // Up, past all that ends here, to the next value.
      for (;;) {
        const closer = closers[closers.length - 1];
        if (closer === undefined) return;
        if (this.#more(closer)) {
          if (closer === CLOSE_BRACE) {
            this.#skipString();
            this.#colon();
          }
          break;
        }
        closers.pop();
      }
    }
  }

  /** @throws always: DecodeError "malformed" */
  fail(reason: string, offset: number = this.#pos): never {
    throw new DecodeError("malformed", reason, offset);
  }

  /** @throws always: DecodeError "limit_exceeded" */
  exceed(limit: keyof Limits, actual: number, offset: number = this.#pos): never {
    throw new DecodeError("limit_exceeded", `${limit} is ${this.#limits[limit]}, found ${actual} or more`, offset);
  }

  /** The byte that begins the next token; 0 at the end. */
  #peek(): number {
    const bytes = this.#bytes;
    const end = this.#end;
    let pos = this.#pos;
    while (pos < end) {
      const byte = bytes[pos] as number;
      if (byte > SPACE || (byte !== SPACE && byte !== LINE_FEED && byte !== CARRIAGE_RETURN && byte !== TAB)) {
        this.#pos = pos;
        return byte;
      }
      pos++;
    }
    this.#pos = pos;
    return 0;
  }

  #more(closer: number): boolean {
    const byte = this.#peek();
    if (byte === closer) {
      this.#pos++;
      this.#first = false;
      return false;
    }
    if (this.#first) {
      this.#first = false;
    } else {
      if (byte !== COMMA) this.fail("expected a comma or the end of the object or array");
      this.#pos++;
      this.#peek();
    }
    return true;
  }

  #colon(): void {
    if (this.#peek() !== COLON) this.fail("expected a colon");
    this.#pos++;
  }

  #literal(text: string): void {
    for (let i = 0; i < text.length; i++) {
      if (this.#pos + i >= this.#end || this.#bytes[this.#pos + i] !== text.charCodeAt(i)) this.fail(`expected ${text}`);
    }
    this.#pos += text.length;
  }

  /** Past a string token. Its escapes and its UTF-8 are yet to be checked. */
  #string(): void {
    if (this.#peek() !== QUOTE) this.fail("expected a string");
    const bytes = this.#bytes;
    const end = this.#end;
    const start = this.#pos + 1;
    let hash = 0;
    let all = 0;
    this.#escaped = false;
    for (let pos = start; pos < end; pos++) {
      const byte = bytes[pos] as number;
      if (byte === QUOTE) {
        this.#start = start;
        this.#stop = pos;
        this.#hash = hash;
        this.#ascii = all < 0x80;
        this.#pos = pos + 1;
        return;
      }
      if (byte < SPACE) this.fail("control character in a string", pos);
      if (byte === BACKSLASH) {
        this.#escaped = true;
        pos++;
      }
      all |= byte;
      hash = (Math.imul(hash, 31) + byte) | 0;
    }
    this.fail("string without end", start - 1);
  }

  #skipString(): void {
    const at = this.#pos;
    this.#string();
    if (this.#escaped) this.#checkEscapes();
    if (!this.#ascii) this.#utf8(this.#bytes, this.#start, this.#stop, at);
  }

  /** As the crate has it: what is skipped may hold lone surrogates. */
  #checkEscapes(): void {
    for (let at = this.#start; at < this.#stop; at++) {
      if (this.#bytes[at] !== BACKSLASH) continue;
      at++;
      if (this.#bytes[at] === LOWER_U) {
        this.#hex(at + 1);
        at += 4;
      } else {
        this.#simpleEscape(at);
      }
    }
  }

  /** Write the string token as UTF-8 into `#scratch`; returns where it ends there. */
  #unescape(): number {
    const bytes = this.#bytes;
    const stop = this.#stop;
    // No escape is shorter than what it stands for.
    const needed = stop - this.#start;
    if (this.#scratch.length < needed) this.#scratch = new Uint8Array(Math.max(needed, SCRATCH_BYTES));
    const out = this.#scratch;
    let length = 0;
    for (let at = this.#start; at < stop; at++) {
      const byte = bytes[at] as number;
      if (byte !== BACKSLASH) {
        out[length++] = byte;
        continue;
      }
      at++;
      if (bytes[at] !== LOWER_U) {
        out[length++] = this.#simpleEscape(at);
        continue;
      }
      const unit = this.#hex(at + 1);
      at += 4;
      if ((unit & 0xf800) !== 0xd800) {
        length = writeUtf8(out, length, String.fromCharCode(unit));
        continue;
      }
      const paired = unit < 0xdc00 && bytes[at + 1] === BACKSLASH && bytes[at + 2] === LOWER_U;
      const low = paired ? this.#hex(at + 3) : 0;
      if ((low & 0xfc00) !== 0xdc00) this.fail("lone surrogate", at - 5);
      length = writeUtf8(out, length, String.fromCharCode(unit, low));
      at += 6;
    }
    return length;
  }

  /** What a backslash and the byte at `at` stand for. */
  #simpleEscape(at: number): number {
    const byte = this.#bytes[at];
    switch (byte) {
      case QUOTE:
      case BACKSLASH:
      case SLASH:
        return byte;
      case LOWER_B:
        return 0x08;
      case LOWER_F:
        return 0x0c;
      case LOWER_N:
        return LINE_FEED;
      case LOWER_R:
        return CARRIAGE_RETURN;
      case LOWER_T:
        return TAB;
      default:
        return this.fail("unknown escape", at - 1);
    }
  }

  #hex(at: number): number {
    let unit = 0;
    for (let i = at; i < at + 4; i++) {
      const byte = i < this.#stop ? (this.#bytes[i] as number) : 0;
      // Letters of both cases end in 1 to 6.
      const isLetter = (byte >= 0x41 && byte <= 0x46) || (byte >= 0x61 && byte <= 0x66);
      if (!isLetter && !isDigit(byte)) this.fail("expected four hexadecimal digits", at - 2);
      unit = unit * 16 + (isLetter ? (byte & 0x0f) + 9 : byte - ZERO);
    }
    return unit;
  }

  #utf8(bytes: Uint8Array, start: number, end: number, at: number): string {
    return readUtf8(bytes, start, end) ?? this.fail("invalid UTF-8", at);
  }

  #unsigned(max: bigint): number | bigint {
    const at = this.#integer();
    if (this.#bytes[at] === MINUS) this.fail("number out of range", at);
    return this.#wide(at, at, max);
  }

  /** The value of the number token with digits from `first`. */
  #wide(at: number, first: number, max: bigint): number | bigint {
    if (this.#digitCount <= SAFE_DIGITS) return this.#digits;
    if (this.#digitCount > WIDE_DIGITS) this.fail("number out of range", at);
    const value = BigInt(readUtf8(this.#bytes, first, this.#pos) as string);
    if (value > max) this.fail("number out of range", at);
    return canonicalInteger(value);
  }

  /** Past a number token without fraction and exponent; returns where it began. */
  #integer(): number {
    const at = this.#number();
    if (!this.#integral) this.fail("expected an integer", at);
    return at;
  }

  /** Past a number token; returns where it began. */
  #number(): number {
    const first = this.#peek();
    const bytes = this.#bytes;
    const end = this.#end;
    const at = this.#pos;
    let pos = first === MINUS ? at + 1 : at;
    let byte = pos < end ? (bytes[pos] as number) : 0;
    if (!isDigit(byte)) this.fail("expected a value");
    let digits = byte - ZERO;
    let count = digits === 0 ? 0 : 1;
    let power = 0;
    byte = ++pos < end ? (bytes[pos] as number) : 0;
    if (count === 0) {
      if (isDigit(byte)) this.fail("number with a leading zero", at);
    } else {
      while (isDigit(byte)) {
        if (++count <= SAFE_DIGITS) digits = digits * 10 + byte - ZERO;
        byte = ++pos < end ? (bytes[pos] as number) : 0;
      }
    }
    this.#integral = byte !== DOT && (byte | 0x20) !== LOWER_E;
    if (byte === DOT) {
      byte = ++pos < end ? (bytes[pos] as number) : 0;
      if (!isDigit(byte)) this.fail("expected a digit", pos);
      while (isDigit(byte)) {
        if (count > 0 || byte !== ZERO) count++;
        if (count <= SAFE_DIGITS) digits = digits * 10 + byte - ZERO;
        power--;
        byte = ++pos < end ? (bytes[pos] as number) : 0;
      }
    }
    if ((byte | 0x20) === LOWER_E) {
      let exponent = 0;
      byte = ++pos < end ? (bytes[pos] as number) : 0;
      const sign = byte === MINUS ? -1 : 1;
      if (byte === MINUS || byte === PLUS) byte = ++pos < end ? (bytes[pos] as number) : 0;
      if (!isDigit(byte)) this.fail("expected a digit", pos);
      while (isDigit(byte)) {
        exponent = Math.min(exponent * 10 + byte - ZERO, MAX_EXPONENT);
        byte = ++pos < end ? (bytes[pos] as number) : 0;
      }
      power += sign * exponent;
    }
    this.#digits = digits;
    this.#digitCount = count;
    this.#power = power;
    this.#pos = pos;
    return at;
  }
}

function isDigit(byte: number): boolean {
  return byte >= ZERO && byte <= 0x39;
}
