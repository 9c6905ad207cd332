import { controlWord, type TraceContext } from "@spanduct/protocol";
import type { SenderOutput, TracingEventSender } from "@spanduct/sender";
import { beginRun, type ConnectOptions, guestSender } from "../guest-sender.ts";
import { toPlainError } from "../plain-error.ts";
import type { LastWord, Note } from "./messages.ts";

const OFF = controlWord(0, false);

/** What a guest speaks to its host through. */
export interface GuestTunnel {
  readonly output: SenderOutput;
  /** What is sent from now on goes through also to a host that is behind with reading. */
  lastWords(): void;
  note(note: Note): void;
}

/** Guest's side of the tunnel in a realm of the web's. */
export class GuestEnd {
  readonly tracing: TracingEventSender;
  readonly #tunnel: GuestTunnel;
  /** What was thrown and not caught, until it is known whether a listener of the application's took care of it. */
  readonly #thrown: Event[] = [];
  #hasEnded = false;

  constructor(tunnel: GuestTunnel, options: ConnectOptions) {
    this.#tunnel = tunnel;
    this.tracing = guestSender(tunnel.output, { isWatched: true, ...options });
    addEventListener("error", (event) => this.#onThrown(event, event.error ?? event.message));
    addEventListener("unhandledrejection", (event) => this.#onThrown(event, event.reason));
  }

  /** What the host says first. */
  begin(control: number, traceContext: TraceContext | undefined): void {
    if (!this.#hasEnded) beginRun(this.tracing, control, traceContext);
  }

  /** The guest has come to its end, and well unless something was thrown. What is traced afterwards goes nowhere. */
  end(): void {
    this.#failed();
    this.#tellLast({ spanduct: "done" });
  }

  /** The guest's page is being left. */
  leave(): void {
    this.#failed();
    this.#tellLast({ spanduct: "gone" });
  }

  #onThrown(event: Event, error: unknown): void {
    if (this.#hasEnded) return;
    this.#thrown.push(event);
    this.tracing.flush();
    this.#tunnel.note({ spanduct: "thrown", error: toPlainError(error) });
    // Once all listeners have had the event.
    setTimeout(() => this.#failed());
  }

  #failed(): void {
    if (this.#thrown.splice(0).some((event) => !event.defaultPrevented)) this.#tellLast({ spanduct: "failed" });
  }

  #tellLast(word: LastWord): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#tunnel.lastWords();
    this.tracing.flush();
    this.#tunnel.note(word);
    this.tracing.control(OFF);
  }
}
