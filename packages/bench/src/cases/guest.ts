import { JsonTraceSerializer, ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { batches, performanceClock, TracingEventSender } from "@spanduct/sender";
import { type Corpus, deep, fib, tenStrings, three } from "../corpus.ts";
import { compare } from "../measure.ts";
import { Collector, sdk } from "../peer.ts";
import { alone, type Result } from "../result.ts";

const SERIALIZERS = { "OTLP/protobuf": ProtobufTraceSerializer, "OTLP/JSON": JsonTraceSerializer } as const;

/** What a span costs the guest until its bytes are ready to leave. */
function guest(corpus: Corpus, form: keyof typeof SERIALIZERS, target?: number): Result[] {
  let bytes = 0;
  const sender = new TracingEventSender(
    batches((batch) => {
      bytes += batch.length;
    }),
    { clock: performanceClock(performance) },
  );
  const ourWork = corpus.tunnel(sender);
  const collector = new Collector();
  const peerWork = corpus.tracer(sdk(collector).getTracer("bench"));
  const comparison = compare(
    corpus.spans,
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
        return SERIALIZERS[form].serializeRequest(collector.take())?.length ?? 0;
      },
    },
  );
  return [{ name: `guest, encoded: ${corpus.name} | SDK span + ${form}`, unit: "ns/span", ...comparison, target }];
}

const CALL_SITES = 1000;

/** What a call site costs once the host has turned its level off. */
function off(): Result[] {
  const sender = new TracingEventSender(
    batches(() => undefined),
    { maxLevel: "off" },
  );
  const event = sender.event({ name: "rendered", target: "bench", fields: ["message", "bytes"] });
  let calls = 0;
  const empty = (_values: object): void => {
    calls++;
  };
  const comparison = compare(
    CALL_SITES,
    {
      run() {
        for (let i = 0; i < CALL_SITES; i++) event.emit({ message: "rendered", bytes: i });
        return sender.droppedEvents;
      },
    },
    {
      run() {
        for (let i = 0; i < CALL_SITES; i++) empty({ message: "rendered", bytes: i });
        return calls;
      },
    },
  );
  const { ours, peer } = comparison;
  return [
    alone("guest turned off by the host: a call site", "ns/call", ours, 10),
    alone("  for comparison: a call of an empty function", "ns/call", peer),
  ];
}

export const guestCases: Readonly<Record<string, () => Result[]>> = {
  guest: () => guest(three(), "OTLP/protobuf", 0.1),
  "guest-json": () => guest(three(), "OTLP/JSON", 0.07),
  "guest-strings": () => guest(tenStrings(), "OTLP/protobuf"),
  "guest-deep": () => guest(deep(), "OTLP/protobuf"),
  "guest-fib": () => guest(fib(), "OTLP/protobuf"),
  off,
};
