import { transportContract } from "../../../test/contract/transport.ts";
import { streamPair, webStreams } from "./stream-pair.ts";

/** For every runtime that has web streams. */
transportContract("stream, web streams", (setup) => streamPair(webStreams(), setup));
