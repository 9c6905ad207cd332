import type { Codec } from "../codec.ts";
import { decodeEvent, JsonDecoder, parseEvent } from "./decode.ts";
import { JsonEncoder, printEvent } from "./encode.ts";
import { parseMetadata, parseSpans, printState } from "./state.ts";

export { decodeEvent, JsonDecoder, JsonEncoder, parseEvent, parseMetadata, parseSpans, printEvent, printState };

/** JSON lines: the form of the genuine crate `tracing-tunnel`, with our times, batch headers and error details as extra keys. */
export const json: Codec = {
  name: "json",
  createEncoder: () => new JsonEncoder(),
  createDecoder: (limits) => new JsonDecoder(limits),
};
