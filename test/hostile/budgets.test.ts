import {
  type Codec,
  controlWord,
  DEFAULT_LIMITS,
  type DecodeError,
  type TracedError,
  type TunnelError,
} from "@spanduct/protocol";
import { json } from "@spanduct/protocol/json";
import { msgpack } from "@spanduct/protocol/msgpack";
import { protobuf } from "@spanduct/protocol/protobuf";
import { TracingEventReceiver } from "@spanduct/receiver";
import { Pump } from "@spanduct/transport";
import { createRing, RingReader } from "@spanduct/transport/ring";
import { streamReceiver } from "@spanduct/transport/stream";
import { describe, expect, it } from "vitest";
import { callSite, newSpan } from "../support/events.ts";
import { RelayLog } from "../support/relay-log.ts";
import { errorChain, type SinkCall, sinkTo } from "../support/sink-calls.ts";
import { field, header, inBatches, number, repeated, text, varint } from "./raw.ts";

const GIGABYTE = 2 ** 30;
const CODECS: readonly Codec[] = [json, protobuf, msgpack];

function decode(codec: Codec, bytes: Uint8Array): { readonly calls: SinkCall[]; readonly errors: DecodeError[] } {
  const calls: SinkCall[] = [];
  const errors: DecodeError[] = [];
  codec.createDecoder(DEFAULT_LIMITS).decode(
    bytes,
    sinkTo((call) => calls.push(call)),
    (error) => errors.push(error),
  );
  return { calls, errors };
}

/** Bytes of memory, of objects and buffers, that `action` takes, garbage and all. */
function memoryOf(action: () => void): number {
  const taken = (): number => {
    const { heapUsed, arrayBuffers, external } = process.memoryUsage();
    return heapUsed + arrayBuffers + external;
  };
  const before = taken();
  action();
  return taken() - before;
}

const MSGPACK_HEADER = [0x95, 1, 4, 0, 0, 0];
const CALL_SITE = [0x9b, 2, 0xc0, 1, 1, 3];
const bigEndian = (length: number): number[] => [length >>> 24, (length >>> 16) & 0xff, (length >>> 8) & 0xff, length & 0xff];

describe("a gigabyte that is announced takes no memory", () => {
  const announced: readonly (readonly [what: string, codec: Codec, bytes: readonly number[]])[] = [
    ["an event", protobuf, [...header(), 0x32, ...varint(GIGABYTE), 0x28, 1]],
    ["a call site", protobuf, [...header(), ...field(6, [0x12, ...varint(GIGABYTE), 8, 1])]],
    ["a string", protobuf, [...header(), ...field(6, field(2, [0x22, ...varint(GIGABYTE), 0x78]))]],
    ["an unknown field", protobuf, [...header(), 0xf2, 0x3f, ...varint(GIGABYTE), 1]],
    ["a string", msgpack, [...MSGPACK_HEADER, ...CALL_SITE, 0xdb, ...bigEndian(GIGABYTE), 0x78]],
    ["a list of fields", msgpack, [...MSGPACK_HEADER, ...CALL_SITE, 0xa0, 0xa0, 0xc0, 0xc0, 0xc0, 0xdd, ...bigEndian(GIGABYTE)]],
    ["a list of values", msgpack, [...MSGPACK_HEADER, 0x94, 9, 0xc0, 1, 0xdd, ...bigEndian(GIGABYTE), 0]],
    ["a chain of errors", msgpack, [...MSGPACK_HEADER, 0x94, 9, 0xc0, 1, 0x93, 0, 7, 0xdd, ...bigEndian(GIGABYTE), 0]],
    ["an item to skip", msgpack, [...MSGPACK_HEADER, 0x93, 0x7f, 0xc0, 0xc6, ...bigEndian(GIGABYTE), 0]],
    ["an array to skip", msgpack, [...MSGPACK_HEADER, 0x93, 0x7f, 0xc0, 0xdd, ...bigEndian(GIGABYTE), 0]],
    // JSON has no lengths; this is the nearest there is.
    ["a string", json, text('{"new_call_site":{"id":1,"kind":"span","level":"info","fields":[],"target":"","name":"x')],
  ];

  it.each(announced.map(([what, codec, bytes]) => [what, codec.name, codec, bytes] as const))(
    "%s, as %s",
    (_, __, codec, bytes) => {
      const batch = Uint8Array.from(bytes);
      let read: ReturnType<typeof decode> | undefined;
      const memory = memoryOf(() => {
        read = decode(codec, batch);
      });
      expect(read?.errors.map(({ code }) => code)).toEqual(["malformed"]);
      expect(read?.calls.filter(([method]) => method !== "batch")).toEqual([]);
      expect(memory).toBeLessThan(4 * 2 ** 20);
    },
  );

  it("a frame of a stream: the connection is closed", async () => {
    const listeners = new Map<string, (argument: unknown) => void>();
    let destroyed = false;
    const stream = {
      on: (event: string, listener: (argument: unknown) => void) => listeners.set(event, listener),
      write: () => true,
      end: (done: () => void) => done(),
      destroy: () => {
        destroyed = true;
      },
      pause: () => undefined,
      resume: () => undefined,
    };
    const turns: (() => void)[] = [];
    const receiver = streamReceiver(stream, () => controlWord(5, false), {
      pump: new Pump({ schedule: (turn) => turns.push(turn) }),
    });
    const memory = memoryOf(() => {
      listeners.get("data")?.(Uint8Array.from([...text("spanduct/1\n"), 1, ...bigEndian(GIGABYTE).reverse()]));
      for (let turn = turns.shift(); turn !== undefined; turn = turns.shift()) turn();
    });
    expect(await receiver.ended).toMatchObject({ kind: "broken", error: { code: "limit_exceeded" } });
    expect(destroyed).toBe(true);
    expect(memory).toBeLessThan(4 * 2 ** 20);
  });

  it("a record of a ring: the ring is closed", () => {
    const ring = createRing(1024);
    const words = new Int32Array(ring.buffer);
    const reader = new RingReader(ring);
    // The first record, and how much is written.
    words[48] = GIGABYTE;
    words[16] = 1024;
    const memory = memoryOf(() => {
      reader.look();
      expect(() => reader.take()).toThrow(expect.objectContaining({ code: "malformed" }));
    });
    expect(memory).toBeLessThan(4 * 2 ** 20);
    expect(reader.look()).toBe(0);
  });
});

