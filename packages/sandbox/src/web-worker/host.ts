import { TunnelError } from "@spanduct/protocol";
import type { TracingEventReceiver } from "@spanduct/receiver";
import type { Pump } from "@spanduct/transport";
import type { Outcome } from "../outcome.ts";
import { typeOf } from "../web-port/messages.ts";
import { PortRun } from "../web-port/port-run.ts";
import type { WorkerRingOptions } from "../worker/ring.ts";
import { nameWithLink } from "./link.ts";

/** Options of the `Worker`, whose `type` is `module` by default. To its `name` the tunnel adds what the guest has to know. */
export interface TraceWorkerOptions extends WorkerOptions {
  /**
   * Flight recorder: the guest writes into memory that the host reads, each event as it happens, so that the trace reaches up to
   * the last one however the worker ends, and a guest that never yields learns of the level that the host wants. Needs a page that is
   * cross-origin isolated. Without it events travel in batches over a `MessagePort`.
   */
  readonly ring?: WorkerRingOptions;
  /** Shares the event loop with the other guests of this thread. Default: a pump of its own. */
  readonly pump?: Pump;
}

/** A worker that runs. */
export interface TracedWorker<Span = unknown> {
  /** Terminate it with its own `terminate()`, which this half listens in on. */
  readonly worker: Worker;
  /** Resolves when the guest has ended, and never rejects. */
  readonly outcome: Promise<Outcome<void, Span>>;
}

/**
 * Start a Web Worker whose `connect()` sends to `receiver`, and settle the receiver when the guest has ended and all that it sent
 * has been taken in: `self.close()` and `disconnect()` in the guest commit; what nobody catches there, a script that does not load
 * and `worker.terminate()` roll back. So does a worker that floods the tunnel or breaks its ring ("transport_failed", "malformed"). A
 * worker that just has nothing left to do is not seen to end by anybody.
 *
 * @param start URL of a module, or a function that makes the worker and gives it `name`, which the tunnel needs: bundlers want to
 *   see `new Worker(new URL("./guest.ts", import.meta.url), { type: "module", name })`
 * @throws TunnelError "transport_failed": a ring is wanted in a page that has no shared memory
 */
export function traceWorker<Span>(
  start: string | URL | ((name: string) => Worker),
  receiver: TracingEventReceiver<Span>,
  options: TraceWorkerOptions = {},
): TracedWorker<Span> {
  const { ring, pump, ...workerOptions } = options;
  if (ring !== undefined && typeof SharedArrayBuffer === "undefined") {
    throw new TunnelError("transport_failed", "a ring needs SharedArrayBuffer, which this page would have if it were isolated");
  }
  const name = nameWithLink(options.name ?? "", { control: receiver.control(), traceContext: receiver.traceContext, ring });
  const worker = typeof start === "function" ? start(name) : new Worker(start, { type: "module", ...workerOptions, name });
  const run = new PortRun(receiver, pump);

  worker.addEventListener("message", (event) => {
    const [port] = event.ports;
    if (typeOf(event.data) !== "connect" || port === undefined) return;
    event.stopImmediatePropagation();
    run.connect(port, (event.data as { readonly ring?: unknown }).ring);
  });
  worker.addEventListener("error", (event) => {
    // It is told in the outcome.
    event.preventDefault();
    // The guest tells more, on a way of its own; what does not load tells nothing.
    const message = event.message === undefined || event.message === "" ? "the worker does not load" : event.message;
    run.uncaught(event.error ?? new Error(message));
  });
  const terminate = worker.terminate.bind(worker);
  worker.terminate = () => {
    terminate();
    run.failSoon(new Error("the worker was terminated"));
  };
  return { worker, outcome: run.outcome };
}
