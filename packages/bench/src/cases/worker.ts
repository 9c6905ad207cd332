import { Worker } from "node:worker_threads";
import { ROOT_CONTEXT, trace } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { TracingEventReceiver } from "@spanduct/receiver";
import { traceWorker } from "@spanduct/sandbox/worker";
import { HOST_SPAN } from "../corpus.ts";
import { summary } from "../measure.ts";
import { Collector, RESOURCE } from "../peer.ts";
import type { Result } from "../result.ts";

/** Spans of one round. */
const SPANS = 20_000;
const ROUNDS = 9;
const WARM_UP_ROUNDS = 2;
const UNDER_HOST = trace.setSpanContext(ROOT_CONTEXT, HOST_SPAN);

/** Nanoseconds per span. */
interface Round {
  /** Until the host has every span. */
  readonly total: number;
  /** How long the guest was busy. */
  readonly busy: number;
}

/** A worker that makes spans when it is told to. */
interface Guest {
  round(): Promise<Round>;
  end(): Promise<unknown>;
}

const url = (name: string): URL => new URL(`../workers/${name}.ts`, import.meta.url);

/** Resolves when the host has `SPANS` spans and the guest has answered. */
function round(worker: Worker, arrived: () => number): Promise<Round> {
  return new Promise((resolve) => {
    const before = arrived();
    const begin = performance.now();
    let busy: number | undefined;
    const check = (): void => {
      if (busy === undefined || arrived() - before < SPANS) return void (busy !== undefined && setImmediate(check));
      worker.off("message", onMessage);
      resolve({ total: ((performance.now() - begin) * 1e6) / SPANS, busy: (busy * 1e6) / SPANS });
    };
    const onMessage = (message: { readonly busy?: number }): void => {
      if (message.busy === undefined) return;
      busy = message.busy;
      check();
    };
    worker.on("message", onMessage);
    worker.postMessage(SPANS);
  });
}

/** Through the tunnel, into spans that reach a span processor. */
function ours(): Guest {
  const collector = new Collector();
  const relay = new OpenTelemetryRelay({ spanProcessors: [collector], resource: RESOURCE });
  const receiver = new TracingEventReceiver({}, {}, [], { relay: relay.execution({ parent: UNDER_HOST }) });
  const { worker, outcome } = traceWorker(url("ours"), receiver);
  let arrived = 0;
  return {
    round: () =>
      round(worker, () => {
        arrived += collector.take().length;
        return arrived;
      }),
    async end() {
      await worker.terminate();
      await outcome;
      if (receiver.stats.lostBatches + receiver.stats.droppedEvents > 0) throw new Error(JSON.stringify(receiver.stats));
    },
  };
}

/** Objects that are only counted: making spans of them would come on top. */
function posted(name: string, isLast: (message: { readonly type?: string; readonly span?: object }) => boolean): Guest {
  const worker = new Worker(url(name));
  const spans: (ReadableSpan | object)[] = [];
  let arrived = 0;
  worker.on("message", (message: { readonly type?: string; readonly span?: object }) => {
    if (!isLast(message)) return;
    arrived++;
    spans[arrived % SPANS] = message;
  });
  return { round: () => round(worker, () => arrived), end: () => worker.terminate() };
}

/** Through a real worker, end to end. */
export async function worker(): Promise<Result[]> {
  const guests = [ours(), posted("records", ({ type }) => type === "end"), posted("finished", ({ span }) => span !== undefined)];
  const rounds: Round[][] = [];
  for (let i = 0; i < ROUNDS + WARM_UP_ROUNDS; i++) {
    const measured: Round[] = [];
    for (const guest of guests) measured.push(await guest.round());
    if (i >= WARM_UP_ROUNDS) rounds.push(measured);
  }
  await Promise.all(guests.map((guest) => guest.end()));

  const result = (what: string, of: keyof Round, peer: number, peerName: string, target: number): Result => {
    const pairs = rounds.map((measured) => [(measured[0] as Round)[of], (measured[peer] as Round)[of]] as const);
    return { name: `worker, ${what} | ${peerName}`, unit: "ns/span", ...summary(pairs), target };
  };
  const records = "postMessage of each record, only counted";
  const finished = "SDK in the worker, postMessage of each finished span, only counted";
  return [
    result("end to end, into OpenTelemetry spans", "total", 1, records, 1 / 5),
    result("how long the guest is busy", "busy", 1, records, 1 / 5),
    result("end to end, into OpenTelemetry spans", "total", 2, finished, 1 / 3),
    result("how long the guest is busy", "busy", 2, finished, 1 / 3),
  ];
}
