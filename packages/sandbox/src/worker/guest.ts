import process from "node:process";
import { receiveMessageOnPort, workerData } from "node:worker_threads";
import {
  batches,
  captureConsole,
  performanceClock,
  propagate,
  type SendBatch,
  type SenderOptions,
  TracingEventSender,
} from "@spanduct/sender";
import { messagePortSender } from "@spanduct/transport/message-port";
import type { WorkerLink } from "./link.ts";

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

function open({ port, control, traceContext }: WorkerLink, options: ConnectOptions): TracingEventSender {
  let { send }: { send: SendBatch } = messagePortSender(port, { poll: () => receiveMessageOnPort(port) });
  const sender = new TracingEventSender(
    batches((batch) => send(batch)),
    { clock: performanceClock(performance), ...options },
  );
  sender.control(control);
  propagate(sender, traceContext);
  process.on("exit", () => {
    // The last words go through also to a host that is behind with reading.
    send = (batch) => port.postMessage(batch.slice().buffer);
    sender.flush();
  });
  if (options.captureConsole === true) captureConsole(sender, console);
  return sender;
}
