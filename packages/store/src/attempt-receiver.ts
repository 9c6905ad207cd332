import type { PersistedSpans } from "@spanduct/protocol";
import { type LocalSpans, TracingEventReceiver } from "@spanduct/receiver";

/**
 * A receiver that knows what became of it: the host halves of `@spanduct/sandbox` settle the receiver themselves, and whoever commits
 * the attempt has to know.
 */
export class AttemptReceiver<Span> extends TracingEventReceiver<Span> {
  #spans: PersistedSpans | undefined;
  #isSettled = false;

  /** What it was persisted as; `undefined` when it was not. */
  get spans(): PersistedSpans | undefined {
    return this.#spans;
  }

  /** Whether it was persisted or disposed of. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  override persist(): { spans: PersistedSpans; localSpans: LocalSpans<Span> } {
    const persisted = super.persist();
    this.#spans = persisted.spans;
    this.#isSettled = true;
    return persisted;
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.#isSettled = true;
  }
}
