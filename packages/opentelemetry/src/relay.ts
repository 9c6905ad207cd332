import type { Relay } from "@spanduct/receiver";
import { type AttemptOptions, type PlacementOptions, resolveAttempt } from "./attempt-options.ts";
import { CallSitePlans } from "./call-site.ts";
import { type HostClock, systemClock } from "./clock.ts";
import { defaultResource } from "./default-resource.ts";
import { Execution } from "./execution.ts";
import { AttemptIds, attemptKey, RolledBackSeeds, randomSeed } from "./identity.ts";
import { resolveSpanLimits, type SpanLimits } from "./limits.ts";
import { PerTarget } from "./per-target.ts";
import type { Logger, LoggerProvider, Resource, Sampler, SpanProcessor } from "./sdk.ts";
import type { GuestSpan, SpanSetup } from "./span.ts";

/** What an `OpenTelemetryRelay` is made with. */
export interface OpenTelemetryRelayOptions extends AttemptOptions {
  /** Told of every recorded span as the SDK would tell them. Flushing and shutting them down stays with the host. */
  readonly spanProcessors: readonly SpanProcessor[];
  /** Default: one that says `service.name` is `unknown_service`. */
  readonly resource?: Resource;
  /** Default: a span is sampled when its parent is, and when it has none. */
  readonly sampler?: Sampler;
  readonly spanLimits?: SpanLimits;
  /** Where log records go: the SDK's `LoggerProvider`. Default: there are none. */
  readonly loggerProvider?: LoggerProvider;
  /** Stamps what has no time. Default: the system's time of day, with the resolution of `performance.now()`. */
  readonly clock?: HostClock;
  /** Source of 64-bit seeds for attempts that are given none. Default: `crypto.getRandomValues`. */
  readonly random?: () => bigint;
}

/** What one attempt at an execution is made with. */
export interface ExecutionOptions extends AttemptOptions, PlacementOptions {
  /**
   * What span ids, and ids of new traces, are derived from: 64 bits; default random. With the same seed, the same events give the
   * same ids, so a backend that keeps one span per id sees work that is done again once. Use one seed for one step of one
   * execution and another for the next: guests may number their spans from the start again.
   */
  readonly seed?: bigint;
  /**
   * Which attempt with this `seed` it is, default 0; another number gives other ids. Needed where an attempt with the same seed was
   * rolled back in `immediate` mode by another process: part of it is out already. In one process the relay takes care itself.
   */
  readonly attempt?: number;
}

/**
 * Relay to OpenTelemetry that builds spans itself and drives span processors with them. One for a process; each receiver gets an
 * `execution()` of its own, so does each further attempt at the same execution.
 */
export class OpenTelemetryRelay {
  readonly #options: OpenTelemetryRelayOptions;
  readonly #spans: SpanSetup;
  readonly #plans: CallSitePlans;
  readonly #loggers: PerTarget<Logger> | undefined;
  readonly #random: () => bigint;
  readonly #rolledBack: RolledBackSeeds = new RolledBackSeeds();

  constructor(options: OpenTelemetryRelayOptions) {
    const { loggerProvider, resource, clock, random, spanLimits } = options;
    this.#options = options;
    const limits = resolveSpanLimits(spanLimits);
    this.#spans = { limits, resource: resource ?? defaultResource(), clock: clock ?? systemClock() };
    this.#plans = new CallSitePlans(limits);
    this.#loggers = loggerProvider && new PerTarget((scope) => loggerProvider.getLogger(scope));
    this.#random = random ?? randomSeed;
  }

  /**
   * The relay of one attempt, for one receiver.
   *
   * @throws TypeError for `events` "log" or "both" without a `loggerProvider`
   */
  execution(options: ExecutionOptions = {}): Relay<GuestSpan> {
    const { spanProcessors, sampler } = this.#options;
    const attemptSetup = resolveAttempt({ ...this.#options, ...options }, this.#loggers !== undefined);
    const { seed, attempt = 0 } = options;
    const retry = seed === undefined ? 0 : this.#rolledBack.count(seed, attempt);
    return new Execution({
      ...attemptSetup,
      spans: this.#spans,
      plans: this.#plans,
      processors: spanProcessors,
      sampler,
      loggers: this.#loggers,
      ids: new AttemptIds(attemptKey(seed ?? this.#random(), attempt, retry)),
      idsAfterRollback: seed === undefined ? undefined : () => new AttemptIds(attemptKey(this.#random(), 0, 0)),
      onRollback: () => {
        if (seed !== undefined && !attemptSetup.isTransactional) this.#rolledBack.add(seed, attempt);
      },
    });
  }
}
