import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { TracingEventReceiver } from "@spanduct/receiver";
import { batches, performanceClock, TracingEventSender } from "@spanduct/sender";
import { HOST_SPAN, SPANS, tracerWork, tunnelWork } from "../corpus.ts";
import { compare } from "../measure.ts";
import { Collector, RESOURCE, sdk } from "../peer.ts";
import type { Result } from "../result.ts";

/** What a span costs from the guest's call to the span processor. */
export function tunnel(): Result[] {
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
  const ourWork = tunnelWork(sender);
  const peers = new Collector();
  const peerWork = tracerWork(sdk(peers).getTracer("bench"));
  let spans = 0;
  const result = compare(
    SPANS,
    {
      run() {
        ourWork();
        sender.flush();
        const taken = ours.take().length;
        spans += taken;
        if (taken !== SPANS) throw new Error(`${taken} spans of ${SPANS} arrived: ${JSON.stringify(receiver.stats)}`);
        return taken;
      },
    },
    {
      run() {
        peerWork();
        return peers.take().length;
      },
    },
  );
  const size = bytes / spans;
  return [
    {
      name: "tunnel: guest to SpanProcessor.onEnd | SDK startSpan…end",
      unit: "ns/span",
      ours: result.ours,
      peer: result.peer,
      ratio: result.ratio,
      spread: [result.low, result.high],
      target: 0.75,
      targetOf: "ratio",
    },
    {
      name: "wire: protobuf batch, with times",
      unit: "bytes/span",
      ours: size,
      peer: Number.NaN,
      ratio: Number.NaN,
      spread: [0, 0],
      target: 110,
      targetOf: "ours",
    },
  ];
}
