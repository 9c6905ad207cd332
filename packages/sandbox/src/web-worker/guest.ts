import { growingBatches, TracingEventSender } from "@spanduct/sender";
import { createRing, ringSender } from "@spanduct/transport/ring";
import type { ConnectOptions } from "../guest-sender.ts";
import { GuestEnd, type GuestTunnel } from "../web-port/guest-end.ts";
import { Line } from "../web-port/line.ts";
import type { Greeting } from "../web-port/messages.ts";
import { LAST_WORDS_MS, type WorkerRingOptions } from "../worker/ring.ts";
import { linkOf } from "./link.ts";

/** The global scope of a worker. Registered, so that copies of this module share one end. */
interface WorkerScope {
  readonly name?: unknown;
  postMessage(message: Greeting, transfer: readonly Transferable[]): void;
  close(): void;
  [END]?: GuestEnd | undefined;
}

const END: unique symbol = Symbol.for("@spanduct/sandbox/web-worker") as never;

/**
 * The sender of this worker; the same one at every call, with the options of the first. Its clock is `performance`. From the first
 * call on, `self.close()` is the end of the guest: what is batched is delivered and the host commits. In a worker that no
 * `traceWorker` has started, a sender that is off.
 *
 * What nobody catches, be it an error or a promise, ends the guest as well: the host rolls back, unless a listener of the worker's
 * has called `preventDefault()`. The worker goes on, but no longer traced.
 */
export function connect(options: ConnectOptions = {}): TracingEventSender {
  const scope = globalThis as unknown as WorkerScope;
  scope[END] ??= open(scope, options);
  return scope[END]?.tracing ?? new TracingEventSender(() => undefined, { maxLevel: "off" });
}

/**
 * The guest has come to its end, and the worker goes on: what is batched is delivered, the host commits, and what is traced
 * afterwards goes nowhere.
 */
export function disconnect(): void {
  (globalThis as unknown as WorkerScope)[END]?.end();
}

function open(scope: WorkerScope, options: ConnectOptions): GuestEnd | undefined {
  const link = linkOf(scope.name);
  if (link === undefined) return undefined;
  const hasRing = link.ring !== undefined && typeof SharedArrayBuffer !== "undefined";
  const tunnel = hasRing ? throughRing(scope, link.ring) : throughPort(scope);
  const end = new GuestEnd(tunnel, options);
  end.begin(link.control, link.traceContext);
  const { close } = scope;
  scope.close = () => {
    end.end();
    close.call(scope);
  };
  return end;
}

function throughPort(scope: WorkerScope): GuestTunnel {
  return new Line({ offer: (port) => scope.postMessage({ spanduct: "connect" }, [port]) });
}

function throughRing(scope: WorkerScope, { capacity, waitMs = 0 }: WorkerRingOptions): GuestTunnel {
  const memory = createRing(capacity);
  const ring = ringSender(memory, { waitMs });
  const { port1, port2 } = new MessageChannel();
  scope.postMessage({ spanduct: "connect", ring: memory }, [port2]);
  return {
    output: growingBatches(ring),
    note: (note) => port1.postMessage(note),
    lastWords() {
      ring.waitMs = Math.max(waitMs, LAST_WORDS_MS);
    },
  };
}
