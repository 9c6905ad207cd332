import { json } from "@spanduct/protocol/json";
import { msgpack } from "@spanduct/protocol/msgpack";
import { protobuf } from "@spanduct/protocol/protobuf";
import { readJson } from "./second-readers/json.ts";
import { readMsgpack } from "./second-readers/msgpack.ts";
import { readProtobuf } from "./second-readers/protobuf.ts";
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
    decoderTarget(json, streams, readJson),
    decoderTarget(protobuf, streams, readProtobuf),
    decoderTarget(msgpack, streams, readMsgpack),
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
