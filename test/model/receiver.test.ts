import {
  type BatchHeader,
  type CallSiteData,
  type Codec,
  DEFAULT_LIMITS,
  dispatchEvent,
  type Id,
  ReceiveError,
  type TracedValue,
  TracedValues,
  type TracingEvent,
  type TunnelError,
  type ValueColumns,
} from "@spanduct/protocol";
import { json, parseMetadata, parseSpans, printState } from "@spanduct/protocol/json";
import { msgpack } from "@spanduct/protocol/msgpack";
import { protobuf } from "@spanduct/protocol/protobuf";
import { MetadataArena, TracingEventReceiver } from "@spanduct/receiver";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { callSite, clone, drop, enter, event, exit, followsFrom, newSpan, record, valueMap } from "../support/events.ts";
import { RelayLog, RestoringRelayLog } from "../support/relay-log.ts";
import { replay, type SinkCall, sinkTo } from "../support/sink-calls.ts";
import { Model, ModelProcess, type ModelState, type Refusal } from "./crate.ts";

const PROGRAM = "model";
const NOTHING: ModelState = { metadata: {}, spans: {}, local: [] };

/** What a host does besides handing over events. */
type HostStep =
  | { readonly step: "persist" | "roll back"; readonly memory: "kept" | "lost" | "older"; readonly keepsMetadata: boolean }
  /** Everything but the persisted state is gone. */
  | { readonly step: "new process"; readonly persists: boolean };

type Step = { readonly step: "event"; readonly event: TracingEvent } | HostStep;

const SITES: readonly CallSiteData[] = [
  { kind: "span", name: "work", target: "app", level: "info", fields: ["a", "b"] },
  { kind: "span", name: "work", target: "app", level: "info", fields: ["b", "a", "a"], line: 7 },
  { kind: "event", name: "", target: "__proto__", level: "trace", fields: ["__proto__", "message", "", "a"] },
  { kind: "span", name: "__proto__", target: "constructor", level: "error", module_path: "m", file: "f", fields: [] },
];

// Few of each, so that events meet the same spans and call sites again and again.
const SPANS: readonly Id[] = [0, 1, 2, 2 ** 40, 2n ** 64n - 1n];
const SITE_IDS: readonly Id[] = [1, 2, 2n ** 63n];
const spanId = fc.constantFrom(...SPANS);
const siteId = fc.constantFrom(...SITE_IDS);
const name = fc.constantFrom("a", "b", "message", "__proto__", "constructor", "", "a\0", "undeclared");
const value: fc.Arbitrary<TracedValue> = fc.oneof(
  fc.boolean().map((bool) => ({ bool })),
  fc.integer().map((int) => ({ int })),
  fc.constantFrom<TracedValue>(
    { u_int: 2n ** 128n - 1n },
    { float: -0 },
    { string: "" },
    { object: "🦀" },
    { error: { message: "outer", source: { message: "inner", source: null, type: "T" } } },
  ),
);
const values = fc
  .oneof(
    { weight: 20, arbitrary: fc.array(fc.tuple(name, value), { maxLength: 4 }) },
    { weight: 1, arbitrary: fc.constantFrom(32, 33).map((count) => Array.from({ length: count }, (_, i) => filler(i))) },
  )
  .map(valueMap);
const parent = fc.option(spanId, { nil: undefined });

function filler(position: number): readonly [string, TracedValue] {
  return [`n${position}`, { bool: true }];
}

const tracingEvent: fc.Arbitrary<TracingEvent> = fc.oneof(
  { weight: 2, arbitrary: fc.tuple(siteId, fc.constantFrom(...SITES)).map(([id, data]) => callSite(id, data)) },
  { weight: 4, arbitrary: fc.tuple(spanId, values, parent, siteId).map((args) => newSpan(...args)) },
  { weight: 5, arbitrary: spanId.map(enter) },
  { weight: 3, arbitrary: spanId.map(exit) },
  { weight: 1, arbitrary: spanId.map(clone) },
  { weight: 3, arbitrary: spanId.map(drop) },
  { weight: 3, arbitrary: fc.tuple(spanId, values).map(([id, map]) => record(id, map)) },
  { weight: 1, arbitrary: fc.tuple(spanId, spanId).map(([id, followed]) => followsFrom(id, followed)) },
  { weight: 3, arbitrary: fc.tuple(values, parent, siteId).map((args) => event(...args)) },
);

