import type { TracingEventReceiver } from "@spanduct/receiver";
import type { Outcome } from "../outcome.ts";
import { typeOf } from "../web-port/messages.ts";
import { PortRun } from "../web-port/port-run.ts";
import { nameWithLink } from "./link.ts";

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
 * and `worker.terminate()` roll back. A worker that just has nothing left to do is not seen to end by anybody.
 *
 * @param start URL of a module, or a function that makes the worker and gives it `name`, which the tunnel needs: bundlers want to
 *   see `new Worker(new URL("./guest.ts", import.meta.url), { type: "module", name })`
 * @param options of the `Worker`, whose `type` is `module` by default. To `name` the tunnel adds what the guest has to know
 */
export function traceWorker<Span>(
  start: string | URL | ((name: string) => Worker),
  receiver: TracingEventReceiver<Span>,
  options: WorkerOptions = {},
): TracedWorker<Span> {
  const name = nameWithLink(options.name ?? "", {
    control: receiver.control(),
    traceContext: receiver.traceContext,
  });
  const worker = typeof start === "function" ? start(name) : new Worker(start, { type: "module", ...options, name });
  const run = new PortRun(receiver);

  worker.addEventListener("message", (event) => {
    const [port] = event.ports;
    if (typeOf(event.data) !== "connect" || port === undefined) return;
    event.stopImmediatePropagation();
    run.connect(port);
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
