import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { batches, performanceClock, TracingEventSender } from "@spanduct/sender";
import { SPANS, tracerWork, tunnelWork } from "../corpus.ts";
import { compare } from "../measure.ts";
import { Collector, sdk } from "../peer.ts";
import type { Result } from "../result.ts";

/** What a span costs the guest until its bytes are ready to leave. */
export function guest(): Result[] {
  let bytes = 0;
  const sender = new TracingEventSender(
    batches((batch) => {
      bytes += batch.length;
    }),
    { clock: performanceClock(performance) },
  );
  const ourWork = tunnelWork(sender);
  const collector = new Collector();
  const peerWork = tracerWork(sdk(collector).getTracer("bench"));
  const result = compare(
    SPANS,
    {
      run() {
        ourWork();
        sender.flush();
        return bytes;
      },
    },
    {
      run() {
        peerWork();
        return ProtobufTraceSerializer.serializeRequest(collector.take())?.length ?? 0;
      },
    },
  );
  return [
    {
      name: "guest: span, 3 attributes, 1 event, encoded | SDK span + OTLP/protobuf",
      unit: "ns/span",
      ours: result.ours,
      peer: result.peer,
      ratio: result.ratio,
      spread: [result.low, result.high],
      target: 0.15,
      targetOf: "ratio",
    },
  ];
}
