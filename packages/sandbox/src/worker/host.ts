import * as threads from "node:worker_threads";
import type { TracingEventReceiver } from "@spanduct/receiver";
import { messagePortReceiver } from "@spanduct/transport/message-port";
import { commit, type Outcome, rollBack } from "../outcome.ts";
import type { WorkerLink } from "./link.ts";

/** Options of the `Worker`; the tunnel takes the key `spanduct` of `workerData`, which has to be an object. */
export interface TraceWorkerOptions extends Omit<threads.WorkerOptions, "workerData"> {
  readonly workerData?: object;
}

/** A worker that runs. */
export interface TracedWorker<Span = unknown> {
  readonly worker: threads.Worker;
  /** Resolves when the worker has exited, and never rejects. */
  readonly outcome: Promise<Outcome<void, Span>>;
}

/**
 * Start a `Worker` whose `connect()` sends to `receiver`, and settle the receiver when the worker has exited and all that it
 * sent has been taken in: exit code 0 commits; an uncaught error, another exit code and `terminate()` roll back. So does a worker
 * that floods the tunnel, which is terminated ("transport_failed"). A worker that waits for messages does not exit by itself: let
 * it close its `parentPort`, or call `process.exit()`.
 *
 * Does not keep the host alive any longer than the worker does.
 */
export function traceWorker<Span>(
  filename: string | URL,
  receiver: TracingEventReceiver<Span>,
  options: TraceWorkerOptions = {},
): TracedWorker<Span> {
  const { port1, port2 } = new threads.MessageChannel();
  const link: WorkerLink = { port: port2, control: receiver.control(), traceContext: receiver.traceContext };
  const worker = new threads.Worker(filename, {
    ...options,
    workerData: { ...options.workerData, spanduct: link },
    transferList: [...(options.transferList ?? []), port2],
  });

  let failure: { readonly error: unknown } | undefined;
  const onFailure = (error: unknown): void => {
    failure ??= { error };
    worker.terminate();
  };
  const tunnel = messagePortReceiver(port1, (bytes) => receiver.receiveBatch(bytes), { threads, onFailure });
  port1.unref();

  const outcome = new Promise<Outcome<void, Span>>((resolve) => {
    worker.on("error", (error) => {
      failure ??= { error };
    });
    worker.on("exit", async (exitCode) => {
      await tunnel.drain();
      tunnel.close();
      if (failure === undefined && exitCode === 0) return resolve(commit(receiver, undefined));
      const error = failure === undefined ? new Error(`the worker ended with exit code ${exitCode}`) : failure.error;
      resolve(rollBack(receiver, error));
    });
  });
  return { worker, outcome };
}
