/**
 * Reads the harness protocol (test/vectors/README.md) on standard input, through the real receiver, and prints what it hands to
 * its relay, one JSON object a line.
 *
 *     pnpm --silent conformance [--codec json|protobuf|msgpack] < input
 *
 * With `--codec` each event first makes a round trip through that codec, and comes to the receiver as a batch of its own.
 */
import { parseArgs } from "node:util";
import {
  type Codec,
  DEFAULT_LIMITS,
  type EventSink,
  type PersistedMetadata,
  type PersistedSpan,
  type PersistedSpans,
  ReceiveError,
  type TracingEvent,
  type TunnelError,
} from "@spanduct/protocol";
import { decodeEvent, JsonEncoder, json, parseEvent, parseMetadata, parseSpans, printState } from "@spanduct/protocol/json";
import { msgpack } from "@spanduct/protocol/msgpack";
import { protobuf } from "@spanduct/protocol/protobuf";
import { type LocalSpans, MetadataArena, TracingEventReceiver } from "@spanduct/receiver";
import { readLines } from "./lines.ts";
import { members } from "./members.ts";
import { RecordingRelay } from "./recording-relay.ts";

/** What `--codec` takes. */
export const CODECS: readonly Codec[] = [json, protobuf, msgpack];

/** What the receivers of one run have in common. */
const PROGRAM = "conformance";

type Control = ReadonlyMap<string, string>;

/** One run of the protocol. Its arena and its numbers are its own, as those of a process are. */
export class Harness {
  readonly #write: (line: string) => void;
  readonly #codec: Codec | undefined;
  readonly #arena = new MetadataArena();
  readonly #relay = new RecordingRelay((call) => this.#print(call));
  #receiver: TracingEventReceiver<number> | undefined;
  #sequence = 0;
  readonly #errors: TunnelError[] = [];

  // What was persisted last, as text.
  #metadata = "{}";
  #spans = "{}";
  #localSpans: LocalSpans<number> = new Map();

  #line = 0;
  #during = "event";

  /**
   * @param write takes one line of output, without line feed
   * @param codec for a round trip of each event; none: events go in as the lines they are
   */
  constructor(write: (line: string) => void, codec?: Codec) {
    this.#write = write;
    this.#codec = codec;
    this.#arena.acquire(PROGRAM);
    this.#open({}, {}, new Map());
  }

