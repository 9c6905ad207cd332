// One process of an execution whose guest waits in a snapshot: begins it, dies in the middle of its second step, or ends it.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { ROOT_CONTEXT } from "@opentelemetry/api";
import { InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { parseMetadata, parseSpans, printState } from "@spanduct/protocol/json";
import { type ReceiverStats, TracingEventReceiver } from "@spanduct/receiver";
import { traceQuickJSWasi } from "@spanduct/sandbox/quickjs-wasi";
import { QuickJS } from "quickjs-wasi";

/** What the process does: `die` takes the guest through its second step and keeps nothing. */
export type Step = "begin" | "die" | "end";

/** What the process prints. */
export interface Report {
  readonly pid: number;
  /** Milliseconds since the Unix epoch, like all times here. */
  readonly startedAt: number;
  readonly kind: "committed" | "rolled_back" | undefined;
  readonly stats: ReceiverStats;
  readonly firstSequence: number | undefined;
  readonly spans: readonly {
    readonly name: string;
    readonly id: string;
    readonly trace: string;
    readonly parent: string | undefined;
    readonly start: number;
    readonly end: number;
    readonly events: readonly string[];
  }[];
}

const GUEST = `
  const { tracing } = spanduct;
  const approval = new Promise((resolve) => { globalThis.approve = resolve; });
  (async () => {
    const order = tracing.span({ name: "order" }).enter();
    tracing.span({ name: "prepare" }).run({}, () => {});
    console.log("waiting");
    await approval;
    console.log("approved");
    tracing.span({ name: "pay" }).run({}, () => {});
    order.close();
  })();
`;

const startedAt = performance.timeOrigin;
const [step, folder] = process.argv.slice(2) as [Step, string];
const file = (name: string): string => join(folder, name);
const wasm = readFileSync(fileURLToPath(import.meta.resolve("quickjs-wasi/quickjs.wasm")));
const exporter = new InMemorySpanExporter();
const relay = new OpenTelemetryRelay({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });

const isFirst = step === "begin";
const vm = isFirst
  ? await QuickJS.create({ wasm })
  : await QuickJS.restore(QuickJS.deserializeSnapshot(readFileSync(file("vm"))), { wasm });
const guest = traceQuickJSWasi(vm);
const receiver = new TracingEventReceiver(
  isFirst ? {} : parseMetadata(readFileSync(file("metadata"), "utf8")),
  isFirst ? {} : parseSpans(readFileSync(file("spans"), "utf8")),
  [],
  { relay: relay.execution({ seed: isFirst ? 1n : 2n, export: "transactional", parent: ROOT_CONTEXT }) },
);

let kind: Report["kind"];
let firstSequence: number | undefined;
const batch = receiver.batch.bind(receiver);
receiver.batch = (header) => {
  firstSequence ??= header.sequence;
  batch(header);
};

const outcome = guest.run(receiver, () => {
  vm.evalCode(isFirst ? GUEST : "approve()").dispose();
  vm.executePendingJobs();
  if (step !== "die") return;
  vm.evalCode("spanduct.tracing.flush()").dispose();
  report();
  process.kill(process.pid, "SIGKILL");
});
kind = outcome.kind;
if (outcome.kind === "committed") {
  writeFileSync(file("vm"), QuickJS.serializeSnapshot(vm.snapshot()));
  writeFileSync(file("metadata"), printState(receiver.persistMetadata()));
  writeFileSync(file("spans"), printState(outcome.spans));
}
report();

function report(): void {
  const time = ([seconds, nanos]: readonly [number, number]): number => seconds * 1000 + nanos / 1e6;
  const spans = exporter.getFinishedSpans().map((span) => ({
    name: span.name,
    id: span.spanContext().spanId,
    trace: span.spanContext().traceId,
    parent: span.parentSpanContext?.spanId,
    start: time(span.startTime),
    end: time(span.endTime),
    events: span.events.map(({ name }) => name),
  }));
  const { pid } = process;
  const result: Report = { pid, startedAt, kind, stats: receiver.stats, firstSequence, spans };
  writeFileSync(process.stdout.fd, JSON.stringify(result));
}
