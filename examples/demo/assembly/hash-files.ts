// The WASM guest: SHA-256 of what the host hands in. Compiled from AssemblyScript by `pnpm run build`.
import { close, enter, EventSite, flush, Level, now, setClock, Span, SpanSite } from "@spanduct/guest-assemblyscript/assembly";

// Called by the host when a run ends.
export { flush as spanduct_flush };

const TARGET = "hash-files (WASM)";
const HASH_FILES = new SpanSite("hash files", Level.Info, ["files", "bytes"], TARGET);
const HASH_FILE = new SpanSite("hash file", Level.Info, ["path", "bytes", "sha256"], TARGET);
const LARGE = new EventSite("large file", Level.Warn, ["message", "blocks"], TARGET);

setClock(now);

let all: Span = 0;
let files: u32 = 0;
let bytes: u64 = 0;

export function allocate(size: usize): usize {
  return heap.alloc(size);
}

export function begin(): void {
  all = HASH_FILES.open();
  enter(all);
}

/** Hash a file. @returns where the 32 bytes of its digest are */
export function hashFile(path: usize, pathLength: usize, data: usize, length: u32): usize {
  const span = HASH_FILE.open(String.UTF8.decodeUnsafe(path, pathLength), length);
  enter(span);
  if (length > 64 * 1024) LARGE.emit("a large file", length / 64 + 1);
  const digest = sha256(data, length);
  HASH_FILE.record(span, 2, hex(digest, 8) + "…");
  close(span);
  files++;
  bytes += length;
  return digest;
}

export function finish(): void {
  HASH_FILES.record(all, 0, files);
  HASH_FILES.record(all, 1, bytes);
  close(all);
}

function hex(from: usize, count: i32): string {
  let text = "";
  for (let i = 0; i < count; i++) text += ((<u32>load<u8>(from + i)) | 0x100).toString(16).substring(1);
  return text;
}

/** First 32 bits of the fractional parts of the cube roots of the first 64 primes. */
const K: StaticArray<u32> = [
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01,
  0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
  0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147,
  0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08,
  0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
  0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

/** State: the same of the square roots of the first 8 primes. */
const INITIAL: StaticArray<u32> = [
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

const STATE = heap.alloc(32);
const SCHEDULE = heap.alloc(256);
const TAIL = heap.alloc(128);

/** FIPS 180-4. @returns where the digest is, until the next call */
function sha256(data: usize, length: u32): usize {
  for (let i = 0; i < 8; i++) store<u32>(STATE + (<usize>i << 2), unchecked(INITIAL[i]));
  const whole = length & ~63;
  for (let at: u32 = 0; at < whole; at += 64) compress(data + at);

  // The rest, a one bit, zeros, and the length in bits.
  const rest = length - whole;
  const tail: u32 = rest < 56 ? 64 : 128;
  memory.fill(TAIL, 0, 128);
  memory.copy(TAIL, data + whole, rest);
  store<u8>(TAIL + rest, 0x80);
  store<u64>(TAIL + tail - 8, bswap<u64>(<u64>length << 3));
  compress(TAIL);
  if (tail == 128) compress(TAIL + 64);

  for (let at = STATE; at < STATE + 32; at += 4) store<u32>(at, bswap<u32>(load<u32>(at)));
  return STATE;
}

function compress(block: usize): void {
  for (let i: usize = 0; i < 64; i += 4) store<u32>(SCHEDULE + i, bswap<u32>(load<u32>(block + i)));
  for (let i: usize = 64; i < 256; i += 4) {
    const w15 = load<u32>(SCHEDULE + i - 60);
    const w2 = load<u32>(SCHEDULE + i - 8);
    const s0 = rotr<u32>(w15, 7) ^ rotr<u32>(w15, 18) ^ (w15 >>> 3);
    const s1 = rotr<u32>(w2, 17) ^ rotr<u32>(w2, 19) ^ (w2 >>> 10);
    store<u32>(SCHEDULE + i, load<u32>(SCHEDULE + i - 64) + s0 + load<u32>(SCHEDULE + i - 28) + s1);
  }
  let a = load<u32>(STATE), b = load<u32>(STATE, 4), c = load<u32>(STATE, 8), d = load<u32>(STATE, 12);
  let e = load<u32>(STATE, 16), f = load<u32>(STATE, 20), g = load<u32>(STATE, 24), h = load<u32>(STATE, 28);
  for (let i = 0; i < 64; i++) {
    const s1 = rotr<u32>(e, 6) ^ rotr<u32>(e, 11) ^ rotr<u32>(e, 25);
    const t1 = h + s1 + ((e & f) ^ (~e & g)) + unchecked(K[i]) + load<u32>(SCHEDULE + (<usize>i << 2));
    const s0 = rotr<u32>(a, 2) ^ rotr<u32>(a, 13) ^ rotr<u32>(a, 22);
    const t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g; g = f; f = e; e = d + t1; d = c; c = b; b = a; a = t1 + t2;
  }
  add(0, a); add(4, b); add(8, c); add(12, d); add(16, e); add(20, f); add(24, g); add(28, h);
}

function add(offset: usize, value: u32): void {
  store<u32>(STATE + offset, load<u32>(STATE + offset) + value);
}
