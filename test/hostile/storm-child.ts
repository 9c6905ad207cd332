/**
 * A host of guests that storm, in a process of its own so that its memory can be measured. Prints, as JSON, how late timers were and by
 * how much the process grew.
 *
 *     node storm-child.ts '[{"storm":"ignores windows","size":16384}]'
 */
import { fileURLToPath } from "node:url";
import { ROOT_CONTEXT } from "@opentelemetry/api";
import { OpenTelemetryRelay, type SpanProcessor } from "@spanduct/opentelemetry";
import { type Relay, TracingEventReceiver } from "@spanduct/receiver";
import { traceProcess } from "@spanduct/sandbox/process";
import { traceWorker } from "@spanduct/sandbox/worker";
import { Pump } from "@spanduct/transport";
import { timerDelay } from "../support/timer-delay.ts";
import type { StormData } from "./storm-guest.ts";

/** What is measured. */
export interface StormReport {
  /** Milliseconds that timers were late: at most, and for the ninety-ninth of a hundred. */
  readonly late: number;
  readonly usuallyLate: number;
  readonly timers: number;
  /** MiB by which the process grew at most. */
  readonly growth: number;
  /** Of each guest: what was applied of what it sent, since all of them do. */
  readonly events: readonly number[];
  readonly batches: readonly number[];
  readonly outcomes: readonly string[];
}

/** At most. */
const START_MS = 10_000;
const STORM_MS = 800;
const GUEST = fileURLToPath(new URL("./storm-guest.ts", import.meta.url));

const guests = JSON.parse(process.argv[2] ?? "[]") as readonly StormData[];
let ended = 0;
const processor: SpanProcessor = {
  onStart: () => undefined,
  onEnd: () => {
    ended++;
  },
  forceFlush: async () => undefined,
  shutdown: async () => undefined,
};
const relay = new OpenTelemetryRelay({ spanProcessors: [processor] });
const pump = new Pump();
const before = process.memoryUsage.rss();
const runs = guests.map((data) => {
  const receiver = new TracingEventReceiver<unknown>({}, {}, [], {
    relay: relay.execution({ parent: ROOT_CONTEXT }) as Relay<unknown>,
  });
  if (data.storm === "fills its pipe") {
    const { child, outcome } = traceProcess(process.execPath, [GUEST, JSON.stringify(data)], receiver, { pump });
    return { receiver, outcome, stop: () => child.kill() };
  }
  const ring = data.storm === "fills its ring" ? { ring: {} } : {};
  const { worker, outcome } = traceWorker(GUEST, receiver, { workerData: data, pump, ...ring });
  return { receiver, outcome, stop: () => worker.terminate() };
});

const delays: number[] = [];
const hasBegun = (): boolean => runs.every(({ receiver }) => receiver.stats.batches > 0);
for (const end = performance.now() + START_MS; performance.now() < end && !hasBegun(); ) delays.push(await timerDelay());
const first = runs.map(({ receiver }) => receiver.stats);
for (const end = performance.now() + STORM_MS; performance.now() < end; ) delays.push(await timerDelay());
for (const { stop } of runs) stop();
let settled = false;
const outcomes = Promise.all(runs.map(({ outcome }) => outcome)).finally(() => {
  settled = true;
});
while (!settled) delays.push(await timerDelay());

delays.sort((a, b) => a - b);
const report: StormReport = {
  late: delays.at(-1) as number,
  usuallyLate: delays[Math.floor(delays.length * 0.99)] as number,
  timers: delays.length,
  growth: Math.round((process.resourceUsage().maxRSS * 1024 - before) / 2 ** 20),
  events: runs.map(({ receiver }, i) => receiver.stats.events - (first[i]?.events ?? 0)),
  batches: runs.map(({ receiver }, i) => receiver.stats.batches - (first[i]?.batches ?? 0)),
  outcomes: (await outcomes).map((outcome) => (outcome.kind === "committed" ? outcome.kind : String(outcome.error))),
};
if (ended === 0) throw new Error("no span came through");
process.stdout.write(JSON.stringify(report));
