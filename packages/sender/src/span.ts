import type { Values } from "./convert.ts";
import type { Emitter, SiteState } from "./emitter.ts";

/**
 * One handle on a span. A span that the level filter keeps back has the same methods, which then do nothing. Handles do not
 * close by themselves: call `close`, or use `using`.
 */
export class Span<Field extends string = string> {
  /** Number of the span in this guest, from 1; `undefined` when it is filtered or closed. */
  id: number | undefined;
  readonly #emitter: Emitter;
  readonly #site: SiteState;
  #entered: boolean;

  /** Made by `SpanCallSite`. */
  constructor(emitter: Emitter, site: SiteState, id: number | undefined, entered: boolean) {
    this.#emitter = emitter;
    this.#site = site;
    this.id = id;
    this.#entered = entered;
  }

  /** What follows happens in this span, until `exit`. */
  enter(): void {
    if (this.id === undefined) return;
    this.#entered = true;
    this.#emitter.ofSpan("spanEntered", this.id);
  }

  exit(): void {
    if (this.id === undefined) return;
    this.#entered = false;
    this.#emitter.ofSpan("spanExited", this.id);
  }

  /** Add values, or replace those given before. */
  record(values: Values<Field>): void {
    if (this.id !== undefined) this.#emitter.record(this.#site, this.id, this.#emitter.convert(this.#site, values));
  }

  /** Say that `span` caused this one without enclosing it. */
  followsFrom(span: Span): void {
    if (this.id !== undefined && span.id !== undefined) this.#emitter.followsFrom(this.id, span.id);
  }

  /** One more handle; the span closes when all of them are closed. */
  clone(): Span<Field> {
    if (this.id !== undefined) this.#emitter.ofSpan("spanCloned", this.id);
    return new Span(this.#emitter, this.#site, this.id, false);
  }

  /** Run `run` inside of the span. The span stays open. */
  inScope<T>(run: () => T): T {
    this.enter();
    try {
      return run();
    } finally {
      this.exit();
    }
  }

  /** Give the handle up; the last one closes the span. Exits it first where this handle has entered it. */
  close(): void {
    if (this.id === undefined) return;
    this.#emitter.dropSpan(this.id, this.#entered);
    this.id = undefined;
  }

  /** `close`, for `using`. Where the runtime has no `Symbol.dispose`, nothing can call it. */
  [Symbol.dispose](): void {
    this.close();
  }
}
