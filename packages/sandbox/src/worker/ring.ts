import type { RingSenderOptions } from "@spanduct/transport/ring";

/** How the ring of a worker is set up. `{}` takes the defaults. */
export interface WorkerRingOptions extends RingSenderOptions {
  /** Bytes of events that may wait for the host, rounded up to a power of two from 64 B to 64 MiB. Default 1 MiB. */
  readonly capacity?: number;
}

/** How long a guest that ends waits at least for room in its ring, while the host goes on reading. */
export const LAST_WORDS_MS = 1000;
