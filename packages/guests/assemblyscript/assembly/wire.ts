// Writes the protobuf form of proto/spanduct/v1/tunnel.proto at `position`. Tags are literals, `field << 3 | wire type`.
// Only strings can be too long for the buffer; an event with one that is gets undone at its end.

/** An error as a value, with what caused it. Becomes an exception of the span or event. */
export class TracedError {
  /** @param type class of the error */
  constructor(public message: string, public type: string | null = null, public source: TracedError | null = null) {}
}

/** Bytes of the one buffer, made at the first event. */
const CAPACITY: usize = 128 * 1024;
/** More than all of an event but its strings. */
const SLACK: usize = 4096;
/** Errors kept of a chain of causes, as many as hosts keep; the rest are counted. */
const MAX_CAUSES: u32 = 16;
/** Counting ends here, so that a chain that bites its own tail ends. */
const MAX_LINKS: u32 = 1000;

let buffer: usize = 0;
/** Where the next byte goes. */
let position: usize = 0;
let overflow: bool = false;
/** The event being written, and the message in it; 0 where that is a mere number. */
let event: usize = 0;
let message: usize = 0;

/** Bytes written since `clear`. */
export function written(): usize {
  return position - buffer;
}

/** Where they begin. */
export function start(): usize {
  return buffer;
}

/** Begin anew, at the address that is returned. */
export function clear(): usize {
  if (buffer == 0) buffer = heap.alloc(CAPACITY);
  position = buffer;
  return buffer;
}

/** Begin an event. @param tag its member of `Event.kind`; @param timed whether `delta`, its time since the last one, counts */
export function beginEvent(tag: u32, timed: bool, delta: i64): void {
  event = open(0x32);
  if (timed) {
    writeByte(0x08);
    writeZigzag(delta);
  }
  message = 0;
  if ((tag & 7) == 2) message = open(tag);
  else writeByte(tag);
}

/** End the event. False: it did not fit and is undone. */
export function endEvent(): bool {
  const fits = !overflow;
  overflow = false;
  if (!fits) {
    position = event - 1;
    return false;
  }
  if (message != 0) close(message);
  close(event);
  return true;
}

export function writeByte(byte: u32): void {
  store<u8>(position++, <u8>byte);
}

export function writeVarint(value: u64): void {
  for (; value > 0x7f; value >>= 7) writeByte(<u32>value | 0x80);
  writeByte(<u32>value);
}

export function writeZigzag(value: i64): void {
  writeVarint((value << 1) ^ (value >> 63));
}

/** Zero is the default and not written. */
export function writeId(tag: u32, id: u64): void {
  if (id == 0) return;
  writeByte(tag);
  writeVarint(id);
}

export function writeFixed(tag: u32, value: u64): void {
  writeByte(tag);
  store<u64>(position, value);
  position += 8;
}

/** Open a nested message: a tag and one byte for its length. */
function open(tag: u32): usize {
  writeByte(tag);
  return position++;
}

/** Fill in the length that `open` left open; 128 bytes or more move up to make place for it. */
function close(start: usize): void {
  const length = position - start - 1;
  const wider: usize = length < 0x80 ? 0 : length < 0x4000 ? 1 : 2;
  if (wider > 0) memory.copy(start + 1 + wider, start + 1, length);
  position = start;
  writeVarint(length);
  position += length;
}

/** Lone surrogates become U+FFFD. */
export function writeString(tag: u32, text: string): void {
  const length = <usize>String.UTF8.byteLength(text);
  if (overflow || written() + length > CAPACITY - SLACK) {
    overflow = true;
    return;
  }
  writeByte(tag);
  writeVarint(length);
  String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, position, false, String.UTF8.ErrorMode.REPLACE);
  position += length;
}

function writeError(error: TracedError): void {
  const start = open(0x4a);
  let link: TracedError | null = error;
  let links: u32 = 0;
  while (link !== null && links < MAX_LINKS) {
    if (links++ < MAX_CAUSES) {
      const cause = open(0x0a);
      writeString(0x0a, link.message);
      const type = link.type;
      if (type !== null) writeString(0x12, type);
      close(cause);
    }
    link = link.source;
  }
  if (links > MAX_CAUSES) writeId(0x10, links - MAX_CAUSES);
  close(start);
}

/** Write a value; null is left out. @param field index into the call site's fields */
export function writeValue<T>(tag: u32, field: u32, value: T): void {
  if (isReference<T>()) {
    if (changetype<usize>(value) == 0) return;
  }
  const start = open(tag);
  writeId(0x08, field);
  if (isBoolean<T>()) {
    writeByte(0x18);
    writeByte(value ? 1 : 0);
  } else if (isFloat<T>()) {
    writeFixed(0x31, reinterpret<u64>(<f64>value));
  } else if (isInteger<T>()) {
    writeByte(isSigned<T>() ? 0x20 : 0x28);
    if (isSigned<T>()) writeZigzag(<i64>value);
    else writeVarint(<u64>value);
  } else if (isString<T>()) {
    writeString(0x3a, changetype<string>(value));
  } else if (value instanceof TracedError) {
    writeError(changetype<TracedError>(value));
  } else {
    ERROR("a value is a boolean, a number, a string or a TracedError");
  }
  close(start);
}
