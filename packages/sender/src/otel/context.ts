import type { Context, Span } from "@opentelemetry/api";

// The API makes the same key of the same description, so these are its own.
const SPAN_KEY = Symbol.for("OpenTelemetry Context Key SPAN");
const SUPPRESSED_KEY = Symbol.for("OpenTelemetry SDK Context Key SUPPRESS_TRACING");

/** What `trace.getSpan` of the API returns. */
export function spanOf(context: Context): Span | undefined {
  return context.getValue(SPAN_KEY) as Span | undefined;
}

/** What `trace.setSpan` of the API returns. */
export function withSpan(context: Context, span: Span): Context {
  return context.setValue(SPAN_KEY, span);
}

/** Whether `suppressTracing` of `@opentelemetry/core` made it. */
export function isSuppressed(context: Context): boolean {
  return context.getValue(SUPPRESSED_KEY) === true;
}

/** As the API's own contexts, which are values that this module would have to import. */
export class MapContext implements Context {
  readonly #values: ReadonlyMap<symbol, unknown>;

  constructor(values: Iterable<readonly [symbol, unknown]> = []) {
    this.#values = new Map(values);
  }

  getValue(key: symbol): unknown {
    return this.#values.get(key);
  }

  setValue(key: symbol, value: unknown): Context {
    return new MapContext([...this.#values, [key, value]]);
  }

  deleteValue(key: symbol): Context {
    return new MapContext([...this.#values].filter(([known]) => known !== key));
  }
}
