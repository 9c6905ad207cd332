import { CODECS } from "./steps.ts";
import { realStreams } from "./streams.ts";
import type { Target } from "./target.ts";
import { decoderTarget } from "./targets/decoder.ts";
import { isolationTarget } from "./targets/isolation.ts";
import { objectsTarget } from "./targets/objects.ts";
import { openTelemetryTarget } from "./targets/opentelemetry.ts";
import { receiverTarget } from "./targets/receiver.ts";
import { ringTarget } from "./targets/ring.ts";
import { senderTarget } from "./targets/sender.ts";
import { stateTarget } from "./targets/state.ts";
import { streamTarget } from "./targets/stream.ts";

/** Everything that is fuzzed. */
export function allTargets(): readonly Target[] {
  const streams = realStreams();
  return [
    ...Object.values(CODECS).map((codec) => decoderTarget(codec, streams)),
    objectsTarget(streams),
    stateTarget(streams),
    receiverTarget(streams),
    openTelemetryTarget(streams),
    isolationTarget(streams),
    senderTarget(),
    ringTarget(),
    streamTarget(),
  ] as readonly Target[];
}
