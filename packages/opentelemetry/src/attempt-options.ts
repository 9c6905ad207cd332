import { type Attributes, type Context, context, type Link, ROOT_CONTEXT, type SpanContext, trace } from "@opentelemetry/api";
import { isContext } from "./parent-context.ts";

/** Where events go; see `AttemptOptions.events`. */
export type EventMapping = "auto" | "span" | "log" | "both";

/** How attempts are treated. What a relay is made with is the default of its executions. */
export interface AttemptOptions {
  /**
   * Where a guest's events go. `span`: they become events of their span. `log`: log records. `both`: both. `auto`, the default:
   * `log` with a `loggerProvider`, else `span`. An event outside of all spans becomes a log record where there is a
   * `loggerProvider`, else an event of the host's own span, if that is recorded.
   */
  readonly events?: EventMapping;
  /**
   * `immediate`, the default: a span goes out when it opens and when it closes, and a rollback closes and flags what is open.
   * `transactional`: all that an attempt does is held until it is committed.
   */
  readonly export?: "immediate" | "transactional";
  /**
   * What becomes of a rolled-back attempt that was held (`transactional`). `mark`, the default: it goes out flagged, spans with
   * the attribute `spanduct.rolled_back` and error status, log records with the attribute. `discard`: nothing of it goes out.
   */
  readonly rollback?: "mark" | "discard";
  /**
   * How much may be held: starts and ends of spans, log records and events, together; default 100000. Spans and records beyond
   * are dropped, which is reported as `relay_failed` with a cause that says "limit_exceeded".
   */
  readonly maxHeld?: number;
  /**
   * Bytes that an attempt may make the host keep, about: events and links of open spans, and in `transactional` mode everything that
   * is held; default 64 MiB. Beyond it events and links are dropped and counted as the SDK counts them, and what would be held is
   * dropped as beyond `maxHeld`. Attributes of open spans have a budget in the receiver.
   */
  readonly maxHeldBytes?: number;
  /**
   * Show spans before they end: for each that is open a child without length goes out, of the same name and with the attribute
   * `spanduct.pending`, which any backend can show. `immediate`: when the span opens; else when the attempt that opened it is
   * committed and has not closed it. Default: no.
   */
  readonly pendingSpans?: boolean;
  /**
   * Milliseconds that a span may be open, by the clock of the host. An older one is ended when an attempt is persisted, and says so:
   * attribute `spanduct.forced_close` = `max_span_age`. To the guest it stays open; its children hang under it as before. Default:
   * no limit.
   */
  readonly maxSpanAgeMs?: number;
}

/** Where an attempt hangs. */
export interface PlacementOptions {
  /**
   * What the guest's root spans hang under. Default: `context.active()` at the call. `ROOT_CONTEXT` makes each a trace of its
   * own, which is for long workflows, best with a link to where they began.
   */
  readonly parent?: Context | SpanContext;
  /** Links that each of the guest's root spans gets. */
  readonly links?: readonly Link[];
}

/** The span that the relay makes of an attempt. */
export interface RunSpan {
  readonly name: string;
  readonly attributes: Readonly<Attributes>;
}

/** `AttemptOptions` and `PlacementOptions` with everything decided. */
export interface AttemptSetup {
  readonly toSpans: boolean;
  readonly toLogs: boolean;
  /** Hold everything until the attempt is committed. */
  readonly isTransactional: boolean;
  /** Let nothing of a rolled-back attempt out that is held. */
  readonly discards: boolean;
  readonly maxHeld: number;
  readonly maxHeldBytes: number;
  readonly pendingSpans: boolean;
  readonly maxSpanAgeMs: number;
  readonly context: Context;
  readonly links: readonly Link[];
}

/** @throws TypeError for `events` "log" or "both" without a logger provider */
export function resolveAttempt(options: AttemptOptions & PlacementOptions, hasLogs: boolean): AttemptSetup {
  const { events = "auto", export: exportMode = "immediate", rollback = "mark", maxHeld = 100_000, parent, links = [] } = options;
  const { maxHeldBytes = 64 * 1024 * 1024, pendingSpans = false, maxSpanAgeMs = Number.POSITIVE_INFINITY } = options;
  if (!hasLogs && (events === "log" || events === "both")) throw new TypeError(`events: "${events}" needs a loggerProvider`);
  const toLogs = events === "auto" ? hasLogs : events !== "span";
  const isTransactional = exportMode === "transactional";
  return {
    toSpans: events === "auto" ? !hasLogs : events !== "log",
    toLogs,
    isTransactional,
    discards: isTransactional && rollback === "discard",
    maxHeld,
    maxHeldBytes,
    pendingSpans,
    maxSpanAgeMs,
    context: parentContext(parent),
    links,
  };
}

function parentContext(parent: Context | SpanContext | undefined): Context {
  if (parent === undefined) return context.active();
  return isContext(parent) ? parent : trace.setSpanContext(ROOT_CONTEXT, parent);
}
