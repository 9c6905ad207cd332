import { Worker } from "node:worker_threads";
import { ROOT_CONTEXT, trace } from "@opentelemetry/api";
import type { SpanProcessor } from "@opentelemetry/sdk-trace";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { TracingEventReceiver } from "@spanduct/receiver";
import { traceWorker } from "@spanduct/sandbox/worker";
import { HOST_SPAN } from "../corpus.ts";
import { inTurn, summary } from "../measure.ts";
import { RESOURCE } from "../peer.ts";
import type { Result } from "../result.ts";

/** Spans of one burst: what a guest makes when it is told to. */
const SPANS = 20_000;
const ROUNDS = 21;
/** Compilers of the engine take the cores from guest and host in the first ones. */
const WARM_UP_ROUNDS = 6;
/**
 * A round has as many bursts as begin in this time, so that each guest is measured for about as long. Guest and host often wake up
 * on one core, and stay there for longer than a burst may take.
 */
const ROUND_MS = 100;
/** Spans that a host lets go of together, like the SDK's batch processor. */
const KEPT = 512;
const UNDER_HOST = trace.setSpanContext(ROOT_CONTEXT, HOST_SPAN);

/** Nanoseconds per span, mean of its bursts. */
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

/** What a host has got. */
class Arrived {
  spans = 0;
  #kept: object[] = [];

  add(span: object): void {
    this.spans++;
    this.#kept.push(span);
    if (this.#kept.length === KEPT) this.#kept = [];
  }
}

/** Resolves when the host has `SPANS` more spans and the guest has answered. */
function burst(worker: Worker, arrived: Arrived): Promise<Round> {
  return new Promise((resolve) => {
    const all = arrived.spans + SPANS;
    const begin = performance.now();
    let busy: number | undefined;
    const check = (): void => {
      if (busy === undefined || arrived.spans < all) return void (busy !== undefined && setImmediate(check));
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

async function round(worker: Worker, arrived: Arrived): Promise<Round> {
  const end = performance.now() + ROUND_MS;
  let [total, busy, bursts] = [0, 0, 0];
  do {
    const measured = await burst(worker, arrived);
    total += measured.total;
    busy += measured.busy;
    bursts++;
  } while (performance.now() < end);
  return { total: total / bursts, busy: busy / bursts };
}

/** Through the tunnel, into spans that reach a span processor. */
function ours(): Guest {
  const arrived = new Arrived();
  const processor: SpanProcessor = {
    onStart() {},
    onEnd: (span) => arrived.add(span),
    async forceFlush() {},
    async shutdown() {},
  };
  const relay = new OpenTelemetryRelay({ spanProcessors: [processor], resource: RESOURCE });
  const receiver = new TracingEventReceiver({}, {}, [], { relay: relay.execution({ parent: UNDER_HOST }) });
  const { worker, outcome } = traceWorker(url("ours"), receiver);
  return {
    round: () => round(worker, arrived),
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
  const arrived = new Arrived();
  worker.on("message", (message: { readonly type?: string; readonly span?: object }) => {
    if (isLast(message)) arrived.add(message);
  });
  return { round: () => round(worker, arrived), end: () => worker.terminate() };
}

/** Through a real worker, end to end. */
export async function worker(): Promise<Result[]> {
  const guests = [ours(), posted("records", ({ type }) => type === "end"), posted("finished", ({ span }) => span !== undefined)];
  const contenders = guests.map((guest) => () => guest.round());
  const rounds = await inTurn(ROUNDS, WARM_UP_ROUNDS, contenders);
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
