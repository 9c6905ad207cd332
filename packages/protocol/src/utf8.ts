/**
 * Write `text` as UTF-8 at `at`; lone surrogates become U+FFFD. `bytes` must have room for three bytes a UTF-16 unit.
 * By hand because bare guests have no `TextEncoder`.
 *
 * @returns the position after the last byte
 */
export function writeUtf8(bytes: Uint8Array, at: number, text: string): number {
  const length = text.length;
  let pos = at;
  for (let i = 0; i < length; i++) {
    let code = text.charCodeAt(i);
    if (code < 0x80) {
      bytes[pos++] = code;
      continue;
    }
    if (code < 0x800) {
      bytes[pos++] = 0xc0 | (code >> 6);
    } else {
      if ((code & 0xf800) === 0xd800) {
        const low = text.charCodeAt(i + 1);
        if (code < 0xdc00 && (low & 0xfc00) === 0xdc00) {
          code = 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
          i++;
        } else {
          code = 0xfffd;
        }
      }
      if (code < 0x10000) {
        bytes[pos++] = 0xe0 | (code >> 12);
      } else {
        bytes[pos++] = 0xf0 | (code >> 18);
        bytes[pos++] = 0x80 | ((code >> 12) & 0x3f);
      }
      bytes[pos++] = 0x80 | ((code >> 6) & 0x3f);
    }
    bytes[pos++] = 0x80 | (code & 0x3f);
  }
  return pos;
}

/** UTF-8 bytes of `text` as `writeUtf8` writes it. */
export function utf8Length(text: string): number {
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    length += unit < 0x80 ? 1 : unit < 0x800 ? 2 : 3;
    if ((unit & 0xfc00) === 0xd800 && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) {
      length++;
      i++;
    }
  }
  return length;
}

// Not in the language, but in every host; a bare guest that decodes (none of ours does) goes the slow way.
declare const TextDecoder:
  | (new (
      label: string,
      options: { fatal: boolean; ignoreBOM: boolean },
    ) => { decode(bytes: Uint8Array): string })
  | undefined;

let decoder: { decode(bytes: Uint8Array): string } | undefined;

/** Up to this many bytes the making of the string here beats the call into the decoder. */
const SHORT = 32;

/**
 * The text of `bytes[start, end)`; `undefined` when that is not valid UTF-8. The string shares no memory with `bytes`.
 */
export function readUtf8(bytes: Uint8Array, start: number, end: number): string | undefined {
  if (end - start > SHORT) return readLong(bytes, start, end);
  let all = 0;
  for (let i = start; i < end; i++) all |= bytes[i] as number;
  return all < 0x80 ? readAscii(bytes, start, end) : readLong(bytes, start, end);
}

/** Eight characters a call, because a call costs more than a character. */
function readAscii(bytes: Uint8Array, start: number, end: number): string {
  const at = (offset: number): number => bytes[offset] as number;
  let text = "";
  let i = start;
  for (; i + 8 <= end; i += 8) {
    text += String.fromCharCode(at(i), at(i + 1), at(i + 2), at(i + 3), at(i + 4), at(i + 5), at(i + 6), at(i + 7));
  }
  if (i + 4 <= end) {
    text += String.fromCharCode(at(i), at(i + 1), at(i + 2), at(i + 3));
    i += 4;
  }
  for (; i < end; i++) text += String.fromCharCode(at(i));
  return text;
}

function readLong(bytes: Uint8Array, start: number, end: number): string | undefined {
  if (typeof TextDecoder === "undefined") return readByHand(bytes, start, end);
  decoder ??= new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  try {
    return decoder.decode(bytes.subarray(start, end));
  } catch {
    return undefined;
  }
}

/** UTF-8 by the table of the Unicode Standard, 3.9: no overlong forms, no surrogates, nothing above U+10FFFF. */
export function readByHand(bytes: Uint8Array, start: number, end: number): string | undefined {
  let text = "";
  for (let i = start; i < end; ) {
    const lead = bytes[i++] as number;
    if (lead < 0x80) {
      text += String.fromCharCode(lead);
      continue;
    }
    const more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || i + more > end) return undefined;
    let code = lead & (0x3f >> more);
    for (let k = 0; k < more; k++) {
      const next = bytes[i++] as number;
      if ((next & 0xc0) !== 0x80) return undefined;
      code = (code << 6) | (next & 0x3f);
    }
    if (more === 2 && (code < 0x800 || (code & 0xf800) === 0xd800)) return undefined;
    if (more === 3 && (code < 0x10000 || code > 0x10ffff)) return undefined;
    text += String.fromCodePoint(code);
  }
  return text;
}
