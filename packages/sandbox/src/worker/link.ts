import type { MessagePort } from "node:worker_threads";
import type { TraceContext } from "@spanduct/protocol";
import type { TracingEventSender } from "@spanduct/sender";

/** A ring, made by the host. */
export interface RingLink {
  readonly memory: Uint8Array;
  /** As in `RingSenderOptions`. */
  readonly waitMs: number;
}

/** What the host puts into the guest's `workerData` under the key `spanduct`. */
export interface WorkerLink {
  /** The guest's end of the tunnel, unless that is a ring. */
  readonly port?: MessagePort;
  readonly ring?: RingLink;
  /** Where the guest describes what was thrown that nobody caught, because not every runtime passes on all of it. */
  readonly thrown: MessagePort;
  /** Control word to begin with. */
  readonly control: number;
  readonly traceContext: TraceContext | undefined;
  /** The guest's sender, once somebody asked for it. */
  sender?: TracingEventSender;
}
