import { type Context, createContextKey, isSpanContextValid, type Span, type SpanContext, trace } from "@opentelemetry/api";

/**
 * The context that a span is the active one of, made when somebody looks into it: most processors and samplers never do, and a
 * context costs as much as a small span. The span is not asked for earlier either.
 */
export class ParentContext implements Context {
  readonly base: Context;
  readonly #span: () => Span;
  #made: Context | undefined;

  constructor(base: Context, span: () => Span) {
    this.base = base;
    this.#span = span;
  }

  getValue(key: symbol): unknown {
    return this.#context.getValue(key);
  }

  setValue(key: symbol, value: unknown): Context {
    return this.#context.setValue(key, value);
  }

  deleteValue(key: symbol): Context {
    return this.#context.deleteValue(key);
  }

  get #context(): Context {
    this.#made ??= trace.setSpan(this.base, this.#span());
    return this.#made;
  }
}

/** Who the active span of a context is, if it has a valid one. */
export function contextOf(context: Context | undefined): SpanContext | undefined {
  const identity = context === undefined ? undefined : trace.getSpanContext(context);
  return identity !== undefined && isSpanContextValid(identity) ? identity : undefined;
}

/** Whether this is a context rather than the identity of a span. */
export function isContext(parent: Context | SpanContext): parent is Context {
  return typeof (parent as Partial<Context>).getValue === "function";
}

// The API gives the same key for the same description.
const SUPPRESS_TRACING = "OpenTelemetry SDK Context Key SUPPRESS_TRACING";

/** Whether the host asked for silence in this context (`suppressTracing` of `@opentelemetry/core`). */
export function isTracingSuppressed(context: Context): boolean {
  return context.getValue(createContextKey(SUPPRESS_TRACING)) === true;
}

/** The context with silence asked for, for what exporters do. */
export function suppressTracing(context: Context): Context {
  return context.setValue(createContextKey(SUPPRESS_TRACING), true);
}
