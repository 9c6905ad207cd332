import { context, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { JsonTraceSerializer, ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import type { json } from "@spanduct/protocol/json";
import { MetadataArena, TracingEventReceiver } from "@spanduct/receiver";
import { batches, performanceClock, TracingEventSender } from "@spanduct/sender";
import { type Corpus, deep, entered, fib, HOST_SPAN, tenStrings, three } from "../corpus.ts";
import { compare } from "../measure.ts";
import { Collector, RESOURCE, Reader, sdk, sdk2 } from "../peer.ts";
import { counted, type Result } from "../result.ts";

const PARENT = trace.setSpanContext(ROOT_CONTEXT, HOST_SPAN);

/** What a span costs from the guest's call to the span processor. */
function tunnel(
  corpus: Corpus,
  peer: "3.1" | "2.12" | "3.1 startActiveSpan",
  target?: number,
  Processor: typeof Collector = Collector,
): Result[] {
  if (peer === "3.1 startActiveSpan") context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  const ours = new Processor();
  const relay = new OpenTelemetryRelay({ spanProcessors: [ours], resource: RESOURCE });
  const receiver = new TracingEventReceiver({}, {}, new Map(), { relay: relay.execution({ parent: PARENT }) });
  const sender = new TracingEventSender(
    batches((batch) => receiver.receiveBatch(batch)),
    { clock: performanceClock(performance) },
  );
  const runOurs = corpus.tunnel(sender);
  const peers = new Processor();
  const runPeer = corpus.tracer((peer === "2.12" ? sdk2(peers) : sdk(peers)).getTracer("bench"));
  const comparison = compare(
    corpus.spans,
    {
      run() {
        runOurs();
        sender.flush();
        const taken = ours.take().length;
        if (taken !== corpus.spans) throw new Error(`${taken} spans of ${corpus.spans}: ${JSON.stringify(receiver.stats)}`);
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
  const read = Processor === Reader ? ", all of it read there" : "";
  const name = `tunnel, guest to onEnd${read}: ${corpus.name} | SDK ${peer}`;
  return [{ name, unit: "ns/span", ...comparison, target }];
}

const SMALL = 10;
const EXECUTIONS = 32;

/** Executions that are over after ten spans: sender, receiver, announced call sites and commit each time. */
function small(): Result[] {
  const ours = new Collector();
  const relay = new OpenTelemetryRelay({ spanProcessors: [ours], resource: RESOURCE });
  const arena = new MetadataArena();
  const peers = new Collector();
  const runPeer = three(SMALL).tracer(sdk(peers).getTracer("bench"));
  const comparison = compare(
    SMALL * EXECUTIONS,
    {
      run() {
        for (let i = 0; i < EXECUTIONS; i++) {
          const receiver = new TracingEventReceiver({}, {}, [], { relay: relay.execution({ parent: PARENT }), arena });
          const sender = new TracingEventSender(
            batches((batch) => receiver.receiveBatch(batch)),
            { clock: performanceClock(performance) },
          );
          three(SMALL).tunnel(sender)();
          sender.flush();
          receiver.persist();
        }
        return ours.take().length;
      },
    },
    {
      run() {
        for (let i = 0; i < EXECUTIONS; i++) runPeer();
        return peers.take().length;
      },
    },
  );
  const name = `tunnel, executions of ${SMALL} spans, sender and receiver made and committed | SDK, the spans alone`;
  return [{ name, unit: "ns/span", ...comparison, target: undefined }];
}

/** Bytes that leave the guest. */
function wire(): Result[] {
  const corpus = three(4096);
  const bytes = (setUp: (sender: TracingEventSender) => void, codec?: typeof json): number => {
    let total = 0;
    const output = batches((batch) => {
      total += batch.length;
    }, codec && { encoder: codec.createEncoder() });
    setUp(new TracingEventSender(output, { clock: performanceClock(performance) }));
    return total;
  };
  const work = (sender: TracingEventSender): void => {
    corpus.tunnel(sender)();
    sender.flush();
  };
  const ours = bytes(work) / corpus.spans;

  const collector = new Collector();
  corpus.tracer(sdk(collector).getTracer("bench"))();
  const spans = collector.take();
  // In requests of 512, as its batch processor sends them.
  const requests = Array.from({ length: spans.length / 512 }, (_, i) => spans.slice(i * 512, (i + 1) * 512));
  const size = (serializer: typeof JsonTraceSerializer): number =>
    requests.reduce((sum, request) => sum + (serializer.serializeRequest(request)?.length ?? 0), 0) / spans.length;
  // The crate has no times.
  let crate = 0;
  const untimed = new TracingEventSender((event) => {
    crate += JSON.stringify(event).length + 1;
  });
  corpus.tunnel(untimed)();

  const of = (peer: string): string => `wire, with times: ${corpus.name} | ${peer}`;
  return [
    counted(of("OTLP/protobuf"), "bytes/span", ours, size(ProtobufTraceSerializer), 0.5),
    counted(of("OTLP/JSON"), "bytes/span", ours, size(JsonTraceSerializer), 0.15),
    counted(of("the crate's JSON, which has no times"), "bytes/span", ours, crate / corpus.spans, 0.3),
  ];
}

export const tunnelCases: Readonly<Record<string, () => Result[]>> = {
  tunnel: () => tunnel(three(), "3.1", 0.6),
  "tunnel-sdk2": () => tunnel(three(), "2.12", 0.6),
  "tunnel-read": () => [...tunnel(three(), "3.1", undefined, Reader), ...tunnel(three(), "2.12", undefined, Reader)],
  entered: () => tunnel(entered(), "3.1 startActiveSpan"),
  "tunnel-strings": () => tunnel(tenStrings(), "3.1"),
  "tunnel-deep": () => tunnel(deep(), "3.1"),
  "tunnel-fib": () => tunnel(fib(), "3.1"),
  small,
  wire,
};
