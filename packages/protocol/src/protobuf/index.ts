import type { Codec } from "../codec.ts";
import { ProtobufDecoder } from "./decode.ts";
import { createProtobufEncoder } from "./encode.ts";

export { createProtobufEncoder, ProtobufDecoder };

/** The default wire form between our own ends: `proto/spanduct/v1/tunnel.proto`, written and read by hand. */
export const protobuf: Codec = {
  name: "protobuf",
  createEncoder: createProtobufEncoder,
  createDecoder: (limits) => new ProtobufDecoder(limits),
};
