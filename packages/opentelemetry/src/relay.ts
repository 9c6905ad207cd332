import { type Context, context, type Link, ROOT_CONTEXT, type SpanContext, trace } from "@opentelemetry/api";
import type { Relay } from "@spanduct/receiver";
import { CallSitePlans } from "./call-site.ts";
import { type HostClock, systemClock } from "./clock.ts";
import { Execution } from "./execution.ts";
import { AttemptIds, attemptKey, randomSeed, RolledBackSeeds } from "./identity.ts";
import { resolveSpanLimits, type SpanLimits } from "./limits.ts";
import { isContext } from "./parent-context.ts";
import { PerTarget } from "./per-target.ts";
import { defaultResource } from "./default-resource.ts";
import type { Logger, LoggerProvider, Resource, Sampler, SpanProcessor } from "./sdk.ts";
import type { GuestSpan, SpanSetup } from "./span.ts";

/** Where events go; see `OpenTelemetryRelayOptions.events`. */
export type EventMapping = "auto" | "span" | "log" | "both";

/** How an attempt is treated; the relay's options are the defaults of its executions'. */
export interface AttemptOptions {
  /**
   * Where a guest's events go. `span`: they become events of their span. `log`: log records. `both`: both. `auto`, the default:
   * `log` with a `loggerProvider`, else `span`. An event outside of all spans becomes a log record where there is a
   * `loggerProvider`, else an event of the host's own span, if that is recorded.
   */
  readonly events?: EventMapping;
  /**
   * `immediate`, the default: a span goes to the processors when it opens and when it closes, and a rollback closes and flags
   * what is open. `transactional`: all that an attempt does is held until it is committed.
   */
  readonly export?: "immediate" | "transactional";
  /**
   * What becomes of a rolled-back attempt that was held (`transactional`). `mark`, the default: it goes out flagged, spans with
   * the attribute `spanduct.rolled_back` and error status, log records with the attribute. `discard`: nothing of it goes out.
   */
  readonly rollback?: "mark" | "discard";
}

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
  /** Source of 64-bit seeds of attempts that are given none. Default: `crypto.getRandomValues`. */
  readonly random?: () => bigint;
}

/** What one attempt at an execution is made with. */
export interface ExecutionOptions extends AttemptOptions {
  /**
   * What the guest's root spans hang under. Default: `context.active()` at the call. `ROOT_CONTEXT` makes each a trace of its
   * own, which is for long workflows, best with a link to where they began.
   */
  readonly parent?: Context | SpanContext;
  /** Links that each of the guest's root spans gets. */
  readonly links?: readonly Link[];
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

  /** @throws TypeError for `events` "log" or "both" without a `loggerProvider` */
  constructor(options: OpenTelemetryRelayOptions) {
    const { loggerProvider, resource, clock, random, spanLimits } = options;
    this.#options = options;
    const limits = resolveSpanLimits(spanLimits);
    this.#spans = { limits, resource: resource ?? defaultResource(), clock: clock ?? systemClock() };
    this.#plans = new CallSitePlans(limits);
    this.#loggers = loggerProvider && new PerTarget((scope) => loggerProvider.getLogger(scope));
    this.#random = random ?? randomSeed;
    this.#eventMapping(options);
  }

  /**
   * The relay of one attempt, for one receiver.
   *
   * @throws TypeError for `events` "log" or "both" without a `loggerProvider`
   */
  execution(options: ExecutionOptions = {}): Relay<GuestSpan> {
    const { spanProcessors, sampler, export: exportMode = "immediate", rollback = "mark" } = { ...this.#options, ...options };
    const { seed, attempt = 0, links = [] } = options;
    const isTransactional = exportMode === "transactional";
    const retry = seed === undefined ? 0 : this.#rolledBack.count(seed, attempt);
    return new Execution({
      spans: this.#spans,
      plans: this.#plans,
      processors: spanProcessors,
      sampler,
      loggers: this.#loggers,
      ...this.#eventMapping(options),
      isTransactional,
      discards: rollback === "discard",
      context: parentContext(options.parent),
      links,
      ids: new AttemptIds(attemptKey(seed ?? this.#random(), attempt, retry)),
      idsAfterRollback: seed === undefined ? undefined : () => new AttemptIds(attemptKey(this.#random(), 0, 0)),
      onRollback: () => {
        if (seed !== undefined && !isTransactional) this.#rolledBack.add(seed, attempt);
      },
    });
  }

  #eventMapping({ events = this.#options.events ?? "auto" }: AttemptOptions): { toSpans: boolean; toLogs: boolean } {
    if (events === "auto") return { toSpans: this.#loggers === undefined, toLogs: this.#loggers !== undefined };
    const toLogs = events !== "span";
    if (toLogs && this.#loggers === undefined) throw new TypeError(`events: "${events}" needs a loggerProvider`);
    return { toSpans: events !== "log", toLogs };
  }
}

function parentContext(parent: Context | SpanContext | undefined): Context {
  if (parent === undefined) return context.active();
  return isContext(parent) ? parent : trace.setSpanContext(ROOT_CONTEXT, parent);
}
