import { type Attributes, type Context, ROOT_CONTEXT, type SpanContext } from "@opentelemetry/api";
import { attemptKey } from "@spanduct/protocol";
import type { Relay } from "@spanduct/receiver";
import { type AttemptOptions, type PlacementOptions, resolveAttempt } from "./attempt-options.ts";
import { AttributeWriter } from "./attribute-writer.ts";
import { CallSitePlans } from "./call-site.ts";
import { type HostClock, systemClock } from "./clock.ts";
import { defaultResource } from "./default-resource.ts";
import { Delivery } from "./delivery.ts";
import { Execution } from "./execution.ts";
import { AttemptIds, RolledBackSeeds, randomSeeds } from "./identity.ts";
import { resolveSpanLimits, type SpanLimits } from "./limits.ts";
import { OutboxDelivery } from "./outbox-delivery.ts";
import { CollectedExecution, type OutboxExecution, readTrace } from "./outbox-execution.ts";
import { contextOf, isContext } from "./parent-context.ts";
import { PerTarget } from "./per-target.ts";
import { readContext, type SavedSpanContext, writeContext } from "./saved-json.ts";
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

/** What an attempt for an outbox is made with. */
export interface OutboxOptions extends Omit<AttemptOptions, "export"> {
  /** 64 bits, the same for all attempts at an execution: ids of spans and traces derive from it. */
  readonly seed: bigint;
  /** How many attempts at the execution were committed before. A retry has the same number and gives the same ids. */
  readonly attempt: number;
  /**
   * `continuous`, the default: all attempts are in one trace, that of `parent`, or one of the execution's own. `linked`: each
   * committed attempt is a span of its own (`name`, `attributes`), the root of a trace and linked to the one before; what the attempt
   * opens inside of spans of earlier attempts hangs under it, with a link to where it was opened.
   */
  readonly traces?: "continuous" | "linked";
  /** What the first attempt hangs under (`continuous`) or links to (`linked`). Default: nothing, whatever context is active. */
  readonly parent?: Context | SpanContext;
  /** `trace` of the attempt that was committed last, through JSON; it decides then where this one belongs. */
  readonly previous?: unknown;
  /** Name of the attempt's own span. Default `run`. */
  readonly name?: string;
  /** Attributes of the attempt's own span. */
  readonly attributes?: Readonly<Attributes>;
}

/** How outboxes are delivered. */
export interface DeliverOptions {
  /** Told what a processor or logger throws; the rest is delivered all the same and nothing is tried again. */
  readonly onError?: (error: unknown) => void;
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
  readonly #outboxes: OutboxDelivery;

  constructor(options: OpenTelemetryRelayOptions) {
    const { loggerProvider, resource, clock, random, spanLimits } = options;
    this.#options = options;
    const limits = resolveSpanLimits(spanLimits);
    const { attributeCountLimit, attributePerEventCountLimit, attributeValueLengthLimit } = limits;
    this.#spans = {
      limits,
      resource: resource ?? defaultResource(),
      clock: clock ?? systemClock(),
      spanWriter: new AttributeWriter(attributeCountLimit, attributeValueLengthLimit),
      eventWriter: new AttributeWriter(attributePerEventCountLimit, attributeValueLengthLimit),
    };
    this.#plans = new CallSitePlans(limits);
    this.#loggers = loggerProvider && new PerTarget((scope) => loggerProvider.getLogger(scope));
    this.#random = random ?? randomSeeds();
    this.#outboxes = new OutboxDelivery({
      spans: this.#spans,
      plans: this.#plans,
      processors: options.spanProcessors,
      loggers: this.#loggers,
      loggerProvider,
    });
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
      outlet: new Delivery(spanProcessors),
      sampler,
      loggers: this.#loggers,
      ids: new AttemptIds(attemptKey(seed ?? this.#random(), attempt, retry)),
      idsAfterRollback: seed === undefined ? undefined : () => new AttemptIds(attemptKey(this.#random(), 0, 0)),
      onRollback: () => {
        if (seed !== undefined && !attemptSetup.isTransactional) this.#rolledBack.add(seed, attempt);
      },
    });
  }

  /**
   * The relay of one attempt whose spans and log records are kept by the host, with the state, and delivered later: `deliver`.
   * Events outside of all spans are dropped where there is no `loggerProvider` and no span of the attempt's own.
   *
   * @throws TypeError for `events` "log" or "both" without a `loggerProvider`
   * @throws TunnelError "snapshot_mismatch": no relay can have given `previous`
   */
  outboxExecution(options: OutboxOptions): OutboxExecution {
    const { seed, attempt, traces = "continuous", name = "run", attributes = {}, previous, parent } = options;
    const { parent: above, run } = previous === undefined ? { parent: savedParent(parent), run: undefined } : readTrace(previous);
    const isLinked = traces === "linked";
    const linked = isLinked ? (run ?? above) : undefined;
    const attemptSetup = resolveAttempt(
      {
        ...this.#options,
        ...options,
        export: "transactional",
        parent: above === undefined || isLinked ? ROOT_CONTEXT : readContext(above),
        links:
          linked === undefined
            ? []
            : [{ context: readContext(linked), attributes: { "spanduct.link": run ? "previous" : "parent" } }],
      },
      this.#loggers !== undefined,
    );
    const ids = new AttemptIds(attemptKey(seed, attempt, 0));
    const own = new AttemptIds(attemptKey(seed, 0, 0));
    own.nextOther();
    return new CollectedExecution(
      {
        ...attemptSetup,
        spans: this.#spans,
        plans: this.#plans,
        sampler: this.#options.sampler,
        loggers: this.#loggers,
        ids,
        idsAfterRollback: () => new AttemptIds(attemptKey(this.#random(), 0, 0)),
        onRollback: () => undefined,
        traceId: isLinked ? undefined : own.traceId(),
        run: isLinked ? { name, attributes } : undefined,
      },
      above,
    );
  }

  /**
   * Hand what attempts left behind to span processors and loggers, in order, then have these flush. What is delivered again is the
   * same again, as far as the resource of the process is the same.
   *
   * @param outboxes what `outbox()` of attempts gave, through JSON
   * @throws TunnelError "unsupported_version", "snapshot_mismatch": one of them cannot be read; nothing was delivered
   * @throws TunnelError "relay_failed": there are log records among them and no `loggerProvider`; nothing was delivered
   * @throws what a flush rejects with: part of it may not have been exported; deliver it again
   */
  async deliver(outboxes: readonly unknown[], options: DeliverOptions = {}): Promise<void> {
    await this.#outboxes.deliver(outboxes, options.onError);
  }
}

/** Who a span of the host is, as plain JSON. */
function savedParent(parent: Context | SpanContext | undefined): SavedSpanContext | undefined {
  if (parent === undefined) return undefined;
  const context = isContext(parent) ? contextOf(parent) : parent;
  return context && writeContext(context);
}
