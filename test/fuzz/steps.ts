import { type BatchHeader, type Codec, DEFAULT_LIMITS, type Limits } from "@spanduct/protocol";
import { json } from "@spanduct/protocol/json";
import { msgpack } from "@spanduct/protocol/msgpack";
import { protobuf } from "@spanduct/protocol/protobuf";
import { replay, type SinkCall } from "../support/sink-calls.ts";
import { mutateBytes, mutateCalls } from "./mutations.ts";
import type { Random } from "./random.ts";

/** The wire forms by name. */
export const CODECS: { readonly [name: string]: Codec } = { json, protobuf, msgpack };
const CODEC_NAMES = Object.keys(CODECS);

/** What happens to a receiver. */
export type Step =
  /** Counts where it comes first. */
  | { readonly step: "setup"; readonly codec: string; readonly limits: Partial<Limits>; readonly restores: boolean }
  /** Events of a guest, in batches; `alone`: a batch for each. */
  | { readonly step: "calls"; readonly calls: readonly SinkCall[]; readonly alone: boolean }
  | { readonly step: "bytes"; readonly bytes: Uint8Array }
  | HostStep;

/** What a host does besides handing over batches. */
export type HostStep =
  | { readonly step: "persist" | "roll back"; readonly memory: "kept" | "lost" | "older"; readonly keepsMetadata: boolean }
  /** Everything but the persisted state is gone. */
  | { readonly step: "new process"; readonly persists: boolean };

export type Setup = Extract<Step, { readonly step: "setup" }>;

const DEFAULT_SETUP: Setup = { step: "setup", codec: "protobuf", limits: {}, restores: true };

/** The set-up among the steps, or the usual one. */
export function setupOf(steps: readonly Step[]): { readonly codec: Codec; readonly limits: Limits; readonly restores: boolean } {
  const { codec, limits, restores } = steps.find((one) => one.step === "setup") ?? DEFAULT_SETUP;
  return { codec: CODECS[codec] as Codec, limits: { ...DEFAULT_LIMITS, ...limits }, restores };
}

/** Steps of a hostile guest and its host. */
export function makeSteps(random: Random, streams: readonly (readonly SinkCall[])[]): Step[] {
  const codec = random.pick(CODEC_NAMES);
  const steps: Step[] = [{ step: "setup", codec, limits: anyLimits(random), restores: random.oneIn(2) }];
  let rest = mutateCalls(random, random.pick(streams), streams);
  if (random.oneIn(3)) rest.push(...mutateCalls(random, random.pick(streams), streams));
  // Bytes are damaged in a third of the cases, so that in the others long stories can be told.
  const damages = random.oneIn(3);
  /** What was sent since the last commit. */
  let attempt: Step[] = [];
  while (rest.length > 0) {
    const calls = rest.slice(0, random.pick([1, 4, 20, 80]));
    rest = rest.slice(calls.length);
    if (damages && random.oneIn(2)) {
      for (const batch of encodeBatches(CODECS[codec] as Codec, calls)) {
        attempt.push({ step: "bytes", bytes: mutateBytes(random, codec, batch, [batch]) });
      }
    } else {
      attempt.push({ step: "calls", calls, alone: random.oneIn(3) });
    }
    if (!random.oneIn(6)) continue;
    const host = hostStep(random);
    steps.push(...attempt, host);
    // What was rolled back is often tried again.
    const commits = host.step === "persist" || (host.step === "new process" && host.persists);
    attempt = commits || random.oneIn(2) ? [] : attempt;
  }
  return [...steps, ...attempt];
}

function hostStep(random: Random): HostStep {
  if (random.oneIn(4)) return { step: "new process", persists: random.oneIn(2) };
  return {
    step: random.pick(["persist", "roll back"]),
    memory: random.pick(["kept", "kept", "lost", "older"]),
    keepsMetadata: !random.oneIn(5),
  };
}

/** Such that streams of a few dozen events come to them. */
export function anyLimits(random: Random): Partial<Limits> {
  if (random.oneIn(4)) return {};
  const choices: { readonly [limit in keyof Limits]?: readonly number[] } = {
    maxBatchBytes: [200, 2000],
    maxItemsPerBatch: [0, 1, 5, 20],
    maxExecutionBytes: [1000, 5000],
    maxStringBytes: [20, 64, 200],
    maxValuesPerRecord: [1, 3],
    maxSpanValueBytes: [random.between(20, 80), random.between(80, 500)],
    maxLiveValueBytes: [random.between(50, 400), 2000],
    maxValuesPerSpan: [2, 4],
    maxFieldsPerCallSite: [1, 4, 32],
    maxCallSites: [1, 2, 4],
    maxLiveSpans: [1, 2, 5],
    maxLinksPerSpan: [0, 1, 3],
    maxEventsPerSpan: [0, 1, 3],
    maxErrorDepth: [1, 2, 3],
  };
  const limits: { [limit: string]: number } = {};
  for (const [limit, values] of Object.entries(choices)) if (random.oneIn(4)) limits[limit] = random.pick(values);
  return limits;
}

const HEADER: BatchHeader = { version: 1, clock: "none", baseTimeUnixNano: 0n, sequence: 0, droppedEvents: 0 };

/** The calls as batches: one begins with every header among them, and with `header` where the first has none. */
export function encodeBatches(codec: Codec, calls: readonly SinkCall[], header: BatchHeader = HEADER): Uint8Array[] {
  const encoder = codec.createEncoder();
  const batches: Uint8Array[] = [];
  let begun = false;
  for (const call of calls) {
    if (begun && call[0] === "batch") batches.push(encoder.finish().slice());
    if (!begun && call[0] !== "batch") encoder.batch(header);
    begun = true;
    replay([call], encoder);
  }
  if (begun) batches.push(encoder.finish().slice());
  return batches;
}
