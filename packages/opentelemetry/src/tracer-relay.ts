import { type Tracer, type TracerProvider, trace } from "@opentelemetry/api";
import type { Relay } from "@spanduct/receiver";
import { type AttemptOptions, type PlacementOptions, resolveAttempt } from "./attempt-options.ts";
import { CallSitePlans } from "./call-site.ts";
import { type HostClock, systemClock } from "./clock.ts";
import { resolveSpanLimits } from "./limits.ts";
import { PerTarget } from "./per-target.ts";
import type { Logger, LoggerProvider } from "./sdk.ts";
import { TracerExecution } from "./tracer-execution.ts";
import type { TracerSpan } from "./tracer-span.ts";

/** What a `TracerRelay` is made with. */
export interface TracerRelayOptions extends AttemptOptions {
  /** Makes every span, in its own instrumentation scope; the guest's target becomes the attribute `target`. */
  readonly tracer?: Tracer;
  /** Gives a tracer for each of the guest's targets. Default: `trace.getTracerProvider()` when the first span opens. */
  readonly tracerProvider?: TracerProvider;
  /** Where log records go: the SDK's `LoggerProvider`. Default: there are none. */
  readonly loggerProvider?: LoggerProvider;
  /** Stamps what has no time. Default: the system's time of day, with the resolution of `performance.now()`. */
  readonly clock?: HostClock;
}

/**
 * Relay to OpenTelemetry for hosts that have a tracer but not their span processors. The tracer chooses ids, so a span that another
 * process left open goes on as a new one that is linked to it. One for a process; each receiver gets an `execution()` of its own.
 */
export class TracerRelay {
  readonly #options: TracerRelayOptions;
  readonly #plans: CallSitePlans;
  readonly #tracers: PerTarget<Tracer> | undefined;
  readonly #loggers: PerTarget<Logger> | undefined;
  readonly #clock: HostClock;

  constructor(options: TracerRelayOptions = {}) {
    const { tracer, tracerProvider, loggerProvider, clock } = options;
    const none = Number.POSITIVE_INFINITY;
    this.#options = options;
    // The tracer has limits of its own.
    this.#plans = new CallSitePlans(
      resolveSpanLimits({ attributeCountLimit: none, attributePerEventCountLimit: none, attributeValueLengthLimit: none }),
    );
    this.#tracers =
      tracer === undefined ? new PerTarget((scope) => (tracerProvider ?? trace.getTracerProvider()).getTracer(scope)) : undefined;
    this.#loggers = loggerProvider && new PerTarget((scope) => loggerProvider.getLogger(scope));
    this.#clock = clock ?? systemClock();
  }

  /**
   * The relay of one attempt, for one receiver.
   *
   * @throws TypeError for `events` "log" or "both" without a `loggerProvider`
   */
  execution(options: AttemptOptions & PlacementOptions = {}): Relay<TracerSpan> {
    const { tracer } = this.#options;
    const tracers = this.#tracers;
    return new TracerExecution({
      ...resolveAttempt({ ...this.#options, ...options }, this.#loggers !== undefined),
      plans: this.#plans,
      loggers: this.#loggers,
      clock: this.#clock,
      tracerFor: (target) => {
        if (tracers === undefined) return { tracer: tracer as Tracer, isCommon: true };
        return { tracer: tracers.get(target), isCommon: tracers.isCommon(target) };
      },
    });
  }
}

/** A `TracerRelay`. */
export function tracerRelay(options: TracerRelayOptions = {}): TracerRelay {
  return new TracerRelay(options);
}
