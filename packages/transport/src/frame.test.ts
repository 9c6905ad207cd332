import { type DecodeError, isTunnelError } from "@spanduct/protocol";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeFrame, type Frame, FrameKind, FrameReader, PREFACE } from "./frame.ts";

const ANY = (): number => 2 ** 32;

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** All frames that come of these chunks. */
function read(reader: FrameReader, chunks: readonly Uint8Array[]): Frame[] {
  const frames: Frame[] = [];
  for (const chunk of chunks) {
    reader.push(chunk);
    for (let frame = reader.next(); frame !== undefined; frame = reader.next()) frames.push(frame);
  }
  return frames;
}

function oneByOne(bytes: Uint8Array): Uint8Array[] {
  return Array.from(bytes, (byte) => Uint8Array.of(byte));
}

function errorOf(action: () => unknown): DecodeError {
  try {
    action();
  } catch (error) {
    if (isTunnelError(error)) return error as DecodeError;
    throw error;
  }
  throw new Error("nothing was thrown");
}

const announce = (length: number): Uint8Array => {
  const header = new Uint8Array(5);
  header[0] = FrameKind.batch;
  new DataView(header.buffer).setUint32(1, length, true);
  return header;
};

describe("FrameReader", () => {
  it("gives the same frames wherever the stream is cut", () => {
    const frames = fc.array(
      fc.record({ kind: fc.constantFrom(...Object.values(FrameKind)), payload: fc.uint8Array({ maxLength: 300 }) }),
      { maxLength: 10 },
    );
    fc.assert(
      fc.property(frames, fc.array(fc.nat(), { maxLength: 30 }), (sent, cuts) => {
        const stream = concat(PREFACE, ...sent.map(({ kind, payload }) => encodeFrame(kind, payload)));
        const at = [...new Set(cuts.map((cut) => cut % (stream.length + 1)))].sort((a, b) => a - b);
        const chunks = [...at, stream.length].map((end, i) => stream.subarray(at[i - 1] ?? 0, end));
        const reader = new FrameReader(ANY);
        expect(read(reader, chunks)).toEqual(sent);
        expect(reader.atBoundary).toBe(true);
      }),
    );
  });

  it("gives a frame that is whole in a chunk as part of that chunk, without a copy", () => {
    const reader = new FrameReader(ANY);
    const chunk = concat(
      PREFACE,
      encodeFrame(FrameKind.batch, new Uint8Array(1000)),
      encodeFrame(FrameKind.batch, Uint8Array.of(7)),
    );
    const [first, second] = read(reader, [chunk]);
    expect([first?.payload.buffer, second?.payload.buffer]).toEqual([chunk.buffer, chunk.buffer]);
    expect(reader.copiedBytes).toBe(0);
  });

  it.each([1, 7, 100, 4096, 100_000, 300_000])(
    "does work in proportion to a frame of %i bytes that drips in byte by byte",
    (length) => {
      const reader = new FrameReader(ANY);
      read(reader, oneByOne(concat(PREFACE, encodeFrame(FrameKind.batch, new Uint8Array(length)))));
      // Each byte once, and once or twice more because the memory doubles now and then.
      expect(reader.copiedBytes).toBeGreaterThanOrEqual(length - 1);
      expect(reader.copiedBytes).toBeLessThanOrEqual(3 * length);
    },
  );

  it("does work in proportion to many frames that drip in together", () => {
    const frame = encodeFrame(FrameKind.batch, new Uint8Array(10));
    const reader = new FrameReader(ANY);
    expect(read(reader, oneByOne(concat(PREFACE, ...new Array(10_000).fill(frame))))).toHaveLength(10_000);
    expect(reader.copiedBytes).toBeLessThanOrEqual(2 * 100_000);
  });

  it("refuses a length above the maximum at its last byte, and takes the maximum itself", () => {
    for (const [length, code] of [
      [1000, undefined],
      [1001, "limit_exceeded"],
      [2 ** 30, "limit_exceeded"],
      [2 ** 31, "limit_exceeded"],
      [2 ** 32 - 1, "limit_exceeded"],
    ] as const) {
      const reader = new FrameReader(() => 1000);
      const chunks = oneByOne(concat(PREFACE, announce(length)));
      expect(read(reader, chunks.slice(0, -1))).toEqual([]);
      if (code === undefined) expect(read(reader, chunks.slice(-1))).toEqual([]);
      else expect(errorOf(() => read(reader, chunks.slice(-1)))).toMatchObject({ code, offset: PREFACE.length + 5 });
    }
  });

  it("takes memory for what has come, not for what was announced", () => {
    const before = process.memoryUsage().arrayBuffers;
    const readers = Array.from({ length: 100 }, () => new FrameReader(ANY));
    for (const reader of readers) read(reader, [concat(PREFACE, announce(2 ** 30), new Uint8Array(10))]);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 20);
    expect(readers[0]?.progress).toBe("10 of 1073741824 bytes of a frame");
  });

  it("refuses a kind that is not expected at its first byte", () => {
    const reader = new FrameReader((kind) => (kind === FrameKind.batch ? 10 : undefined));
    expect(errorOf(() => read(reader, [concat(PREFACE, Uint8Array.of(9))]))).toMatchObject({
      code: "malformed",
      message: "[malformed] a frame of kind 9 is not expected at offset 11",
    });
  });

  it.each([
    ["GET / HTTP/1.1\r\n", "malformed", 0],
    ["spanduct", undefined, 0],
    ["spandukt/1\n", "malformed", 6],
    ["spanduct/2\n", "unsupported_version", 9],
    ["spanduct/10\n", "unsupported_version", 10],
    ["spanduct/1\r\n", "malformed", 10],
    ["\u{16}\u{3}\u{1}", "malformed", 0],
  ])("knows %j by its first bytes", (text, code, offset) => {
    const reader = new FrameReader(ANY);
    const action = (): unknown => read(reader, oneByOne(Buffer.from(text)));
    if (code === undefined) expect(action()).toEqual([]);
    else expect(errorOf(action)).toMatchObject({ code, offset });
  });

  it("gives frames or coded errors, whatever the bytes are", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 10 }), fc.boolean(), (chunks, greeted) => {
        const reader = new FrameReader((kind) => (kind < 5 ? 100 : undefined));
        try {
          read(reader, greeted ? [PREFACE, ...chunks] : chunks);
        } catch (error) {
          expect(isTunnelError(error)).toBe(true);
        }
      }),
    );
  });

  it("knows after each byte whether the stream may end there", () => {
    const reader = new FrameReader(ANY);
    const stream = concat(
      PREFACE,
      encodeFrame(FrameKind.batch, Uint8Array.of(1, 2)),
      encodeFrame(FrameKind.end, new Uint8Array()),
    );
    const boundaries = [0];
    for (const [i, byte] of oneByOne(stream).entries()) {
      read(reader, [byte]);
      if (reader.atBoundary) boundaries.push(i + 1);
    }
    expect(boundaries).toEqual([0, 11, 18, 23]);
  });
});
