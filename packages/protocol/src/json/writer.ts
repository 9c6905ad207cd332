import type { CallSiteData, TracedError } from "../event.ts";
import { writeUtf8 } from "../utf8.ts";
import { type ValueColumns, ValueKind, valueName } from "../values.ts";
import { floatText } from "./float.ts";

const INITIAL_BYTES = 4096;
/** UTF-16 units to bytes: `\u0000` is the longest form. */
const MAX_BYTES_PER_UNIT = 6;
const BILLION = 1_000_000_000;

const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const ZERO = 0x30;
const BACKSLASH = 0x5c;
const LOWER_U = 0x75;
const CLOSE_BRACE = 0x7d;
const HEX = "0123456789abcdef";
/** Second character of the short escapes of control characters, by code; a space where there is none. */
const SHORT_ESCAPES = "        btn fr  ";

/** JSON text of the protocol's parts, as UTF-8 in memory that grows. Key order and spelling are the crate's. */
export class JsonWriter {
  #bytes: Uint8Array = new Uint8Array(INITIAL_BYTES);
  #pos = 0;

  get byteLength(): number {
    return this.#pos;
  }

  /** What was written; the writer's own memory. */
  /** What begins with them. */
  get memory(): Uint8Array {
    return this.#bytes;
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#pos);
  }

  /** Forget what was written. */
  clear(): void {
    this.#pos = 0;
  }

  /** ASCII text as it is. */
  raw(text: string): void {
    const { length } = text;
    this.#room(length);
    const bytes = this.#bytes;
    let pos = this.#pos;
    for (let i = 0; i < length; i++) bytes[pos++] = text.charCodeAt(i);
    this.#pos = pos;
  }

  /** JSON text as it is. */
  json(text: string): void {
    this.#room(text.length * 3);
    this.#pos = writeUtf8(this.#bytes, this.#pos, text);
  }

