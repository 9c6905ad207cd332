import { ROOT_CONTEXT, type TracerProvider } from "@opentelemetry/api";
import { TracerProvider as SdkTracerProvider } from "@opentelemetry/sdk-trace";
import { type AttemptOptions, OpenTelemetryRelay, type SpanProcessor, TracerRelay } from "@spanduct/opentelemetry";
import { type CallSiteData, type Codec, type Limits, TracedValues, ValueKind } from "@spanduct/protocol";
import { json } from "@spanduct/protocol/json";
import { msgpack } from "@spanduct/protocol/msgpack";
import { protobuf } from "@spanduct/protocol/protobuf";
import { MetadataArena, type ReceiverStats, type Relay, TracingEventReceiver } from "@spanduct/receiver";
import { errorChain, type SinkCall } from "../support/sink-calls.ts";
import { inBatches } from "./raw.ts";

/** What a host did for a hostile guest. */
export interface Done {
  readonly stats: ReceiverStats;
  /** Spans that went to the span processors. */
  readonly ended: number;
}

/** Something that a guest does to make its host take memory. */
export interface Scenario {
  readonly name: string;
  /** What the host may keep in the end, in MiB of live objects. */
  readonly maxKept: number;
  /** What the receiver says of it in the end, beyond that it applied what there was room for. */
  readonly leaves: Partial<ReceiverStats>;
  /** @param atEnd called when all has come, and nothing is let go of yet */
  run(atEnd: () => void): Done;
}

const MILLION = 1_000_000;
const SITE: CallSiteData = { kind: "span", name: "work", target: "guest", level: "info", fields: ["a", "b", "c", "d"] };
const EVENT: CallSiteData = { ...SITE, kind: "event", name: "said" };

/** A host whose span processor keeps nothing. */
class Host {
  ended = 0;
  readonly processor: SpanProcessor = {
    onStart: () => undefined,
    onEnd: () => {
      this.ended++;
    },
    forceFlush: async () => undefined,
    shutdown: async () => undefined,
  };

  own(options: AttemptOptions = {}): Relay<unknown> {
    const relay = new OpenTelemetryRelay({ spanProcessors: [this.processor], ...options });
    return relay.execution({ parent: ROOT_CONTEXT }) as Relay<unknown>;
  }

  tracer(options: AttemptOptions = {}): Relay<unknown> {
    const tracerProvider = new SdkTracerProvider({ spanProcessors: [this.processor as never] }) as unknown as TracerProvider;
    return new TracerRelay({ tracerProvider, ...options }).execution({ parent: ROOT_CONTEXT }) as Relay<unknown>;
  }
}

interface Setup {
  readonly relay?: (host: Host) => Relay<unknown>;
  readonly codec?: Codec;
  readonly limits?: Partial<Limits>;
  /** Events of one batch. */
  readonly size?: number;
}

/** A receiver is given all of it, then rolled back. */
function feed(
  calls: () => Iterable<SinkCall>,
  { relay = (host) => host.own(), codec = protobuf, limits = {}, size = 5000 }: Setup = {},
): Scenario["run"] {
  return (atEnd) => {
    const host = new Host();
    const receiver = new TracingEventReceiver<unknown>({}, {}, [], { relay: relay(host), codec, limits });
    for (const batch of inBatches(codec, calls(), size)) receiver.receiveBatch(batch);
    const { stats } = receiver;
    atEnd();
    receiver[Symbol.dispose]();
    return { stats, ended: host.ended };
  };
}

function values(...entries: (readonly [key: number | string, kind: ValueKind, raw: never])[]): TracedValues {
  const list = new TracedValues();
  for (const entry of entries) list.push(...entry);
  return list;
}

function string(key: number | string, value: string): readonly [number | string, ValueKind, never] {
  return [key, ValueKind.string, value as never];
}

const NONE = values();
const sites: readonly SinkCall[] = [
  ["newCallSite", 1, SITE, undefined],
  ["newCallSite", 2, EVENT, undefined],
];
const open = (id: number, more: TracedValues = NONE, parent?: number): SinkCall => ["newSpan", id, parent, 1, more, undefined];
const close = (id: number): SinkCall => ["spanDropped", id, undefined];

function* counted(times: number, make: (i: number) => readonly SinkCall[]): Generator<SinkCall> {
  yield* sites;
  for (let i = 0; i < times; i++) yield* make(i);
}

