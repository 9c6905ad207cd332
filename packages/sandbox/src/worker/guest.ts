import process from "node:process";
import { type MessagePort, receiveMessageOnPort, workerData } from "node:worker_threads";
import {
  batches,
  captureConsole,
  growingBatches,
  performanceClock,
  propagate,
  type SendBatch,
  type SenderOptions,
  type SenderOutput,
  TracingEventSender,
} from "@spanduct/sender";
import { messagePortSender } from "@spanduct/transport/message-port";
import { ringSender } from "@spanduct/transport/ring";
import { toPlainError } from "../web-port/plain-error.ts";
import type { RingLink, WorkerLink } from "./link.ts";
import { LAST_WORDS_MS } from "./ring.ts";

/** How a worker connects to its host. */
export interface ConnectOptions extends Pick<SenderOptions, "target" | "maxLevel"> {
  /** Whether what is written to `console` becomes events too. Default false. */
  readonly captureConsole?: boolean;
}

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
  const sender = new TracingEventSender(output, { clock: performanceClock(performance), isWatched: true, ...options });
  sender.control(control);
  propagate(sender, traceContext);
  process.on("exit", () => sender.flush());
  process.on("uncaughtExceptionMonitor", (error) => thrown.postMessage(toPlainError(error)));
  if (options.captureConsole === true) captureConsole(sender, console);
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