const hostStep: fc.Arbitrary<HostStep> = fc.oneof(
  fc.record({
    step: fc.constantFrom("persist", "roll back"),
    memory: fc.constantFrom("kept", "lost", "older"),
    keepsMetadata: fc.integer({ min: 0, max: 4 }).map((n) => n > 0),
  }),
  fc.record({ step: fc.constant("new process"), persists: fc.boolean() }),
);

/** Every call site defined, and some spans inside of each other. */
const preparation: fc.Arbitrary<TracingEvent[]> = fc
  .shuffledSubarray([...SPANS])
  .map((inside) => [
    ...SITE_IDS.map((id, position) => callSite(id, SITES[position])),
    ...inside.flatMap((id) => [newSpan(id), enter(id)]),
  ]);

const steps: fc.Arbitrary<Step[]> = fc
  .tuple(
    fc.oneof(preparation, fc.constant([])),
    fc.array(
      fc.oneof(
        { weight: 6, arbitrary: tracingEvent.map((one): Step => ({ step: "event", event: one })) },
        { weight: 1, arbitrary: hostStep },
      ),
      { maxLength: 60, size: "max" },
    ),
  )
  .map(([prepared, random]) => [...prepared.map((one): Step => ({ step: "event", event: one })), ...random]);

/** The receiver under test and the model, with what outlives both. */
class Pair {
  readonly #codec: Codec | undefined;
  readonly #restores: boolean;
  #log: RelayLog;
  #arena = new MetadataArena();
  #process = new ModelProcess();
  #receiver: TracingEventReceiver<number>;
  #model: Model;
  #error: TunnelError | undefined;
  #sequence = 0;
  /** What was persisted last; what the process remembered at earlier times. */
  #state = NOTHING;
  readonly #memories: ModelState["local"][] = [[]];

  /** @param codec events go in as batches of bytes; `undefined`: as objects */
  constructor(codec: Codec | undefined, restores: boolean) {
    this.#codec = codec;
    this.#restores = restores;
    this.#log = this.#newLog();
    this.#arena.acquire(PROGRAM);
    [this.#receiver, this.#model] = this.#open(NOTHING);
    this.#compare();
  }

  run(step: Step): void {
    switch (step.step) {
      case "event":
        this.#event(step.event);
        break;
      case "persist":
        this.#persist();
        this.#reopen(this.#memory(step.memory), step.keepsMetadata);
        break;
      case "roll back":
        this.#rollBack();
        this.#reopen(this.#memory(step.memory), step.keepsMetadata);
        break;
      case "new process":
        if (step.persists) this.#persist();
        this.#arena = new MetadataArena();
        this.#arena.acquire(PROGRAM);
        this.#process = new ModelProcess();
        this.#log = this.#newLog();
        this.#reopen([], true);
    }
    this.#compare();
  }

  end(): void {
    this.#rollBack();
  }

  #event(one: TracingEvent): void {
    const fields = this.#model.fieldsOf(one);
    this.#error = undefined;
    if (this.#codec === undefined) {
      this.#error = this.#receiver.tryReceive(one);
    } else {
      const header: BatchHeader = {
        version: 1,
        clock: "none",
        baseTimeUnixNano: 0n,
        sequence: this.#sequence++,
        droppedEvents: 0,
      };
      this.#model.call(["batch", header]);
      this.#receiver.receiveBatch(this.#encode(this.#codec, header, one, fields));
    }
    const refusal = this.#model.receive(one);
    expect(said(this.#error)).toEqual(refusal);
  }

  #persist(): void {
    const expected = this.#model.persist();
    const metadata = this.#receiver.persistMetadata();
    const { spans, localSpans } = this.#receiver.persist();
    const local = [...localSpans];
    expect({ metadata, spans, local }).toEqual(expected);
    this.#compareLines();
    // Half of the time the state goes through a store that keeps text.
    const isText = this.#memories.length % 2 === 0;
    this.#state = {
      metadata: isText ? parseMetadata(printState(metadata)) : metadata,
      spans: isText ? parseSpans(printState(spans)) : spans,
      local,
    };
    this.#memories.push(local);
  }

