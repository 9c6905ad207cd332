import { type Context, ROOT_CONTEXT, type SpanContext, trace } from "@opentelemetry/api";
import { type CallSiteData, TunnelError } from "@spanduct/protocol";
import { CallSitePlan, type CallSitePlans } from "./call-site.ts";
import { Delivery } from "./delivery.ts";
import { type ReadRecord, readOutbox } from "./outbox.ts";
import type { PerTarget } from "./per-target.ts";
import type { ReadSpan } from "./saved-span.ts";
import type { Logger, LoggerProvider, SpanProcessor } from "./sdk.ts";
import { GuestSpan, type SpanSetup } from "./span.ts";

/**
 * Ended spans between two flushes. The SDK's batch processor exports without being waited for once it has as many as it sends at
 * once (512 unless it is told otherwise), and drops spans beyond 2048.
 */
const SPANS_PER_FLUSH = 256;

/** What is delivered was never opened here: nothing of a call site is needed. */
const DELIVERED: CallSiteData = { kind: "span", name: "", target: "", level: "info", fields: [] };

/** What delivers outboxes. */
export interface OutboxDeliverySetup {
  readonly spans: SpanSetup;
  readonly plans: CallSitePlans;
  readonly processors: readonly SpanProcessor[];
  readonly loggers: PerTarget<Logger> | undefined;
  readonly loggerProvider: LoggerProvider | undefined;
}

/** Delivers what attempts left behind, in this process or another. */
export class OutboxDelivery {
  readonly #setup: OutboxDeliverySetup;
  readonly #plan: CallSitePlan;

  constructor(setup: OutboxDeliverySetup) {
    this.#setup = setup;
    this.#plan = new CallSitePlan(DELIVERED, setup.plans.scope(""), setup.spans.limits);
  }

  /** See `OpenTelemetryRelay.deliver`. */
  async deliver(outboxes: readonly unknown[], onError: ((error: unknown) => void) | undefined): Promise<void> {
    const { processors, loggers } = this.#setup;
    const all = outboxes.map(readOutbox);
    if (loggers === undefined && all.some((records) => records.some(({ kind }) => kind === "log"))) {
      throw new TunnelError("relay_failed", "there are log records to deliver, and the relay has no loggerProvider");
    }
    const delivery = new Delivery(processors);
    let ended = 0;
    for (const records of all) {
      const started: (GuestSpan | undefined)[] = [];
      for (const [place, record] of records.entries()) {
        if (record.kind === "end" && ended++ === SPANS_PER_FLUSH) {
          await this.flush();
          ended = 1;
        }
        this.#send(record, place, started, delivery);
        try {
          delivery.throwFailure();
        } catch (error) {
          onError?.(error);
        }
      }
    }
    await this.flush();
  }

  /** @throws what a processor or the logger provider rejects with */
  async flush(): Promise<void> {
    const { processors, loggerProvider } = this.#setup;
    await Promise.all([...processors.map((processor) => processor.forceFlush()), loggerProvider?.forceFlush?.()]);
  }

  #send(record: ReadRecord, place: number, started: (GuestSpan | undefined)[], delivery: Delivery): void {
    switch (record.kind) {
      case "start": {
        const span = this.#span(record.span);
        started[place] = span;
        return delivery.start(span, under(span.parentSpanContext));
      }
      case "end": {
        const span = typeof record.span === "number" ? (started[record.span] as GuestSpan) : this.#span(record.span);
        span.finish(record.end);
        return delivery.end(span);
      }
      case "log": {
        const logger = (this.#setup.loggers as PerTarget<Logger>).get(record.scope);
        const context = under(record.span);
        return delivery.send({ kind: "log", logger, scope: record.scope, record: { ...record.record, context } });
      }
    }
  }

  #span({ origin, state }: ReadSpan): GuestSpan {
    const { spans, plans } = this.#setup;
    const span = new GuestSpan(spans, this.#plan, origin.parent, ...origin.startTime);
    span.identify(origin.identity);
    span.setScope(plans.scope(origin.scope));
    span.isRoot = origin.isRoot;
    span.state = state;
    return span;
  }
}

function under(span: SpanContext | undefined): Context {
  return span === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, span);
}
