import type { Context, ContextManager, Span, SpanOptions, Tracer, TracerProvider } from "@opentelemetry/api";
import type { TracingEventSender } from "../sender.ts";
import { AttributeSites } from "./attribute-sites.ts";
import { isSuppressed, spanOf, withSpan } from "./context.ts";
import { targetOf } from "./scope.ts";
import { StackContextManager } from "./stack-context-manager.ts";
import { LEVEL, type SpanSetup, TunnelSpan } from "./tunnel-span.ts";

/** How a tracer provider is set up. */
export interface TunnelTracerProviderOptions {
  /** What is registered with the API for contexts, where that is not the provider's own `contextManager`. */
  readonly contextManager?: ContextManager;
}

/**
 * The guest as OpenTelemetry's tracing: once it is registered with the API, libraries that are instrumented with that send their
 * spans through the tunnel. Spans are of level `info`.
 */
export class TunnelTracerProvider implements TracerProvider {
  /** Where the active context comes from; to be registered with the API as well. */
  readonly contextManager: ContextManager;
  readonly #sites: AttributeSites;
  readonly #open: Set<number> = new Set();

  constructor(sender: TracingEventSender, options: TunnelTracerProviderOptions = {}) {
    this.contextManager = options.contextManager ?? new StackContextManager();
    this.#sites = new AttributeSites(sender.emitter);
  }

  /** @param name with `version` the target of its call sites: `name@version` */
  getTracer(name: string, version?: string): Tracer {
    const sites = this.#sites;
    const target = targetOf(name, version);
    const setup: SpanSetup = {
      sites,
      spans: sites.scope("span", LEVEL, target),
      events: sites.scope("event", LEVEL, target),
      exceptions: sites.scope("event", "warn", target),
      open: this.#open,
    };
    return new TunnelTracer(setup, this.contextManager);
  }
}

class TunnelTracer implements Tracer {
  readonly #setup: SpanSetup;
  readonly #contextManager: ContextManager;

  constructor(setup: SpanSetup, contextManager: ContextManager) {
    this.#setup = setup;
    this.#contextManager = contextManager;
  }

  startSpan(name: string, options?: SpanOptions, context?: Context): Span {
    const manager = this.#contextManager;
    const surroundings = context ?? manager.active();
    const parent = options?.root ? undefined : spanOf(surroundings);
    const span = new TunnelSpan(this.#setup, parent);
    if (isSuppressed(surroundings)) return span;
    // A new root does not belong to what is entered. Parents that are not ours are nobody's whom the host knows.
    const isRoot = !(parent instanceof TunnelSpan) && manager instanceof StackContextManager;
    span.start(name, options ?? {}, (open) => (isRoot ? manager.outside(open) : open()));
    return span;
  }

  startActiveSpan<F extends (span: Span) => unknown>(name: string, run: F): ReturnType<F>;
  startActiveSpan<F extends (span: Span) => unknown>(name: string, options: SpanOptions, run: F): ReturnType<F>;
  startActiveSpan<F extends (span: Span) => unknown>(name: string, options: SpanOptions, context: Context, run: F): ReturnType<F>;
  startActiveSpan<F extends (span: Span) => ReturnType<F>>(name: string, ...rest: unknown[]): ReturnType<F> {
    const run = rest.pop() as F;
    const [options, context] = rest as [SpanOptions?, Context?];
    const surroundings = context ?? this.#contextManager.active();
    const span = this.startSpan(name, options, surroundings);
    return this.#contextManager.with(withSpan(surroundings, span), run, undefined, span);
  }
}