describe("a chain of ten thousand errors", () => {
  const nested = (depth: number): string => `${'{"message":"m","source":'.repeat(depth)}null${"}".repeat(depth)}`;

  it.each([protobuf, msgpack])("is cut, and says by how much: $name", (codec) => {
    const [batch] = [
      ...inBatches(
        codec,
        [["newEvent", 1, undefined, { fields: [], keys: [0], kinds: [7], raws: [errorChain(10_000)], size: 1 }, undefined]],
        1,
      ),
    ] as [Uint8Array];
    const { calls, errors } = decode(codec, batch);
    expect(errors).toEqual([]);
    let depth = 0;
    let last: TracedError | null = null;
    const [, , , read] = calls[1] as unknown as [string, number, undefined, { readonly raws: readonly [TracedError] }];
    const [error] = read.raws;
    for (let link: TracedError | null = error; link !== null; link = link.source) {
      depth++;
      last = link;
    }
    expect([depth, last?.omitted]).toEqual([DEFAULT_LIMITS.maxErrorDepth, 10_000 - DEFAULT_LIMITS.maxErrorDepth]);
  });

  it("is refused where it is nested: JSON, and objects", () => {
    const line = `{"new_event":{"metadata_id":1,"values":{"e":{"error":${nested(10_000)}}}}}`;
    expect(decode(json, Buffer.from(line)).errors.map(({ code }) => code)).toEqual(["limit_exceeded"]);
    const receiver = new TracingEventReceiver<number>({}, {}, [], { relay: new RelayLog() });
    const event = { new_event: { metadata_id: 1, values: { e: { error: errorChain(10_000) } } } };
    expect(receiver.tryReceive(event)?.code).toBe("limit_exceeded");
    // Where nobody looks for an error.
    const junk = { new_event: { metadata_id: 1, values: {}, more: errorChain(10_000) } };
    expect(receiver.tryReceive(junk)?.code).toBe("unknown_metadata_id");
    const skipped = `{"new_event":{"metadata_id":1,"values":{},"more":${nested(10_000)}}}`;
    expect(decode(json, Buffer.from(skipped)).errors.map(({ code }) => code)).toEqual(["limit_exceeded"]);
  });

  it("is no matter for the stack: ten thousand of anything nested, in bytes that are skipped", () => {
    const deep = [...MSGPACK_HEADER, 0x93, 0x7f, 0xc0, ...Array(10_000).fill(0x91), 0xc0];
    expect(decode(msgpack, Uint8Array.from(deep)).errors).toEqual([]);
    const groups = repeated([0x0b], 10_000, [...header(), ...varint(0x32), ...varint(10_000)]);
    expect(decode(protobuf, groups).errors.map(({ code }) => code)).toEqual(["malformed"]);
  });
});

