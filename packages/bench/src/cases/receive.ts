import { type Relay, TracingEventReceiver } from "@spanduct/receiver";
import { batches, performanceClock, TracingEventSender } from "@spanduct/sender";
import { SPANS, tracerWork, tunnelWork } from "../corpus.ts";
import { compare } from "../measure.ts";
import { Collector, sdk } from "../peer.ts";
import type { Result } from "../result.ts";

/** A relay that does nothing, so that decoding and the receiver remain. */
const NOTHING: Relay<number> = {
  newSpan: () => 1,
  record() {},
  recordFollowsFrom() {},
  enter() {},
  exit() {},
  tryClose() {},
  event() {},
};

/** What a span costs the host before the relay. */
export function receive(): Result[] {
  // One batch again and again: with sequence number 0 it counts as the first one of a new sender, call sites and all.
  let batch = new Uint8Array();
  const sender = new TracingEventSender(
    batches(
      (bytes) => {
        batch = bytes.slice();
      },
      { maxBytes: 1 << 20, maxEvents: 1 << 20 },
    ),
    { clock: performanceClock(performance) },
  );
  tunnelWork(sender)();
  sender.flush();
  const receiver = new TracingEventReceiver({}, {}, new Map(), { relay: NOTHING });

  const collector = new Collector();
  const peerWork = tracerWork(sdk(collector).getTracer("bench"));
  const result = compare(
    SPANS,
    { run: () => receiver.receiveBatch(batch) },
    {
      run() {
        peerWork();
        return collector.take().length;
      },
    },
  );
  const refused = Object.values(receiver.stats.refused);
  if (refused.length > 0) throw new Error(`the receiver refused events: ${JSON.stringify(receiver.stats)}`);
  return [
    {
      name: "host: decode + receive, relay that does nothing | SDK startSpan…end",
      unit: "ns/span",
      ours: result.ours,
      peer: result.peer,
      ratio: result.ratio,
      spread: [result.low, result.high],
      target: undefined,
      targetOf: "ratio",
    },
  ];
}