  /** Take one line of input. */
  run(line: Uint8Array): void {
    this.#line++;
    if (isBlank(line)) return;
    const control = members(line);
    const name = control?.get("$control");
    if (control === undefined || name === undefined) {
      this.#during = "event";
      return this.#event(line);
    }
    switch (JSON.parse(name)) {
      case "new":
        this.#during = "new";
        this.#drop();
        this.#open({}, {}, new Map());
        return this.#print('"new":true');
      case "drop":
        this.#during = "drop";
        return this.#drop() ? this.#print('"dropped":true') : this.#noReceiver();
      case "persist":
        this.#during = "persist";
        return this.#persist();
      case "persist_metadata":
        this.#during = "control";
        if (this.#receiver === undefined) return this.#noReceiver();
        return this.#print(`"persisted_metadata":${printState(this.#receiver.persistMetadata())}`);
      case "reset_local":
        this.#during = "control";
        this.#localSpans = new Map();
        return this.#print('"reset_local":true');
      case "restore":
        this.#during = "restore";
        return this.#restore(control);
      case "batch": {
        this.#during = "control";
        if (this.#receiver === undefined) return this.#noReceiver();
        const batch = Buffer.from(JSON.parse(control.get("hex") ?? '""'), "hex");
        return this.#print(`"batch":${this.#receive(this.#receiver, batch)}`);
      }
      case "roundtrip":
        this.#during = "control";
        return this.#roundtrip(Buffer.from(control.get("event") ?? "null"));
      default:
        this.#during = "control";
        this.#print('"error":"parse","message":"unknown control"');
    }
  }

  /** The input has ended. */
  end(): void {
    this.#line++;
    this.#during = "eof";
    this.#drop();
  }

  #open(metadata: PersistedMetadata, spans: PersistedSpans, localSpans: LocalSpans<number>): void {
    this.#sequence = 0;
    this.#receiver = new TracingEventReceiver(metadata, spans, localSpans, {
      relay: this.#relay,
      arena: this.#arena,
      program: PROGRAM,
      codec: this.#codec ?? json,
      onError: (error) => {
        this.#errors.push(error);
      },
    });
  }

  #event(line: Uint8Array): void {
    let event: TracingEvent;
    try {
      event = parseEvent(line);
    } catch (error) {
      return this.#parseError(error);
    }
    const receiver = this.#receiver;
    if (receiver === undefined) return this.#noReceiver();
    this.#receive(receiver, this.#codec === undefined ? line : encode(this.#codec, line, event, this.#sequence++));
  }

  /** @returns the control word */
  #receive(receiver: TracingEventReceiver, batch: Uint8Array): number {
    const word = receiver.receiveBatch(batch);
    for (const error of this.#errors.splice(0)) this.#print(errorMembers(error));
    return word;
  }

  #drop(): boolean {
    const receiver = this.#receiver;
    this.#receiver = undefined;
    receiver?.[Symbol.dispose]();
    return receiver !== undefined;
  }

  #persist(): void {
    const receiver = this.#receiver;
    if (receiver === undefined) return this.#noReceiver();
    this.#receiver = undefined;
    this.#metadata = printState(receiver.persistMetadata());
    const { spans, localSpans } = receiver.persist();
    this.#spans = printState(spans);
    this.#localSpans = localSpans;
    const local = [...localSpans].sort(([a], [b]) => (a < b ? -1 : 1)).map(([id, span]) => `"${id}":${span}`);
    this.#print(`"persisted":{"metadata":${this.#metadata},"spans":${printState(asInCrate(spans))},"local":{${local.join()}}}`);
  }

  #restore(control: Control): void {
    let metadata: PersistedMetadata;
    let spans: PersistedSpans;
    try {
      metadata = parseMetadata(control.get("metadata") ?? this.#metadata);
      spans = parseSpans(control.get("spans") ?? this.#spans);
    } catch (error) {
      return this.#parseError(error);
    }
    this.#metadata = printState(metadata);
    this.#spans = printState(spans);
    this.#drop();
    this.#open(metadata, spans, this.#localSpans);
    this.#localSpans = new Map();
    this.#print('"restored":true');
  }

  #roundtrip(text: Uint8Array): void {
    const printer = new JsonEncoder();
    try {
      const event = parseEvent(text);
      if (this.#codec === undefined) decodeEvent(text, printer, DEFAULT_LIMITS);
      else decode(this.#codec, encode(this.#codec, text, event, 0), printer);
    } catch (error) {
      return this.#parseError(error);
    }
    // With a codec there is a header line first.
    const lines = Buffer.from(printer.finish()).toString().trimEnd().split("\n");
    this.#print(`"event":${lines.at(-1)}`);
  }

  #parseError(error: unknown): void {
    this.#print(`"error":"parse","message":${JSON.stringify((error as Error).message)}`);
  }

  #noReceiver(): void {
    this.#print('"error":"no_receiver"');
  }

  /** @param rest the members of the line's object behind `in` and `during` */
  #print(rest: string): void {
    this.#write(`{"in":${this.#line},"during":"${this.#during}",${rest}}`);
  }
}

/** The event as a batch of its own. Its time becomes the base, so that it is never too far from it. */
function encode(codec: Codec, line: Uint8Array, event: TracingEvent, sequence: number): Uint8Array {
  const encoder = codec.createEncoder();
  const time = Object.values(event)[0]?.time_unix_nano;
  encoder.batch({
    version: 1,
    clock: time === undefined ? "none" : "wall",
    baseTimeUnixNano: BigInt(time ?? 0),
    sequence,
    droppedEvents: 0,
  });
  decodeEvent(line, encoder, DEFAULT_LIMITS);
  return encoder.finish();
}

/** @throws DecodeError */
function decode(codec: Codec, bytes: Uint8Array, sink: EventSink): void {
  codec.createDecoder(DEFAULT_LIMITS).decode(bytes, sink, (error) => {
    throw error;
  });
}

/** What the crate persists of a span; ours says more. */
function asInCrate(spans: PersistedSpans): PersistedSpans {
  return Object.fromEntries(
    Object.entries(spans).map(
      ([id, { entered: _e, sequence: _s, dropped_events: _d, relay: _r, ...span }]): [string, PersistedSpan] => [id, span],
    ),
  );
}

function errorMembers(error: TunnelError): string {
  if (!(error instanceof ReceiveError)) return `"error":"parse","message":${JSON.stringify(error.message)}`;
  const { code, id, max, actual, reason } = error;
  const numbers = Object.entries({ id, max, actual }).filter(([, value]) => value !== undefined);
  return [
    `"error":"${code}"`,
    ...numbers.map(([name, value]) => `"${name}":${value}`),
    `"message":${JSON.stringify(reason)}`,
  ].join();
}

function isBlank(line: Uint8Array): boolean {
  return line.every((byte) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d));
}

if (import.meta.main) {
  const { codec: name } = parseArgs({ options: { codec: { type: "string" } } }).values;
  const codec = CODECS.find((known) => known.name === name);
  if (name !== undefined && codec === undefined) {
    process.stderr.write(`unknown codec ${name}; known are ${CODECS.map((known) => known.name).join(", ")}\n`);
    process.exit(2);
  }
  const harness = new Harness((line) => process.stdout.write(`${line}\n`), codec);
  for await (const line of readLines(process.stdin)) harness.run(line);
  harness.end();
}