  /** A string with quotes and escapes; lone surrogates become U+FFFD. */
  string(text: string): void {
    const { length } = text;
    this.#room(length + 2);
    const bytes = this.#bytes;
    let pos = this.#pos;
    bytes[pos++] = QUOTE;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code < SPACE || code === QUOTE || code === BACKSLASH || code >= 0x80) {
        this.#pos = pos;
        return this.#escaped(text, i);
      }
      bytes[pos++] = code;
    }
    bytes[pos++] = QUOTE;
    this.#pos = pos;
  }

  integer(value: number | bigint): void {
    if (typeof value === "bigint") return this.raw(String(value));
    let rest = value;
    if (rest < 0) {
      this.#byteWithRoom(MINUS);
      rest = -rest;
    }
    if (rest < BILLION) return this.digits(rest, digitCount(rest));
    const high = Math.floor(rest / BILLION);
    this.integer(high);
    this.digits(rest - high * BILLION, 9);
  }

  /** @param value integer of at most `count` digits, 9 or fewer; zeros are put before it */
  digits(value: number, count: number): void {
    this.#room(count);
    const bytes = this.#bytes;
    const end = this.#pos + count;
    let rest = value;
    for (let at = end - 1; at >= this.#pos; at--) {
      const next = (rest / 10) | 0;
      bytes[at] = ZERO + (rest - next * 10);
      rest = next;
    }
    this.#pos = end;
  }

  /** The data of a call site, without the braces around it. */
  callSite(data: CallSiteData): void {
    this.raw(data.kind === "span" ? '"kind":"span","name":' : '"kind":"event","name":');
    this.string(data.name);
    this.raw(',"target":');
    this.string(data.target);
    this.raw(',"level":"');
    this.raw(data.level);
    this.raw('"');
    if (data.module_path !== undefined) {
      this.raw(',"module_path":');
      this.string(data.module_path);
    }
    if (data.file !== undefined) {
      this.raw(',"file":');
      this.string(data.file);
    }
    if (data.line !== undefined) {
      this.raw(',"line":');
      this.integer(data.line);
    }
    this.raw(',"fields":[');
    data.fields.forEach((field, position) => {
      if (position > 0) this.raw(",");
      this.string(field);
    });
    this.raw("]");
  }

  /** A map of values. A key that indexes no name is written as `#` and the index. */
  values(values: ValueColumns): void {
    const { kinds, raws, size } = values;
    this.raw("{");
    for (let i = 0; i < size; i++) {
      if (i > 0) this.#byte(COMMA);
      this.string(valueName(values, i) ?? `#${values.keys[i]}`);
      const raw = raws[i];
      switch (kinds[i]) {
        case ValueKind.bool:
          this.raw(raw === true ? ':{"bool":true' : ':{"bool":false');
          break;
        case ValueKind.int:
          this.raw(':{"int":');
          this.integer(raw as number | bigint);
          break;
        case ValueKind.uInt:
          this.raw(':{"u_int":');
          this.integer(raw as number | bigint);
          break;
        case ValueKind.float:
          this.#float(raw as number);
          break;
        case ValueKind.string:
          this.raw(':{"string":');
          this.string(raw as string);
          break;
        case ValueKind.object:
          this.raw(':{"object":');
          this.string(raw as string);
          break;
        default:
          this.raw(':{"error":');
          this.#error(raw as TracedError);
      }
      this.#byte(CLOSE_BRACE);
    }
    this.#byte(CLOSE_BRACE);
  }

  /** The crate writes `null` for what is not finite and then cannot read it; a debug form it can read. */
  #float(value: number): void {
    if (Number.isFinite(value)) {
      this.raw(':{"float":');
      this.raw(floatText(value));
    } else if (Number.isNaN(value)) {
      this.raw(':{"object":"NaN"');
    } else {
      this.raw(value > 0 ? ':{"object":"inf"' : ':{"object":"-inf"');
    }
  }

  #error(error: TracedError): void {
    let depth = 0;
    for (let link: TracedError | null = error; link !== null; link = link.source) {
      this.raw(depth++ === 0 ? '{"message":' : ',"source":{"message":');
      this.string(link.message);
      if (link.type !== undefined) {
        this.raw(',"type":');
        this.string(link.type);
      }
      if (link.stack !== undefined) {
        this.raw(',"stack":');
        this.string(link.stack);
      }
      if (link.omitted !== undefined) {
        this.raw(',"omitted":');
        this.integer(link.omitted);
      }
    }
    this.raw(',"source":null');
    while (depth-- > 0) this.#byteWithRoom(CLOSE_BRACE);
  }

  /** The rest of a string from unit `from` on, with what it needs beyond plain ASCII, and the closing quote. */
  #escaped(text: string, from: number): void {
    const { length } = text;
    this.#room((length - from) * MAX_BYTES_PER_UNIT + 1);
    const bytes = this.#bytes;
    let pos = this.#pos;
    for (let i = from; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code >= 0x80) {
        let end = i + 1;
        while (end < length && text.charCodeAt(end) >= 0x80) end++;
        pos = writeUtf8(bytes, pos, text.slice(i, end));
        i = end - 1;
      } else if (code === QUOTE || code === BACKSLASH) {
        bytes[pos++] = BACKSLASH;
        bytes[pos++] = code;
      } else if (code >= SPACE) {
        bytes[pos++] = code;
      } else {
        bytes[pos++] = BACKSLASH;
        const short = code < SHORT_ESCAPES.length ? SHORT_ESCAPES.charCodeAt(code) : SPACE;
        if (short !== SPACE) {
          bytes[pos++] = short;
        } else {
          bytes[pos++] = LOWER_U;
          bytes[pos++] = ZERO;
          bytes[pos++] = ZERO;
          bytes[pos++] = ZERO + (code >> 4);
          bytes[pos++] = HEX.charCodeAt(code & 0x0f);
        }
      }
    }
    bytes[pos++] = QUOTE;
    this.#pos = pos;
  }

  #byte(byte: number): void {
    this.#bytes[this.#pos++] = byte;
  }

  #byteWithRoom(byte: number): void {
    this.#room(1);
    this.#byte(byte);
  }

  /** A few bytes more than asked for, so that single bytes behind need not ask. */
  #room(bytes: number): void {
    const needed = this.#pos + bytes + 4;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }
}

function digitCount(value: number): number {
  let count = 1;
  for (let bound = 10; value >= bound; bound *= 10) count++;
  return count;
}