const openOnly = (): Iterable<SinkCall> => counted(300_000, (i) => [open(i)]);
const chained = (times: number) => (): Iterable<SinkCall> =>
  counted(times, (i) => [open(i + 1, NONE, i === 0 ? undefined : i), ...(i === 0 ? [] : [close(i)])]);
const eventful = (spans: number, events: number) => (): Iterable<SinkCall> =>
  counted(spans, (i) => [
    open(i),
    ...Array.from(
      { length: events },
      (_, k): SinkCall => ["newEvent", 2, i, values(string(0, `${i} ${k}`.padEnd(100))), undefined],
    ),
  ]);
const workDone = (): Iterable<SinkCall> =>
  counted(100_000, (i) => [open(i, values(string(0, `${i}`.padEnd(1000)))), ["newEvent", 2, i, NONE, undefined], close(i)]);

export const SCENARIOS: readonly Scenario[] = [
  {
    name: "a million call sites",
    maxKept: 12,
    leaves: { callSites: 4096, events: 4096 },
    run: feed(() => counted(MILLION, (i) => [["newCallSite", i + 3, { ...SITE, name: `site ${i}` }, undefined]])),
  },
  {
    name: "a million definitions of one call site",
    maxKept: 12,
    leaves: { callSites: 3, events: 4096 },
    run: feed(() => counted(MILLION, (i) => [["newCallSite", 3, { ...SITE, name: `site ${i}` }, undefined]])),
  },
  {
    name: "call sites with as many and as long names as there may be",
    maxKept: 60,
    leaves: { liveSpans: 49 },
    run: feed(
      () =>
        counted(500, (i) => {
          const fields = Array.from({ length: 256 }, (_, k) => `${i} ${k}`.padEnd(200));
          return [
            ["newCallSite", i + 3, { ...SITE, fields }, undefined],
            ["newSpan", i, undefined, i + 3, NONE, undefined],
          ];
        }),
      { size: 20 },
    ),
  },
  {
    name: "a million spans that never close",
    maxKept: 160,
    leaves: { liveSpans: 100_000, refused: { limit_exceeded: 900_000 } },
    run: feed(() => counted(MILLION, (i) => [open(i, values(string(0, `value ${i}`)))])),
  },
  {
    name: "spans that never close, by way of a tracer",
    maxKept: 250,
    leaves: { liveSpans: 100_000, refused: { limit_exceeded: 200_000 } },
    run: feed(openOnly, { relay: (host) => host.tracer() }),
  },
  {
    name: "open spans with values as long as they may be",
    maxKept: 80,
    leaves: { liveSpans: 1118, refused: { limit_exceeded: 18_882 } },
    run: feed(() => counted(20_000, (i) => [open(i, values(string(0, `${i}`.padEnd(30_000))))]), { size: 50 }),
  },
  {
    name: "values of one span that grow for ever",
    maxKept: 16,
    leaves: { liveSpans: 1, lostBatches: 0 },
    run: feed(
      () =>
        counted(20_000, (i) => [
          ...(i === 0 ? [open(1)] : []),
          ["valuesRecorded", 1, values(string(`name ${i}`, `${i}`), string("a", "x".repeat(i % 60_000))), undefined],
        ]),
      { size: 60 },
    ),
  },
  {
    name: "error chains ten thousand deep",
    maxKept: 16,
    leaves: { refused: {}, events: 602 },
    run: feed(
      () => {
        const error = values(["a", ValueKind.error, errorChain(10_000) as never]);
        return counted(300, (i) => [open(i, error), ["newEvent", 2, i, error, undefined]]);
      },
      { size: 20 },
    ),
  },
  {
    name: "a million events of one span",
    maxKept: 8,
    leaves: { events: 100_003, refused: { limit_exceeded: 900_000 } },
    run: feed(() =>
      counted(MILLION, (i) => [
        ...(i === 0 ? [open(1)] : []),
        ["newEvent", 2, 1, values(string(0, `event ${i} of a few words`)), undefined],
      ]),
    ),
  },
  {
    name: "many events of many open spans",
    maxKept: 90,
    leaves: { refused: {}, events: 1_210_002 },
    run: feed(eventful(10_000, 120)),
  },
  {
    name: "many events of many open spans, by way of a tracer",
    maxKept: 120,
    leaves: { events: 420_002 },
    run: feed(eventful(20_000, 20), { relay: (host) => host.tracer() }),
  },
  {
    name: "many links of many open spans",
    maxKept: 90,
    leaves: { refused: {}, events: 2_020_002 },
    run: feed(() =>
      counted(20_000, (i) => [
        open(i),
        ...Array.from({ length: 100 }, (): SinkCall => ["followsFrom", i, Math.max(i - 1, 0), undefined]),
      ]),
    ),
  },
  {
    name: "a million spans, each opened in the one before, which closes then",
    maxKept: 8,
    leaves: { refused: {}, liveSpans: 1 },
    run: feed(chained(MILLION)),
  },
  {
    name: "spans opened in the one before, which closes then, by way of a tracer",
    maxKept: 8,
    leaves: { refused: {}, liveSpans: 1 },
    run: feed(chained(300_000), { relay: (host) => host.tracer() }),
  },
  {
    name: "an attempt that is held, with all that fits into it and more",
    maxKept: 120,
    leaves: { liveSpans: 0, events: 300_002 },
    run: feed(workDone, { relay: (host) => host.own({ export: "transactional" }), size: 500 }),
  },
  {
    name: "an attempt that is held, by way of a tracer",
    maxKept: 150,
    leaves: { liveSpans: 0, events: 300_002 },
    run: feed(workDone, { relay: (host) => host.tracer({ export: "transactional" }), size: 500 }),
  },
  ...[protobuf, msgpack, json].map(
    (codec): Scenario => ({
      name: `records with a hundred thousand values as ${codec.name}`,
      // The guest's own buffers are in this process, too.
      maxKept: 24,
      leaves: { refused: { limit_exceeded: 3 } },
      run: feed(
        () => {
          const many = new TracedValues();
          for (let i = 0; i < 100_000; i++) many.push(codec === json ? `${i}` : i, ValueKind.bool, true);
          return counted(3, () => [["newEvent", 2, undefined, many, undefined]]);
        },
        { codec, size: 1 },
      ),
    }),
  ),
  {
    name: "a million names that no call site declares",
    maxKept: 8,
    leaves: { refused: {}, events: 1_000_002 },
    run: feed(() => counted(MILLION, (i) => [["newEvent", 2, undefined, values(string(`name ${i}`, "x")), undefined]])),
  },
  {
    name: "a batch is lost with every one that comes, and many roots are open",
    maxKept: 120,
    leaves: { refused: {}, liveSpans: 50_000 },
    run(atEnd) {
      const host = new Host();
      const receiver = new TracingEventReceiver<unknown>({}, {}, [], { relay: host.own() });
      for (const batch of inBatches(
        protobuf,
        counted(50_000, (i) => [open(i)]),
        5000,
      ))
        receiver.receiveBatch(batch);
      for (let i = 0; i < 100_000; i++) {
        for (const batch of inBatches(protobuf, [["spanEntered", i % 50_000, undefined]], 1, 20 + 2 * i))
          receiver.receiveBatch(batch);
      }
      const { stats } = receiver;
      atEnd();
      receiver[Symbol.dispose]();
      return { stats, ended: host.ended };
    },
  },
  {
    name: "ten thousand executions after one another, each with call sites of its own in one arena",
    maxKept: 8,
    leaves: { callSites: 20 },
    run(atEnd) {
      const host = new Host();
      const relay = new OpenTelemetryRelay({ spanProcessors: [host.processor] });
      const arena = new MetadataArena();
      let stats: ReceiverStats | undefined;
      for (let i = 0; i < 10_000; i++) {
        const receiver = new TracingEventReceiver<unknown>({}, {}, [], { relay: relay.execution() as Relay<unknown>, arena });
        const calls = Array.from({ length: 20 }, (_, k): SinkCall[] => [
          ["newCallSite", k, { ...SITE, name: `site ${i} ${k}`, target: `target ${i}` }, undefined],
          ["newSpan", k, undefined, k, NONE, undefined],
        ]).flat();
        for (const batch of inBatches(protobuf, calls, 100)) receiver.receiveBatch(batch);
        stats = receiver.stats;
        receiver[Symbol.dispose]();
      }
      atEnd();
      const { callSites, programs } = arena.stats;
      if (callSites + programs > 0) throw new Error("the arena keeps call sites of programs that are gone");
      return { stats: stats as ReceiverStats, ended: host.ended };
    },
  },
];
