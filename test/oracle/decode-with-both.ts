import { deepStrictEqual } from "node:assert";
import { fromBinary } from "@bufbuild/protobuf";
import { DEFAULT_LIMITS, type Limits } from "@spanduct/protocol";
import { protobuf } from "@spanduct/protocol/protobuf";
import { replay, type SinkCall, sinkTo } from "../support/sink-calls.ts";
import { BatchSchema } from "./gen/spanduct/v1/tunnel_pb.js";
import { fromMessage } from "./protobuf-es.ts";

/**
 * What a batch of a foreign writer says. Throws unless our decoder refuses nothing of it, the generated code reads the same, and
 * our encoder writes the same bytes for it.
 */
export function decodeWithBoth(batch: Uint8Array, limits: Limits = DEFAULT_LIMITS): SinkCall[] {
  const calls: SinkCall[] = [];
  const sink = sinkTo((call) => calls.push(call));
  protobuf.createDecoder(limits).decode(batch, sink, (error) => {
    throw error;
  });
  deepStrictEqual(calls, fromMessage(fromBinary(BatchSchema, batch)));
  const encoder = protobuf.createEncoder();
  replay(calls, encoder);
  deepStrictEqual(Buffer.from(encoder.finish()).toString("hex"), Buffer.from(batch).toString("hex"));
  return calls;
}
