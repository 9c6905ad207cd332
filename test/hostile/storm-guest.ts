/** A guest that sends raw batches, mostly as many as it can. */
import { writeSync } from "node:fs";
import { argv, env } from "node:process";
import { type MessagePort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { messagePortSender } from "@spanduct/transport/message-port";
import { ringSender } from "@spanduct/transport/ring";
import { encodeFrame, FrameKind, PREFACE } from "../../packages/transport/src/frame.ts";
import { type Bytes, field, header, number, repeated } from "./raw.ts";

/** How it goes about it. */
export type Storm =
  /** Posts and posts, whatever the host answers. */
  | "ignores windows"
  /** As fast as the host's answers let it. */
  | "keeps to windows"
  /** Into a ring, as fast as there is room. */
  | "fills its ring"
  /** As a process, into a pipe, and never reads an answer. */
  | "fills its pipe"
  /** One batch, and the next one 5 ms after the answer. */
  | "waits for answers";

export interface StormData {
  readonly storm: Storm;
  /** Bytes of one batch, about. */
  readonly size: number;
}

interface Link {
  readonly port?: MessagePort;
  readonly ring?: { readonly memory: Uint8Array };
}

const { storm, size, spanduct } = (workerData ?? JSON.parse(argv[2] ?? "")) as StormData & { readonly spanduct: Link };

const SITE = field(6, field(2, [8, 1, 16, 1, 24, 3]));
const WORK: Bytes = [...field(6, field(3, [8, 1, 24, 1])), ...field(6, number(8, 1))];
// Number 0 is that of a new sender, so that all of them can be the same.
const batch = repeated(WORK, Math.max(1, Math.floor(size / WORK.length)), [...header(), ...SITE]);

function send(): () => void {
  if (storm === "fills its pipe") {
    const to = Number(env["SPANDUCT_CHANNEL"]?.split(",")[1]);
    const frames = repeated([...encodeFrame(FrameKind.batch, batch)], Math.ceil(65_536 / batch.length));
    writeSync(to, PREFACE);
    let at = 0;
    return () => {
      at += writeSync(to, frames, at);
      if (at === frames.length) at = 0;
    };
  }
  const { port, ring } = spanduct;
  if (storm === "fills its ring") {
    const { memory } = ring as NonNullable<Link["ring"]>;
    const { send } = ringSender(memory);
    return () => send(batch);
  }
  const to = port as MessagePort;
  if (storm === "ignores windows") {
    return () => {
      const { buffer } = batch.slice();
      to.postMessage(buffer, [buffer as ArrayBuffer]);
    };
  }
  const sender = messagePortSender(to, { poll: () => receiveMessageOnPort(to) });
  return () => sender.send(batch);
}

if (storm === "waits for answers") {
  const sender = messagePortSender(spanduct.port as MessagePort);
  // A port keeps no thread alive, a timer does.
  setInterval(() => {
    if (sender.inFlightBytes === 0) sender.send(batch);
  }, 5);
} else {
  const once = send();
  for (;;) {
    try {
      once();
    } catch {
      // Refused, for now.
    }
  }
}
