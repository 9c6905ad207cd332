import { transportContract } from "../../../test/contract/transport.ts";
import { socketPath, sockets } from "./sockets.ts";
import { streamPair } from "./stream-pair.ts";

/** For every runtime that has `node:net`. */
transportContract("stream, unix socket", async (setup) => streamPair(await sockets(socketPath()), setup));
transportContract("stream, TCP socket", async (setup) => streamPair(await sockets(0), setup));