describe("a budget that is used up", () => {
  /** A receiver with what a guest does to it. */
  function host(limits: Partial<typeof DEFAULT_LIMITS> = {}) {
    const errors: TunnelError[] = [];
    const log = new RelayLog();
    return {
      errors,
      log,
      receiver: new TracingEventReceiver<number>({}, {}, [], { relay: log, limits, onError: (error) => errors.push(error) }),
    };
  }

  it("leaves what came before, and what comes after where there is room again", () => {
    const { receiver } = host({ maxLiveSpans: 3 });
    receiver.receive(callSite(1));
    for (let i = 0; i < 10; i++) receiver.tryReceive(newSpan(i));
    expect(Object.keys(receiver.persist().spans)).toEqual(["0", "1", "2"]);
  });

  it("costs no errors beyond 16 a batch, however many events are refused", () => {
    const { receiver, errors } = host();
    receiver.receiveBatch(repeated([0x32, 2, 0x28, 1], 16_000, header()));
    expect(errors).toHaveLength(16);
    expect(receiver.stats.refused).toEqual({ unknown_span_id: 16_000 });
  });

  it("is the same for names that mean something to objects", () => {
    const { receiver, log } = host();
    const names = ["__proto__", "constructor", "toString", "valueOf", "hasOwnProperty"];
    receiver.receive(callSite(1, { name: "__proto__", target: "__proto__", fields: names }));
    for (const name of names) receiver.receive(newSpan(1, JSON.parse(`{${JSON.stringify(name)}:{"bool":true}}`)));
    const { spans } = receiver.persist();
    expect(Object.keys(spans["1"]?.values ?? {})).toEqual(["hasOwnProperty"]);
    expect(Object.getPrototypeOf(spans)).toBeNull();
    expect(log.lines.join()).toContain("__proto__=true");
    expect(Object.keys(Object.prototype)).toEqual([]);
  });

  it.each(CODECS)("a batch of maxBatchBytes of the shortest events is over within its budget of events: $name", (codec) => {
    const event: { readonly [codec: string]: readonly number[] } = {
      protobuf: [0x32, 0],
      msgpack: [0x92, 0x7f, 0xc0],
      json: [...text("{}"), 0x0a],
    };
    const start = codec === protobuf ? header() : codec === msgpack ? MSGPACK_HEADER : text('{"batch":{"version":1}}\n');
    const unit = event[codec.name] as readonly number[];
    const batch = repeated(unit, Math.floor((DEFAULT_LIMITS.maxBatchBytes - 100) / unit.length), start);
    const { errors } = decode(codec, batch);
    // JSON has no events without a kind.
    const expected = codec === json ? Array(65).fill("malformed") : ["limit_exceeded"];
    expect(errors.map(({ code }) => code)).toEqual(expected);
  });

  it("of numbers at the ends of their ranges: each is itself", () => {
    const { receiver } = host();
    receiver.receive(callSite(2n ** 64n - 1n));
    receiver.receive(
      newSpan(2n ** 64n - 1n, { a: { int: -(2n ** 127n) }, b: { u_int: 2n ** 128n - 1n } }, undefined, 2n ** 64n - 1n),
    );
    receiver.receive(newSpan(2 ** 53 - 1, { a: { float: -0 }, b: { float: Number.NaN } }, 2n ** 64n - 1n, 2n ** 64n - 1n));
    expect(receiver.tryReceive(newSpan(2n ** 64n))?.code).toBe("malformed");
    expect(receiver.tryReceive(newSpan(-1))?.code).toBe("malformed");
    expect(receiver.tryReceive(newSpan(2 ** 53))?.code).toBe("malformed");
    const { spans } = receiver.persist();
    expect(Object.keys(spans)).toEqual(["18446744073709551615", "9007199254740991"]);
    expect(spans["9007199254740991"]?.values["a"]).toEqual({ float: -0 });
  });
});

it("numbers of fields that are not theirs are skipped, whatever they hold", () => {
  const batch = Uint8Array.from([...header(), ...field(6, number(5, 1), number(15, 2 ** 40), field(14, text("?")))]);
  expect(decode(protobuf, batch).calls.at(-1)).toEqual(["spanEntered", 1, undefined]);
});
