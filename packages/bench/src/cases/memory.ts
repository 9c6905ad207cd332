import { ROOT_CONTEXT, type Span, trace } from "@opentelemetry/api";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { TracingEventReceiver } from "@spanduct/receiver";
import { batches, performanceClock, TracingEventSender } from "@spanduct/sender";
import { HOST_SPAN } from "../corpus.ts";
import { Collector, RESOURCE, sdk } from "../peer.ts";
import { alone, counted, type Result } from "../result.ts";

const SPANS = 100_000;
const UNDER_HOST = trace.setSpanContext(ROOT_CONTEXT, HOST_SPAN);
const KINDS = ["page", "image", "script", "style"];

declare const gc: (() => void) | undefined;

/** Bytes of the heap that are in use. Needs `--expose-gc`. */
function heap(): number {
  for (let i = 0; i < 4; i++) gc?.();
  return process.memoryUsage().heapUsed;
}

/** What spans take up on the host while they are open. */
export function memory(): Result[] {
  const relay = new OpenTelemetryRelay({ spanProcessors: [new Collector()], resource: RESOURCE });
  const limits = { maxLiveSpans: SPANS };
  const receiver = new TracingEventReceiver({}, {}, [], { relay: relay.execution({ parent: UNDER_HOST }), limits });
  const tracer = sdk(new Collector()).getTracer("bench");
  const kept: Span[] = new Array(SPANS);

  const before = heap();
  // The guest is somewhere else: here in a function, so that nothing of it is left.
  (() => {
    const sender = new TracingEventSender(
      batches((batch) => receiver.receiveBatch(batch)),
      { clock: performanceClock(performance) },
    );
    const site = sender.span({ name: "render", target: "bench", fields: ["kind", "size", "ratio"] });
    const event = sender.event({ name: "rendered", target: "bench", fields: ["message", "bytes"] });
    for (let i = 0; i < SPANS; i++) {
      const span = site.start({ kind: KINDS[i & 3], size: 1000 + i, ratio: i / 7 + 0.5 });
      event.emit({ message: "rendered", bytes: i }, span);
    }
    sender.flush();
  })();
  const ours = heap() - before;
  if (receiver.stats.liveSpans !== SPANS) throw new Error(JSON.stringify(receiver.stats));

  const between = heap();
  for (let i = 0; i < SPANS; i++) {
    const attributes = { kind: KINDS[i & 3] as string, size: 1000 + i, ratio: i / 7 + 0.5 };
    const span = tracer.startSpan("render", { attributes }, UNDER_HOST);
    span.addEvent("rendered", { bytes: i });
    kept[i] = span;
  }
  const peer = heap() - between;
  if (kept.length !== SPANS || receiver.stats.liveSpans !== SPANS) throw new Error("spans are gone");

  const name = `memory: ${SPANS} live spans on the host, 3 attributes and 1 event each`;
  return [
    counted(`${name} | the SDK's`, "bytes/span", ours / SPANS, peer / SPANS, 0.5),
    alone(`${name}, as JSON when persisted`, "bytes/span", persistedBytes(receiver) / SPANS),
  ];
}

function persistedBytes(receiver: TracingEventReceiver): number {
  return Object.values(receiver.persist().spans).reduce((sum, span) => sum + JSON.stringify(span).length, 0);
}
