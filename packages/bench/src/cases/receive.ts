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
  // The same span numbers come again in every run: call sites first, then batches without them.
  const announced: Uint8Array[] = [];
  const sender = new TracingEventSender(
    batches((batch) => void announced.push(batch.slice()), { maxBytes: 1 << 20, maxEvents: 1 << 20 }),
    { clock: performanceClock(performance) },
  );
  const work = tunnelWork(sender);
  for (let i = 0; i < 2; i++) {
    work();
    sender.flush();
  }
  const receiver = new TracingEventReceiver({}, {}, new Map(), { relay: NOTHING });
  receiver.receiveBatch(announced[0] as Uint8Array);
  const decoder = protobufBatch(announced[1] as Uint8Array);

  const collector = new Collector();
  const peerWork = tracerWork(sdk(collector).getTracer("bench"));
  const result = compare(
    SPANS,
    { run: () => receiver.receiveBatch(decoder()) },
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

/** The batch with sequence number 0 each time, so that it counts as the first one of a new sender. */
function protobufBatch(batch: Uint8Array): () => Uint8Array {
  const at = batch.indexOf(0x20);
  const first = new Uint8Array(batch);
  if (first[at + 1] !== 1) throw new Error("no sequence number 1 where it should be");
  first[at + 1] = 0;
  return () => first;
}
