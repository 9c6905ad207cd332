import { type CallSiteData, type Level, LevelNumber } from "@spanduct/protocol";
import { thrown, type Values } from "./convert.ts";
import type { Emitter, SiteState } from "./emitter.ts";
import { Span } from "./span.ts";

/** How a call site is declared. */
export interface CallSiteOptions<Field extends string = never> {
  readonly name: string;
  /** Default `info`. */
  readonly level?: Level;
  /** The part of the system it belongs to; OpenTelemetry's instrumentation scope. Default: the sender's. */
  readonly target?: string;
  /** Names of the values that its spans or events may carry; only these travel. At most 32 in one record. Default none. */
  readonly fields?: readonly Field[];
  /** Path of the module. */
  readonly modulePath?: string;
  readonly file?: string;
  /** From 1. */
  readonly line?: number;
}

/** One place that opens spans. */
export class SpanCallSite<Field extends string = never> {
  readonly #emitter: Emitter;
  readonly #site: SiteState;
  #errors: EventCallSite<"error"> | undefined;

  /** Made by `TracingEventSender.span`. */
  constructor(emitter: Emitter, target: string, options: CallSiteOptions<Field>) {
    this.#emitter = emitter;
    this.#site = declare(emitter, "span", target, options);
  }

  /** Whether its spans are sent at present. */
  get enabled(): boolean {
    return this.#emitter.wants(this.#site.level);
  }

  /** Open a span. @param parent the enclosing span; without one, the span that was entered last */
  start(values?: Values<Field>, parent?: Span): Span<Field> {
    return this.#open(values, parent, false);
  }

  /** Open a span and enter it: `using span = site.enter({ … })`. */
  enter(values?: Values<Field>, parent?: Span): Span<Field> {
    return this.#open(values, parent, true);
  }

  /**
   * Run `run` inside of a new span that closes when it is done, for a promise when that is settled. What it throws is recorded
   * as an event of level error and passed on. After an `await` name the span as explicit parent: others may be entered by then.
   */
  run<T>(values: Values<Field> | undefined, run: (span: Span<Field>) => T): T {
    const span = this.enter(values);
    let result: T;
    try {
      result = run(span);
    } catch (error) {
      this.#fail(span, error);
      throw error;
    }
    if (!isThenable(result)) {
      span.close();
      return result;
    }
    span.exit();
    return result.then(
      (value) => {
        span.close();
        return value;
      },
      (error) => {
        this.#fail(span, error);
        throw error;
      },
    ) as T;
  }

  /** A function like `original` whose every call is run inside of a span of its own, see `run`. */
  instrument<This, Args extends unknown[], T>(
    original: (this: This, ...args: Args) => T,
    values?: (...args: Args) => Values<Field>,
  ): (this: This, ...args: Args) => T {
    const site = this;
    return function (this: This, ...args: Args): T {
      return site.run(site.enabled ? site.#values(values, args) : undefined, () => original.apply(this, args));
    };
  }

  #values<Args extends unknown[]>(values: ((...args: Args) => Values<Field>) | undefined, args: Args): Values<Field> | undefined {
    try {
      return values?.(...args);
    } catch {
      return undefined;
    }
  }

  #open(values: Values<Field> | undefined, parent: Span | undefined, enter: boolean): Span<Field> {
    const emitter = this.#emitter;
    const site = this.#site;
    const id = this.enabled ? emitter.newSpan(site, emitter.convert(site, values), parent?.id, enter) : undefined;
    return new Span(emitter, site, id, enter);
  }

  #fail(span: Span<Field>, error: unknown): void {
    if (span.id !== undefined) {
      const { data } = this.#site;
      this.#errors ??= new EventCallSite(this.#emitter, data.target, { name: "exception", level: "error", fields: ["error"] });
      this.#errors.emit({ error: thrown(error) }, span);
    }
    span.close();
  }
}

/** One place that emits events. */
export class EventCallSite<Field extends string = never> {
  readonly #emitter: Emitter;
  readonly #site: SiteState;

  /** Made by `TracingEventSender.event`. */
  constructor(emitter: Emitter, target: string, options: CallSiteOptions<Field>) {
    this.#emitter = emitter;
    this.#site = declare(emitter, "event", target, options);
  }

  /** Whether its events are sent at present. */
  get enabled(): boolean {
    return this.#emitter.wants(this.#site.level);
  }

  /** Emit an event. @param parent the span it belongs to; without one, the span that was entered last */
  emit(values?: Values<Field>, parent?: Span): void {
    if (this.enabled) this.#emitter.newEvent(this.#site, this.#emitter.convert(this.#site, values), parent?.id);
  }
}

function declare(emitter: Emitter, kind: CallSiteData["kind"], target: string, options: CallSiteOptions<string>): SiteState {
  const { name, level = "info", fields = [], modulePath, file, line } = options;
  const data: CallSiteData = {
    kind,
    name,
    target: options.target ?? target,
    level,
    ...(modulePath !== undefined && { module_path: modulePath }),
    ...(file !== undefined && { file }),
    ...(line !== undefined && { line }),
    fields: [...fields],
  };
  return emitter.newSite(data, LevelNumber[level]);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  try {
    return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
  } catch {
    return false;
  }
}
