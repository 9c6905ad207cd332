import { controlWord, type TraceContext } from "@spanduct/protocol";
import { batches, captureConsole, performanceClock, propagate, TracingEventSender } from "@spanduct/sender";
import type { ConnectOptions } from "../worker/guest.ts";
import type { Line } from "./line.ts";
import type { LastWord } from "./messages.ts";
import { toPlainError } from "./plain-error.ts";

const OFF = controlWord(0, false);

/** Guest's side of the tunnel in a realm of the web's. */
export class GuestEnd {
  readonly tracing: TracingEventSender;
  readonly #line: Line;
  /** What was thrown and not caught, until it is known whether a listener of the application's took care of it. */
  readonly #thrown: Event[] = [];
  #hasEnded = false;

  constructor(line: Line, { captureConsole: capture, ...options }: ConnectOptions) {
    this.#line = line;
    // The last batch goes through also to a host that is behind with reading.
    const output = batches((batch) => (this.#hasEnded ? line.sendAnyway(batch) : line.send(batch)));
    this.tracing = new TracingEventSender(output, { clock: performanceClock(performance), isWatched: true, ...options });
    if (capture === true) captureConsole(this.tracing, console);
    addEventListener("error", (event) => this.#onThrown(event, event.error ?? event.message));
    addEventListener("unhandledrejection", (event) => this.#onThrown(event, event.reason));
  }

  /** What the host says first. */
  begin(control: number, traceContext: TraceContext | undefined): void {
    if (this.#hasEnded) return;
    this.tracing.control(control);
    propagate(this.tracing, traceContext);
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
    this.#line.note({ spanduct: "thrown", error: toPlainError(error) });
    // Once all listeners have had the event.
    setTimeout(() => this.#failed());
  }

  #failed(): void {
    if (this.#thrown.splice(0).some((event) => !event.defaultPrevented)) this.#tellLast({ spanduct: "failed" });
  }

  #tellLast(word: LastWord): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.tracing.flush();
    this.#line.note(word);
    this.tracing.control(OFF);
  }
}
