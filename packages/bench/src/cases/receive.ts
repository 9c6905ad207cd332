import { json } from "@spanduct/protocol/json";
import { protobuf } from "@spanduct/protocol/protobuf";
import { type Relay, TracingEventReceiver } from "@spanduct/receiver";
import { batches, performanceClock, TracingEventSender } from "@spanduct/sender";
import { three } from "../corpus.ts";
import { compare } from "../measure.ts";
import { Collector, sdk } from "../peer.ts";
import type { Result } from "../result.ts";

/** A relay that does nothing, so that decoding and the receiver remain. */
export const NOTHING: Relay<number> = {
  newSpan: () => 1,
  record() {},
  recordFollowsFrom() {},
  enter() {},
  exit() {},
  tryClose() {},
  event() {},
};

/** One unit of work as one batch: with sequence number 0 it counts as the first one of a new sender, call sites and all. */
function oneBatch(codec: typeof json): Uint8Array {
  let batch = new Uint8Array();
  const sender = new TracingEventSender(
    batches(
      (bytes) => {
        batch = bytes.slice();
      },
      { maxBytes: 1 << 22, maxEvents: 1 << 22, encoder: codec.createEncoder() },
    ),
    { clock: performanceClock(performance) },
  );
  three().tunnel(sender)();
  sender.flush();
  return batch;
}

/** What a span costs the host before the relay. */
function receive(): Result[] {
  const batch = oneBatch(protobuf);
  const lines = new TextDecoder().decode(oneBatch(json)).trimEnd().split("\n");
  const receiver = new TracingEventReceiver({}, {}, new Map(), { relay: NOTHING });
  const comparison = compare(
    three().spans,
    { run: () => receiver.receiveBatch(batch) },
    {
      run() {
        let events = 0;
        for (const line of lines) if (JSON.parse(line) !== null) events++;
        return events;
      },
    },
  );
  const refused = Object.values(receiver.stats.refused);
  if (refused.length > 0) throw new Error(`the receiver refused events: ${JSON.stringify(receiver.stats)}`);
  return [
    {
      name: "host: decode + receive, relay that does nothing | JSON.parse of the same events",
      unit: "ns/span",
      ...comparison,
      target: 0.25,
    },
  ];
}

/** The same beside what the SDK does for a span. */
function receiveAndSdk(): Result[] {
  const batch = oneBatch(protobuf);
  const receiver = new TracingEventReceiver({}, {}, new Map(), { relay: NOTHING });
  const collector = new Collector();
  const peerWork = three().tracer(sdk(collector).getTracer("bench"));
  const comparison = compare(
    three().spans,
    { run: () => receiver.receiveBatch(batch) },
    {
      run() {
        peerWork();
        return collector.take().length;
      },
    },
  );
  const name = "host: decode + receive, relay that does nothing | SDK startSpan…end";
  return [{ name, unit: "ns/span", ...comparison, target: undefined }];
}

export const receiveCases: Readonly<Record<string, () => Result[]>> = { receive, "receive-sdk": receiveAndSdk };
