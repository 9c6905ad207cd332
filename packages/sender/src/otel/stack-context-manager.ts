import type { Context, ContextManager } from "@opentelemetry/api";
import { MapContext, spanOf } from "./context.ts";
import { TunnelSpan } from "./tunnel-span.ts";

/**
 * Follows the active context through synchronous code. The span that is active is entered, so that what the sender's own API
 * traces meanwhile belongs to it. After an `await` the active context is that of whoever runs next: give it explicitly there.
 */
export class StackContextManager implements ContextManager {
  #active: Context = new MapContext();
  /** Outermost first. */
  readonly #entered: TunnelSpan[] = [];

  active(): Context {
    return this.#active;
  }

  with<A extends unknown[], F extends (...args: A) => ReturnType<F>>(
    context: Context,
    run: F,
    thisArg?: ThisParameterType<F>,
    ...args: A
  ): ReturnType<F> {
    const token = this.attach(context);
    try {
      return run.apply(thisArg, args);
    } finally {
      token.dispose();
    }
  }

  /** Make `context` the active one until the token is disposed of, and with it those attached after it. */
  attach(context: Context): { dispose(): void } {
    const outer = this.#active;
    const depth = this.#entered.length;
    const span = spanOf(context);
    this.#active = context;
    if (span instanceof TunnelSpan) {
      this.#entered.push(span);
      span.enter();
    }
    return {
      dispose: () => {
        this.#active = outer;
        this.#leave(depth);
      },
    };
  }

  /** A function that runs in `context`. Anything else than a function is returned as it is. */
  bind<T>(context: Context, target: T): T {
    if (typeof target !== "function") return target;
    const manager = this;
    return function (this: unknown, ...args: unknown[]): unknown {
      return manager.with(context, () => target.apply(this, args) as unknown);
    } as T;
  }

  enable(): this {
    return this;
  }

  /** Go back to the root context. */
  disable(): this {
    this.#active = new MapContext();
    this.#leave(0);
    return this;
  }

  /** @internal Do `open` while no span is entered here. */
  outside(open: () => void): void {
    const entered = [...this.#entered];
    for (const span of entered.reverse()) span.exit();
    open();
    for (const span of this.#entered) span.enter();
  }

  #leave(depth: number): void {
    for (const span of this.#entered.splice(depth).reverse()) span.exit();
  }
}