  #rollBack(): void {
    this.#model.rollBack();
    this.#receiver[Symbol.dispose]();
    this.#compareLines();
  }

  #memory(which: "kept" | "lost" | "older"): ModelState["local"] {
    if (which === "lost") return [];
    return which === "kept" ? this.#state.local : (this.#memories.at(-2) ?? []);
  }

  #reopen(local: ModelState["local"], keepsMetadata: boolean): void {
    const metadata = keepsMetadata ? this.#state.metadata : {};
    [this.#receiver, this.#model] = this.#open({ ...this.#state, metadata, local });
  }

  #open(state: ModelState): [TracingEventReceiver<number>, Model] {
    // A guest that is rolled back is where it was, and a receiver that is given nothing expects its first batch.
    for (const { sequence } of Object.values(state.spans)) this.#sequence = sequence ?? this.#sequence;
    if (Object.keys({ ...state.metadata, ...state.spans }).length === 0) this.#sequence = 0;
    const receiver = new TracingEventReceiver<number>(state.metadata, state.spans, state.local, {
      relay: this.#log,
      arena: this.#arena,
      program: PROGRAM,
      ...(this.#codec && { codec: this.#codec }),
      onError: (error) => {
        this.#error = error;
      },
    });
    return [receiver, new Model(this.#process, this.#restores, state)];
  }

  #newLog(): RelayLog {
    return this.#restores ? new RestoringRelayLog() : new RelayLog();
  }

  /** As our sender does it: declared values go by their index. */
  #encode(codec: Codec, header: BatchHeader, one: TracingEvent, fields: readonly string[]): Uint8Array {
    const calls: SinkCall[] = [];
    dispatchEvent(
      one,
      sinkTo((call) => calls.push(call)),
      DEFAULT_LIMITS,
    );
    const encoder = codec.createEncoder();
    encoder.batch(header);
    replay(
      calls.map((call) => indexed(call, fields)),
      encoder,
    );
    return encoder.finish();
  }

  #compare(): void {
    this.#compareLines();
    const { events, liveSpans, callSites, refused, lostBatches } = this.#receiver.stats;
    expect({ events, liveSpans, callSites, refused, lostBatches }).toEqual({
      events: this.#model.applied,
      liveSpans: this.#model.liveSpans,
      callSites: this.#model.callSites,
      refused: this.#model.refused,
      lostBatches: 0,
    });
  }

  #compareLines(): void {
    expect(this.#log.take()).toEqual(this.#model.lines.splice(0));
  }
}

function said(error: TunnelError | undefined): Refusal | undefined {
  if (error === undefined) return undefined;
  expect(error).toBeInstanceOf(ReceiveError);
  const { code, id, limit, max, actual } = error as ReceiveError;
  return { code, id, limit, max, actual } as Refusal;
}

function indexed(call: SinkCall, fields: readonly string[]): SinkCall {
  return call.map((arg) => (arg instanceof TracedValues ? withIndices(arg, fields) : arg)) as unknown as SinkCall;
}

function withIndices(values: ValueColumns, fields: readonly string[]): TracedValues {
  const result = new TracedValues();
  result.clear(fields);
  for (let i = 0; i < values.size; i++) {
    const at = fields.indexOf(values.keys[i] as string);
    result.push(at < 0 ? (values.keys[i] as string) : at, values.kinds[i] as never, values.raws[i] as never);
  }
  return result;
}

describe("TracingEventReceiver does what the naive model does, after every step of a random program,", () => {
  it.each([
    ["events as objects", undefined],
    ["events as JSON lines", json],
    ["events as protobuf", protobuf],
    ["events as msgpack", msgpack],
  ])("%s", (_, codec) => {
    fc.assert(
      fc.property(fc.boolean(), steps, (restores, program) => {
        const pair = new Pair(codec, restores);
        for (const step of program) pair.run(step);
        pair.end();
      }),
      { numRuns: 400 },
    );
  });
});
