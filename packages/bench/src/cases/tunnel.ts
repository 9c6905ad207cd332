import { context, type Tracer } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { TracingEventReceiver } from "@spanduct/receiver";
import { batches, performanceClock, TracingEventSender } from "@spanduct/sender";
import { activeTracerWork, enteredTunnelWork, HOST_SPAN, SPANS, tracerWork, tunnelWork } from "../corpus.ts";
import { compare } from "../measure.ts";
import { Collector, RESOURCE, sdk } from "../peer.ts";
import type { Result } from "../result.ts";

/** What a span costs from the guest's call to the span processor. */
export function tunnel(): Result[] {
  const { timed, bytes } = throughTunnel(tunnelWork, tracerWork);
  return [
    { name: "tunnel: guest to SpanProcessor.onEnd | SDK startSpan…end", ...timed, target: 0.75, targetOf: "ratio" },
    {
      name: "wire: protobuf batch, with times",
      unit: "bytes/span",
      ours: bytes,
      peer: Number.NaN,
      ratio: Number.NaN,
      spread: [0, 0],
      target: 110,
      targetOf: "ours",
    },
  ];
}

/** The same with spans that the guest is inside of. */
export function entered(): Result[] {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  const { timed } = throughTunnel(enteredTunnelWork, activeTracerWork);
  const name = "tunnel, spans entered | SDK startActiveSpan…end, AsyncLocalStorage";
  return [{ name, ...timed, target: undefined, targetOf: "ratio" }];
}

function throughTunnel(
  ourWork: (sender: TracingEventSender) => () => void,
  peerWork: (tracer: Tracer) => () => void,
): { timed: Pick<Result, "unit" | "ours" | "peer" | "ratio" | "spread">; bytes: number } {
  const ours = new Collector();
  const relay = new OpenTelemetryRelay({ spanProcessors: [ours], resource: RESOURCE });
  const receiver = new TracingEventReceiver({}, {}, new Map(), { relay: relay.execution({ parent: HOST_SPAN }) });
  let bytes = 0;
  const sender = new TracingEventSender(
    batches((batch) => {
      bytes += batch.length;
      return receiver.receiveBatch(batch);
    }),
    { clock: performanceClock(performance) },
  );
  const runOurs = ourWork(sender);
  const peers = new Collector();
  const runPeer = peerWork(sdk(peers).getTracer("bench"));
  let spans = 0;
  const { ratio, low, high, ...times } = compare(
    SPANS,
    {
      run() {
        runOurs();
        sender.flush();
        const taken = ours.take().length;
        spans += taken;
        if (taken !== SPANS) throw new Error(`${taken} spans of ${SPANS} arrived: ${JSON.stringify(receiver.stats)}`);
        return taken;
      },
    },
    {
      run() {
        runPeer();
        return peers.take().length;
      },
    },
  );
  return { timed: { unit: "ns/span", ...times, ratio, spread: [low, high] }, bytes: bytes / spans };
}
