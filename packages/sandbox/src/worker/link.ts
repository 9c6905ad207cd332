import type { MessagePort } from "node:worker_threads";
import type { TraceContext } from "@spanduct/protocol";
import type { TracingEventSender } from "@spanduct/sender";

/** What the host puts into the guest's `workerData` under the key `spanduct`. */
export interface WorkerLink {
  /** The guest's end of the tunnel. */
  readonly port: MessagePort;
  /** Control word to begin with. */
  readonly control: number;
  readonly traceContext: TraceContext | undefined;
  /** The guest's sender, once somebody asked for it. */
  sender?: TracingEventSender;
}
