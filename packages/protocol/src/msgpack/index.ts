import type { Codec } from "../codec.ts";
import { MsgpackDecoder } from "./decode.ts";
import { MsgpackEncoder } from "./encode.ts";

export { MsgpackDecoder, MsgpackEncoder };

/** The wire form for hosts that speak MessagePack: `proto/README.md`, written and read by hand. */
export const msgpack: Codec = {
  name: "msgpack",
  createEncoder: () => new MsgpackEncoder(),
  createDecoder: (limits) => new MsgpackDecoder(limits),
};
