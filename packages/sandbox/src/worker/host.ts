import * as threads from "node:worker_threads";
import type { TunnelError } from "@spanduct/protocol";
import type { TracingEventReceiver } from "@spanduct/receiver";
import type { Pump } from "@spanduct/transport";
import { messagePortReceiver } from "@spanduct/transport/message-port";
import { createRing, ringReceiver } from "@spanduct/transport/ring";
import { commit, type Outcome, rollBack } from "../outcome.ts";
import { fromPlainError } from "../plain-error.ts";
import type { WorkerLink } from "./link.ts";
import type { WorkerRingOptions } from "./ring.ts";

/** Options of the `Worker`; the tunnel takes the key `spanduct` of `workerData`, which has to be an object. */
export interface TraceWorkerOptions extends Omit<threads.WorkerOptions, "workerData"> {
  readonly workerData?: object;
  /**
   * Flight recorder: the guest writes into memory that the host reads, each event as it happens, so that the trace reaches up to
   * the last one however the worker ends. Without it events travel in batches over a `MessagePort`.
   */
  readonly ring?: WorkerRingOptions;
  /** Shares the event loop with the other guests of this thread. Default: a pump of its own. */
  readonly pump?: Pump;
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
 * that floods the tunnel or breaks its ring, which is terminated ("transport_failed", "malformed"). A worker that waits for messages does not exit by itself: let
 * it close its `parentPort`, or call `process.exit()`.
 *
 * Does not keep the host alive any longer than the worker does.
 */
export function traceWorker<Span>(
  filename: string | URL,
  receiver: TracingEventReceiver<Span>,
  options: TraceWorkerOptions = {},
): TracedWorker<Span> {
  const { ring, pump, ...workerOptions } = options;
  const tunnel = ring === undefined ? throughPort() : throughRing(ring);
  const { port } = tunnel.link;
  const thrown = new threads.MessageChannel();
  const { traceContext } = receiver;
  const link: WorkerLink = { ...tunnel.link, thrown: thrown.port2, control: receiver.control(), traceContext };
  const worker = new threads.Worker(filename, {
    ...workerOptions,
    workerData: { ...options.workerData, spanduct: link },
    transferList: [...(options.transferList ?? []), thrown.port2, ...(port ? [port] : [])],
  });

  let failure: { readonly error: unknown } | undefined;
  const host = tunnel.open(receiver, {
    ...(pump && { pump }),
    onFailure(error) {
      failure ??= { error };
      worker.terminate();
    },
  });

  const outcome = new Promise<Outcome<void, Span>>((resolve) => {
    worker.on("error", (error) => {
      failure ??= { error: moreOf(error, threads.receiveMessageOnPort(thrown.port1)?.message) };
    });
    worker.on("exit", async (exitCode) => {
      await host.drain();
      host.close();
      thrown.port1.close();
      if (failure === undefined && exitCode === 0) return resolve(commit(receiver, undefined));
      const error = failure === undefined ? new Error(`the worker ended with exit code ${exitCode}`) : failure.error;
      resolve(rollBack(receiver, error));
    });
  });
  return { worker, outcome };
}

/** What the runtime says of an error, unless the guest said more: Bun leaves out causes, Deno stacks as well. */
function moreOf(error: unknown, told: unknown): unknown {
  if (told === undefined || typeof error !== "object" || error === null) return error;
  const { stack, cause } = error as Partial<Error>;
  const plain = fromPlainError(told);
  return stack === undefined || (cause === undefined && plain.cause !== undefined) ? plain : error;
}

interface HostEnd {
  drain(): Promise<void>;
  close(): void;
}

interface HostEndOptions {
  readonly pump?: Pump;
  readonly onFailure: (error: TunnelError) => void;
}

interface Tunnel {
  /** The guest's end. */
  readonly link: Pick<WorkerLink, "port" | "ring">;
  readonly open: (receiver: TracingEventReceiver, options: HostEndOptions) => HostEnd;
}

function throughPort(): Tunnel {
  const { port1, port2 } = new threads.MessageChannel();
  return {
    link: { port: port2 },
    open(receiver, options) {
      const host = messagePortReceiver(port1, (bytes) => receiver.receiveBatch(bytes), { threads, ...options });
      port1.unref();
      return host;
    },
  };
}

function throughRing({ capacity, waitMs = 0 }: WorkerRingOptions): Tunnel {
  const memory = createRing(capacity);
  return {
    link: { ring: { memory, waitMs } },
    open: (receiver, options) => {
      const control = (): number => receiver.control();
      return ringReceiver(memory, (bytes) => receiver.receiveBatch(bytes), { control, ...options });
    },
  };
}
