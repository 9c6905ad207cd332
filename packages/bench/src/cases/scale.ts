import { ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { MetadataArena, TracingEventReceiver } from "@spanduct/receiver";
import { batches, performanceClock, TracingEventSender } from "@spanduct/sender";
import { HOST_SPAN, three } from "../corpus.ts";
import { summary } from "../measure.ts";
import { Collector, RESOURCE } from "../peer.ts";
import { alone, type Result } from "../result.ts";

const UNDER_HOST = trace.setSpanContext(ROOT_CONTEXT, HOST_SPAN);
const ROUNDS = 7;

declare const gc: (() => void) | undefined;

/** What one guest sends, in `count` batches of `spans` spans. */
function recorded(count: number, spans: number): Uint8Array[] {
  const sent: Uint8Array[] = [];
  const sender = new TracingEventSender(
    batches((batch) => void sent.push(batch.slice())),
    { clock: performanceClock(performance) },
  );
  const unit = three(spans).tunnel(sender);
  for (let i = 0; i < count; i++) {
    unit();
    sender.flush();
  }
  return sent;
}

/** Ten thousand executions at once of one program, their batches interleaved; and one execution with as many events. */
export function executions(): Result[] {
  const EXECUTIONS = 10_000;
  const BATCHES = 3;
  const SPANS = 10;
  const sent = recorded(BATCHES, SPANS);
  const collector = new Collector();
  const relay = new OpenTelemetryRelay({ spanProcessors: [collector], resource: RESOURCE });

  // One for the whole process, as hosts have it.
  const arena = new MetadataArena();

  const run = (concurrent: number): { nanoseconds: number; callSites: number } => {
    const receivers = Array.from(
      { length: concurrent },
      () => new TracingEventReceiver({}, {}, [], { relay: relay.execution({ parent: UNDER_HOST }), arena, program: "bench" }),
    );
    gc?.();
    const begin = performance.now();
    let batches = 0;
    for (let again = 0; again < EXECUTIONS / concurrent; again++) {
      for (const batch of sent) {
        for (const receiver of receivers) {
          receiver.receiveBatch(batch);
          // As often on both sides: spans that are kept long cost time of their own.
          if (++batches % 100 === 0) collector.take();
        }
      }
    }
    const elapsed = performance.now() - begin;
    const events = receivers.reduce((sum, { stats }) => sum + stats.events, 0);
    const { callSites } = arena.stats;
    for (const receiver of receivers) receiver[Symbol.dispose]();
    collector.take();
    return { nanoseconds: (elapsed * 1e6) / events, callSites };
  };
  const rounds: [number, number][] = [];
  let callSites = 0;
  for (let i = 0; i < ROUNDS + 2; i++) {
    const many = run(EXECUTIONS);
    const one = run(1);
    callSites = many.callSites;
    if (i >= 2) rounds.push([many.nanoseconds, one.nanoseconds]);
  }
  return [
    { name: `${EXECUTIONS} executions of one program at once | one`, unit: "ns/event", ...summary(rounds), target: 1.2 },
    alone(`${EXECUTIONS} executions of one program: call sites in the arena`, "call sites", callSites, 2),
  ];
}

/** Time per span and memory, with a thousand times the spans. */
export function growth(): Result[] {
  const relay = new OpenTelemetryRelay({ spanProcessors: [new Forgetful()], resource: RESOURCE });
  const run = (spans: number): number => {
    const receiver = new TracingEventReceiver({}, {}, [], { relay: relay.execution({ parent: UNDER_HOST }) });
    const sender = new TracingEventSender(
      batches((batch) => receiver.receiveBatch(batch)),
      { clock: performanceClock(performance) },
    );
    const unit = three(1000).tunnel(sender);
    const begin = performance.now();
    for (let i = 0; i < spans / 1000; i++) unit();
    sender.flush();
    const elapsed = performance.now() - begin;
    if (receiver.stats.liveSpans !== 0) throw new Error(JSON.stringify(receiver.stats));
    kept = receiver;
    return (elapsed * 1e6) / spans;
  };
  let kept: object | undefined;
  for (let i = 0; i < 200; i++) run(1000);
  const results: Result[] = [];
  for (const spans of [10_000, 100_000, 1_000_000]) {
    const rounds: [number, number][] = [];
    for (let i = 0; i < ROUNDS; i++) {
      const many = run(spans);
      // As much work on both sides, so that a machine that is busy for a moment is so for both.
      const times = Math.min(spans / 1000, 200);
      let one = 0;
      for (let k = 0; k < times; k++) one += run(1000) / times;
      rounds.push([many, one]);
    }
    kept = undefined;
    gc?.();
    const before = process.memoryUsage().heapUsed;
    run(spans);
    gc?.();
    const heap = kept === undefined ? Number.NaN : process.memoryUsage().heapUsed - before;
    results.push(
      { name: `${spans} spans in one execution | 1000`, unit: "ns/span", ...summary(rounds), target: 1.15 },
      alone(`${spans} spans in one execution: memory kept once they are closed`, "kB", heap / 1024, 256),
    );
  }
  return results;
}

/** A span processor that keeps nothing. */
class Forgetful extends Collector {
  override onEnd(): void {}
}
