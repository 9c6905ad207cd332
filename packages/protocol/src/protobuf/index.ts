import type { Codec } from "../codec.ts";
import { ProtobufDecoder } from "./decode.ts";
import { ProtobufEncoder } from "./encode.ts";

export { ProtobufDecoder, ProtobufEncoder };

/** The default wire form between our own ends: `proto/spanduct/v1/tunnel.proto`, written and read by hand. */
export const protobuf: Codec = {
  name: "protobuf",
  createEncoder: () => new ProtobufEncoder(),
  createDecoder: (limits) => new ProtobufDecoder(limits),
};
