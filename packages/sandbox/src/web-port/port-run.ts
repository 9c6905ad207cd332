import { controlWord, DecodeError } from "@spanduct/protocol";
import type { TracingEventReceiver } from "@spanduct/receiver";
import type { Pump } from "@spanduct/transport";
import { messagePortReceiver } from "@spanduct/transport/message-port";
import { ringReceiver } from "@spanduct/transport/ring";
import { commit, type Outcome, rollBack } from "../outcome.ts";
import { fromPlainError } from "../plain-error.ts";
import { typeOf } from "./messages.ts";

const OFF = controlWord(0, false);
/** A guest that has ended is taken to have no more on its way after so many turns without a message. */
const QUIET_TURNS = 4;
/** One that has not ended at all may go on for so many. */
const MAX_TURNS = 40;
const TURN_MS = 25;

/** Where a run's batches come in. */
interface HostTunnel {
  drain(): Promise<void>;
  close(): void;
}

/** Host's side of one run of a guest that brings a port. Settles the receiver once. */
export class PortRun<Span> {
  /** Never rejects. */
  readonly outcome: Promise<Outcome<void, Span>>;
  readonly #receiver: TracingEventReceiver<Span>;
  #resolve!: (outcome: Outcome<void, Span>) => void;
  #port: MessagePort | undefined;
  #tunnel: HostTunnel | undefined;
  readonly #pump: { readonly pump?: Pump };
  /** Messages that have come. */
  #heard = 0;
  /** What was thrown last. */
  #thrown: Error | undefined;
  #isEnding = false;

  constructor(receiver: TracingEventReceiver<Span>, pump: Pump | undefined) {
    this.#receiver = receiver;
    this.#pump = pump === undefined ? {} : { pump };
    this.outcome = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  get isConnected(): boolean {
    return this.#port !== undefined;
  }

  /**
   * Take what comes from the guest's port. Only the first one counts.
   *
   * @param ring where the batches are if they do not come through the port; anything, as the guest gave it
   */
  connect(port: MessagePort, ring?: unknown): void {
    if (this.#port !== undefined || this.#isEnding) return port.close();
    this.#port = port;
    port.addEventListener("message", (event) => {
      // Not every runtime drops what is queued when a port is closed.
      if (this.#isEnding) return event.stopImmediatePropagation();
      this.#heard++;
      this.#onMessage(event.data);
    });
    const receiver = this.#receiver;
    const onBatch = (bytes: Uint8Array): number => receiver.receiveBatch(bytes);
    const onFailure = (error: unknown): void => void this.#end({ error });
    if (ring === undefined) {
      this.#tunnel = messagePortReceiver(port, onBatch, { onFailure, ...this.#pump });
      return;
    }
    port.start();
    try {
      if (!isSharedView(ring)) throw new DecodeError("malformed", "the guest's ring is no shared memory", 0);
      this.#tunnel = ringReceiver(ring, onBatch, { control: () => receiver.control(), onFailure, ...this.#pump });
    } catch (error) {
      onFailure(error);
    }
  }

  /** The guest is at an end, and what it has posted may be on its way still; if that says so, it came to its end before `error`. */
  async failSoon(error: unknown): Promise<void> {
    await this.#quiet();
    await this.#end({ error });
  }

  /** As `failSoon`, where it was something that nobody caught; the guest knows more of it. */
  async uncaught(error: unknown): Promise<void> {
    await this.#quiet();
    await this.#end({ error: this.#thrown ?? error });
  }

  async #quiet(): Promise<void> {
    for (let turn = 0, quiet = 0; turn < MAX_TURNS && quiet < QUIET_TURNS && !this.#isEnding; turn++) {
      const heard = this.#heard;
      await new Promise((resolve) => setTimeout(resolve, TURN_MS));
      quiet = heard === this.#heard ? quiet + 1 : 0;
    }
  }

  #onMessage(message: unknown): void {
    const type = typeOf(message);
    if (type === "thrown") this.#thrown = fromPlainError((message as { readonly error?: unknown }).error);
    else if (type === "done") this.#end();
    else if (type === "failed") this.#end({ error: this.#thrown });
    else if (type === "gone") this.#end({ error: new Error("the guest's page was left") });
  }

  async #end(failure?: { readonly error: unknown }): Promise<void> {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.#port?.postMessage(OFF);
    // Not the tunnel, which still has to handle what has arrived.
    this.#port?.close();
    await this.#tunnel?.drain();
    this.#tunnel?.close();
    this.#resolve(failure === undefined ? commit(this.#receiver, undefined) : rollBack(this.#receiver, failure.error));
  }
}

/** Not `instanceof` of the buffer's: where pages are not isolated there is no such class. */
function isSharedView(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && Object.prototype.toString.call(value.buffer) === "[object SharedArrayBuffer]";
}
