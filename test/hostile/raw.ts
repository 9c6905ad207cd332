/** Bytes as no sender of ours would write them, and many of them. */
import type { BatchHeader, Codec } from "@spanduct/protocol";
import { replay, type SinkCall } from "../support/sink-calls.ts";

export type Bytes = readonly number[];

/** A protobuf varint. */
export function varint(value: number): Bytes {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
  return bytes;
}

/** A protobuf field of bytes. */
export function field(number: number, ...content: readonly Bytes[]): Bytes {
  const length = content.reduce((sum, part) => sum + part.length, 0);
  return [(number << 3) | 2, ...varint(length)].concat(...content);
}

/** A protobuf field of a number. */
export function number(field: number, value: number): Bytes {
  return [field << 3, ...varint(value)];
}

export function text(content: string): Bytes {
  return [...Buffer.from(content)];
}

/** Header of a protobuf batch without a clock. */
export function header(sequence = 0): Bytes {
  return [8, 1, 16, 4, 0x20, ...varint(sequence)];
}

/** `bytes` again and again, `times` over, between `before` and `after`. */
export function repeated(bytes: Bytes, times: number, before: Bytes = [], after: Bytes = []): Uint8Array {
  const result = new Uint8Array(before.length + bytes.length * times + after.length);
  result.set(before);
  for (let i = 0; i < times; i++) result.set(bytes, before.length + i * bytes.length);
  result.set(after, before.length + bytes.length * times);
  return result;
}

/** The calls in batches of `size`, numbered from `sequence`. */
export function* inBatches(codec: Codec, calls: Iterable<SinkCall>, size: number, sequence = 0): Generator<Uint8Array> {
  const encoder = codec.createEncoder();
  let next = sequence;
  let count = 0;
  const begin = (): void => {
    const batch: BatchHeader = { version: 1, clock: "none", baseTimeUnixNano: 0n, sequence: next++, droppedEvents: 0 };
    encoder.batch(batch);
    count = 0;
  };
  begin();
  for (const call of calls) {
    replay([call], encoder);
    if (++count < size) continue;
    yield encoder.finish().slice();
    begin();
  }
  if (count > 0) yield encoder.finish().slice();
}
