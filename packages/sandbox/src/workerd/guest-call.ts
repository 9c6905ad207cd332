import { batches, millisecondClock, propagate, type SenderOptions, TracingEventSender } from "@spanduct/sender";
import { toPlainError } from "../plain-error.ts";
import { AsyncCalls } from "./async-calls.ts";
import type { Greeting, Tell } from "./link.ts";

/** How the sender of a call is set up. */
export interface GuestCallOptions extends Pick<SenderOptions, "target" | "maxLevel"> {
  /** Bytes that may be on their way: sent, and not yet answered by the host. What is more is dropped, and counted. Default 4 MiB. */
  readonly maxInFlightBytes?: number;
}

const DEFAULT_MAX_IN_FLIGHT_BYTES = 4 * 1024 * 1024;

/** A guest's side of one call. */
export class GuestCall {
  readonly tracing: TracingEventSender;
  readonly #tell: Tell;
  readonly #calls: AsyncCalls;
  /** Takes batches that are not to be sent. */
  #kept: Uint8Array[] | undefined;

  constructor({ control, traceContext }: Greeting, tell: Tell, options: GuestCallOptions) {
    this.#tell = tell;
    const { maxInFlightBytes = DEFAULT_MAX_IN_FLIGHT_BYTES } = options;
    this.#calls = new AsyncCalls(tell, (word) => this.tracing.control(word), maxInFlightBytes);
    const output = batches((batch) => {
      if (this.#kept === undefined) this.#calls.send(batch);
      else this.#kept.push(batch.slice());
    });
    this.tracing = new TracingEventSender(output, { clock: millisecondClock(() => Date.now(), "frozen"), ...options });
    this.tracing.control(control);
    propagate(this.tracing, traceContext);
  }

  /** What is batched, when everything before it has arrived. */
  async last(): Promise<readonly Uint8Array[]> {
    await this.#calls.idle();
    const kept: Uint8Array[] = [];
    this.#kept = kept;
    this.tracing.flush();
    this.#kept = undefined;
    return kept;
  }

  /** Resolves when everything has arrived. */
  async flushed(): Promise<void> {
    this.tracing.flush();
    await this.#calls.idle();
  }

  /** The call ends with an error, which the host is told of after everything else. */
  async failed(error: unknown): Promise<void> {
    await this.flushed();
    try {
      await this.#tell(toPlainError(error));
    } catch {
      // The host is gone, or sees that the call ends in some other way.
    }
  }
}
