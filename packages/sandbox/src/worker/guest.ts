import process from "node:process";
import { type MessagePort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { batches, growingBatches, type SendBatch, type SenderOutput, TracingEventSender } from "@spanduct/sender";
import { messagePortSender } from "@spanduct/transport/message-port";
import { ringSender } from "@spanduct/transport/ring";
import { beginRun, type ConnectOptions, guestSender } from "../guest-sender.ts";
import { toPlainError } from "../plain-error.ts";
import type { RingLink, WorkerLink } from "./link.ts";
import { LAST_WORDS_MS } from "./ring.ts";

/**
 * The sender of this worker; the same one at every call, with the options of the first. Its clock is `performance`, and it
 * delivers what is batched when the worker exits, also by `process.exit`. In a thread that no `traceWorker` has started, a
 * sender that is off.
 */
export function connect(options: ConnectOptions = {}): TracingEventSender {
  const link = (workerData as { readonly spanduct?: WorkerLink } | null)?.spanduct;
  if (link === undefined) return new TracingEventSender(() => undefined, { maxLevel: "off" });
  link.sender ??= open(link, options);
  return link.sender;
}

function open({ port, ring, thrown, control, traceContext }: WorkerLink, options: ConnectOptions): TracingEventSender {
  const output = ring === undefined ? throughPort(port as MessagePort) : throughRing(ring);
  const sender = guestSender(output, { isWatched: true, ...options });
  beginRun(sender, control, traceContext);
  process.on("exit", () => sender.flush());
  process.on("uncaughtExceptionMonitor", (error) => thrown.postMessage(toPlainError(error)));
  return sender;
}

function throughPort(port: MessagePort): SenderOutput {
  let { send }: { send: SendBatch } = messagePortSender(port, { poll: () => receiveMessageOnPort(port) });
  process.on("exit", () => {
    // The last words go through also to a host that is behind with reading.
    send = (batch) => port.postMessage(batch.slice().buffer);
  });
  return batches((batch) => send(batch));
}

function throughRing({ memory, waitMs }: RingLink): SenderOutput {
  const ring = ringSender(memory, { waitMs });
  process.on("exit", () => {
    ring.waitMs = Math.max(waitMs, LAST_WORDS_MS);
  });
  return growingBatches(ring);
}
