import {
  type Context,
  type HrTime,
  isSpanContextValid,
  type Link,
  type SpanContext,
  TraceFlags,
  trace,
} from "@opentelemetry/api";
import type { ClockDomain, EventTime, Id, TraceContext, TracedValues } from "@spanduct/protocol";
import type { CallSite, Loss, Parent, Relay, RestoredSpan } from "@spanduct/receiver";
import type { AttemptSetup } from "./attempt-options.ts";
import { errorOf } from "./attribute-value.ts";
import { AttributeWriter } from "./attribute-writer.ts";
import type { CallSitePlan, CallSitePlans } from "./call-site.ts";
import { GuestClock } from "./clock.ts";
import { Delivery, type Outgoing } from "./delivery.ts";
import { spanEvent } from "./events.ts";
import { Held } from "./held.ts";
import { hostContext } from "./host-context.ts";
import type { AttemptIds } from "./identity.ts";
import { OpenRoots } from "./open-roots.ts";
import { isTracingSuppressed } from "./parent-context.ts";
import type { PerTarget } from "./per-target.ts";
import { readSpan, type SavedSpan, writeSpan } from "./saved-span.ts";
import type { Logger, Sampler, SamplingResult, SpanProcessor } from "./sdk.ts";
import { lossEvent, SideOutlet } from "./side-outlet.ts";
import { GuestSpan, type SpanSetup, type SpanState } from "./span.ts";
import { flagRolledBack } from "./status.ts";

/** A guest can open very many roots and lose a batch with every few bytes. */
const MAX_TOLD_OF_LOSS = 16;

/** What one attempt is made with; everything is decided. */
export interface ExecutionSetup extends AttemptSetup {
  readonly spans: SpanSetup;
  readonly plans: CallSitePlans;
  readonly processors: readonly SpanProcessor[];
  /** Default: as the parent; sampled where there is none. */
  readonly sampler: Sampler | undefined;
  readonly loggers: PerTarget<Logger> | undefined;
  readonly ids: AttemptIds;
  /** Ids for the spans of a rolled-back attempt, where its own will be used again by the next. */
  readonly idsAfterRollback: (() => AttemptIds) | undefined;
  /** Told when the attempt is rolled back. */
  readonly onRollback: () => void;
}

/**
 * One attempt at an execution.
 *
 * Goes out at once, in `immediate` mode: spans that this attempt opened, log records. Held until the commit: in `transactional`
 * mode everything; in both modes the end of a span that an earlier attempt opened, whose state before the attempt is kept too, so
 * that a rollback leaves it open and unchanged.
 */
export class Execution implements Relay<GuestSpan> {
  readonly #setup: ExecutionSetup;
  // What every span and event needs of it, close at hand.
  readonly #spans: SpanSetup;
  readonly #plans: CallSitePlans;
  readonly #ids: AttemptIds;
  readonly #sampler: Sampler | undefined;
  readonly #context: Context;
  readonly #links: Link[];
  readonly #isTransactional: boolean;
  readonly #toSpans: boolean;
  readonly #toLogs: boolean;
  readonly #clock: GuestClock;
  readonly #delivery: Delivery;
  readonly #side: SideOutlet;
  /** Marks spans of this attempt. An object of its own, so that a span does not keep the attempt's memory. */
  readonly #attempt: object = {};
  readonly #hostSpan: SpanContext | undefined;
  readonly #isSuppressed: boolean;
  readonly #spanWriter: AttributeWriter;
  readonly #eventWriter: AttributeWriter;
  /** What goes out at the commit, in order. */
  readonly #held: Held<Outgoing>;
  /** Spans of earlier attempts that this one has changed, as they were. */
  readonly #before: Map<GuestSpan, SpanState> = new Map();
  /** Open spans without a parent among the guest's. */
  readonly #roots: OpenRoots<GuestSpan> = new OpenRoots();
  #phase: "running" | "suspended" | "rolled back" = "running";
  #recordsSome = false;
  #droppedRoot = false;
  /** Spans of another trace than the host's are open: what trace a new span is in depends on its parent. */
  #hasOtherTrace = false;

  constructor(setup: ExecutionSetup) {
    this.#setup = setup;
    this.#spans = setup.spans;
    this.#plans = setup.plans;
    this.#ids = setup.ids;
    this.#sampler = setup.sampler;
    this.#context = setup.context;
    this.#links = [...setup.links];
    this.#isTransactional = setup.isTransactional;
    this.#toSpans = setup.toSpans;
    this.#toLogs = setup.toLogs;
    this.#clock = new GuestClock(setup.spans.clock);
    this.#held = new Held(setup.maxHeld);
    this.#delivery = new Delivery(setup.processors);
    const { attributeCountLimit, attributePerEventCountLimit, attributeValueLengthLimit } = setup.spans.limits;
    this.#spanWriter = new AttributeWriter(attributeCountLimit, attributeValueLengthLimit);
    this.#eventWriter = new AttributeWriter(attributePerEventCountLimit, attributeValueLengthLimit);
    this.#side = new SideOutlet({
      loggers: setup.loggers,
      context: setup.context,
      clock: setup.spans.clock,
      send: (outgoing) => {
        const { full } = this.#held;
        if (!setup.isTransactional) this.#delivery.send(outgoing);
        else if (full === undefined) this.#held.push(outgoing);
        else this.#delivery.fail(full);
      },
    });
    this.#isSuppressed = isTracingSuppressed(setup.context);
    const host = trace.getSpanContext(setup.context);
    this.#hostSpan = host !== undefined && isSpanContextValid(host) ? host : undefined;
    // Without a sampler the host's span decides, so this is known before the first span.
    if (this.#isSuppressed || (setup.sampler === undefined && !isSampledUnder(this.#hostSpan))) this.#droppedRoot = true;
  }

  /** 0 when the sampler wants none of the execution's roots and no log records are made of events, else 5. */
  get maxLevel(): number {
    return this.#droppedRoot && !this.#recordsSome && !this.#setup.toLogs ? 0 : 5;
  }

  /**
   * `undefined` where each root of the guest's begins a trace of its own. Without the key of span ids while the guest goes on with
   * spans of another trace than the host's: only the host knows then which trace a new one is in.
   */
  get traceContext(): TraceContext | undefined {
    if (this.#hostSpan === undefined || this.#isSuppressed) return undefined;
    const context = hostContext(this.#hostSpan);
    return this.#hasOtherTrace ? context : { ...context, spanKey: this.#ids.spanKey };
  }

  timeBase(baseUnixNano: bigint, clock: ClockDomain): void {
    this.#clock.timeBase(baseUnixNano, clock);
  }

  newSpan(callSite: CallSite, id: Id, values: TracedValues, { span: parent }: Parent<GuestSpan>, time: EventTime): GuestSpan {
    const plan = this.#plans.get(callSite);
    const above = parent === undefined ? this.#hostSpan : parent.spanContext();
    const start = this.#clock.at(time);
    const span = new GuestSpan(this.#spans, plan.scope, plan, this.#identify(id, above), above, plan.givenName, start);
    span.attempt = this.#attempt;
    span.isRoot = parent === undefined;
    if (this.#isSuppressed || (this.#sampler === undefined && !isSampledUnder(above))) {
      span.stopRecording();
    } else {
      span.begin(this.#spanWriter, values);
      this.#begin(span, parent, above);
    }
    this.#count(span);
    // Throws nothing, or the receiver would think that there is no span: the next call reports.
    return span;
  }

  record(span: GuestSpan, values: TracedValues, _time: EventTime): void {
    if (span.recording) {
      this.#touch(span);
      span.record(this.#spanWriter, values);
    }
    this.#delivery.throwFailure();
  }

  recordFollowsFrom(span: GuestSpan, followsFrom: GuestSpan, _time: EventTime): void {
    if (span.recording) {
      this.#touch(span);
      span.addLink({ context: followsFrom.spanContext(), attributes: { "opentracing.ref_type": "follows_from" } });
    }
    this.#delivery.throwFailure();
  }

  enter(span: GuestSpan, time: EventTime): void {
    if (span.recording) {
      this.#touch(span);
      this.#clock.read(time);
      span.enter(this.#clock.seconds, this.#clock.nanos);
    }
    this.#delivery.throwFailure();
  }

  exit(span: GuestSpan, time: EventTime): void {
    // The guest is still inside of suspended spans, and inside of those that the rollback has put back.
    if (span.recording && this.#phase !== "suspended" && !this.#isPutBack(span)) {
      this.#touch(span);
      this.#clock.read(time);
      span.exit(this.#clock.seconds, this.#clock.nanos);
    }
    this.#delivery.throwFailure();
  }

  tryClose(span: GuestSpan, time: EventTime): void {
    if (span.recording && !span.ended && !this.#isPutBack(span)) {
      this.#touch(span);
      this.#roots.delete(span);
      span.close(this.#clock.at(time));
      if (this.#phase === "rolled back") this.#endRolledBack(span);
      else if (this.#isTransactional || span.attempt !== this.#attempt) this.#held.push({ kind: "end", span });
      else this.#delivery.end(span);
    }
    this.#delivery.throwFailure();
  }

  event(callSite: CallSite, values: TracedValues, { span }: Parent<GuestSpan>, time: EventTime): void {
    if (this.#isSuppressed) return;
    const plan = this.#plans.get(callSite);
    const at = this.#clock.at(time);
    if (span?.recording === true) {
      this.#touch(span);
      if (plan.isError) this.#errorEvent(span, plan, values, at);
      else if (this.#toSpans) span.pushEvent(spanEvent(this.#eventWriter, plan, values, at));
    }
    if (this.#toLogs || span === undefined) this.#sideEvent(callSite, plan, values, span, at);
    this.#delivery.throwFailure();
  }

  /** An event `spanduct.loss` on open roots; where there is none, a log record or an event of the host's span. */
  loss(loss: Loss): void {
    if (this.#isSuppressed) return;
    const event = lossEvent(loss, this.#clock.at(undefined));
    let told = 0;
    for (const span of this.#roots) {
      if (told++ === MAX_TOLD_OF_LOSS) break;
      this.#touch(span);
      span.pushEvent(event);
    }
    if (this.#roots.isEmpty) this.#side.loss(event);
    this.#delivery.throwFailure();
  }

  /** @throws TunnelError "snapshot_mismatch": the saved state says it is this relay's and is damaged */
  restoreSpan({ callSite, local, saved }: RestoredSpan<GuestSpan>): GuestSpan | undefined {
    const { plans, spans } = this.#setup;
    const open = local instanceof GuestSpan && !local.ended ? local : undefined;
    const read = readSpan(saved);
    let span = open;
    if (read !== undefined) {
      const { origin, state, revision } = read;
      if (open === undefined || !isSame(open.spanContext(), origin.identity)) {
        const plan = plans.get(callSite);
        const scope = plans.scope(origin.scope);
        span = new GuestSpan(spans, scope, plan, origin.identity, origin.parent, state.name, origin.startTime);
        span.isRoot = origin.isRoot;
        if (!origin.recording) span.stopRecording();
      }
      // What this process remembers is the same, or what is left of an attempt whose state was not kept in the end.
      if (span !== undefined && (span !== open || span.revision !== revision)) {
        span.state = state;
        span.revision = revision;
      }
    }
    if (span !== undefined) {
      this.#count(span);
      if (span.spanContext().traceId !== this.#hostSpan?.traceId) this.#hasOtherTrace = true;
    }
    return span;
  }

  /** Plain JSON: what `restoreSpan` needs. */
  saveSpan(span: GuestSpan): SavedSpan {
    span.revision++;
    return writeSpan(span);
  }

  suspend(): void {
    this.#phase = "suspended";
  }

  commit(): void {
    this.#before.clear();
    for (const outgoing of this.#held.take()) this.#delivery.send(outgoing);
    this.#delivery.throwFailure();
  }

  rollback(): void {
    const { isTransactional, discards, idsAfterRollback, onRollback } = this.#setup;
    this.#phase = "rolled back";
    onRollback();
    for (const [span, state] of this.#before) span.state = state;
    this.#before.clear();
    const held = this.#held.take().filter((outgoing) => outgoing.kind !== "end" || outgoing.span.attempt === this.#attempt);
    if (isTransactional && !discards) {
      const ids = idsAfterRollback?.();
      held.forEach((outgoing, position) => {
        if (outgoing.kind !== "start" || ids === undefined) return;
        ids.next(position);
        outgoing.span.changeId(ids.spanId());
      });
      for (const outgoing of held) {
        if (outgoing.kind === "end") outgoing.span.markRolledBack();
        else if (outgoing.kind === "log") flagRolledBack(outgoing.record.attributes);
        else if (outgoing.kind === "host event") flagRolledBack(outgoing.attributes);
        this.#delivery.send(outgoing);
      }
    }
    this.#delivery.throwFailure();
  }

  #errorEvent(span: GuestSpan, plan: CallSitePlan, values: TracedValues, at: HrTime): void {
    const event = spanEvent(this.#eventWriter, plan, values, at);
    span.fail(event.name === plan.givenName ? plan.name : event.name, errorOf(values));
    if (this.#toSpans) span.pushEvent(event);
  }

  /** An event that is more than one of a guest's span. */
  #sideEvent(callSite: CallSite, plan: CallSitePlan, values: TracedValues, span: GuestSpan | undefined, at: HrTime): void {
    if (this.#toLogs || this.#side.hasLogs) {
      this.#side.log(callSite, plan, values, at, span?.contextUnder(this.#context));
    } else {
      this.#side.hostEvent(spanEvent(this.#eventWriter, plan, values, at));
    }
  }

  /** Who the next span is. It is sampled only when that is said later. */
  #identify(id: Id, above: SpanContext | undefined): SpanContext {
    const ids = this.#ids;
    ids.next(id);
    const traceId = above === undefined ? ids.traceId() : above.traceId;
    const identity: SpanContext = { traceId, spanId: ids.spanId(), traceFlags: TraceFlags.NONE };
    if (above?.traceState !== undefined) identity.traceState = above.traceState;
    return identity;
  }

  #begin(span: GuestSpan, parent: GuestSpan | undefined, above: SpanContext | undefined): void {
    const context = parent === undefined ? this.#context : parent.contextUnder(this.#context);
    if (parent === undefined && this.#links.length > 0) span.addLinks(this.#links);
    if (this.#sampler === undefined) span.spanContext().traceFlags = TraceFlags.SAMPLED;
    else this.#sample(this.#sampler, span, context, above);
    if (!span.recording) return;
    if (this.#isTransactional) this.#holdStart(span, context);
    else this.#delivery.start(span, context);
  }

  /** Note what `maxLevel` and `loss` need to know. */
  #count(span: GuestSpan): void {
    if (span.recording) {
      this.#recordsSome = true;
      if (span.isRoot) this.#roots.add(span);
    } else if (span.isRoot) {
      this.#droppedRoot = true;
    }
  }

  #sample(sampler: Sampler, span: GuestSpan, context: Context, above: SpanContext | undefined): void {
    const identity = span.spanContext();
    let result: SamplingResult;
    try {
      result = sampler.shouldSample(context, identity.traceId, span.name, span.kind, span.attributes, span.links);
    } catch (error) {
      this.#delivery.fail(error);
      result = { decision: isSampledUnder(above) ? 2 : 0 };
    }
    if (result.traceState !== undefined) identity.traceState = result.traceState;
    if (result.decision === 0) return span.stopRecording();
    if (result.decision === 2) identity.traceFlags = TraceFlags.SAMPLED;
    if (result.attributes !== undefined) span.setAttributes(result.attributes);
  }

  #holdStart(span: GuestSpan, context: Context): void {
    const { full } = this.#held;
    if (full === undefined) return this.#held.push({ kind: "start", span, context });
    span.stopRecording();
    this.#delivery.fail(full);
  }

  /** Keep the state of a span of an earlier attempt before this one changes it. */
  #touch(span: GuestSpan): void {
    if (span.attempt !== this.#attempt && !this.#before.has(span)) this.#before.set(span, span.state);
  }

  /** Whether the rollback has put it back to what it was before this attempt: what the receiver says of it then is not for it. */
  #isPutBack(span: GuestSpan): boolean {
    return this.#phase === "rolled back" && span.attempt !== this.#attempt;
  }

  #endRolledBack(span: GuestSpan): void {
    if (this.#setup.discards) return;
    span.markRolledBack();
    this.#delivery.end(span);
  }
}

/** The default sampler: as the parent; sampled where there is none. */
function isSampledUnder(parent: SpanContext | undefined): boolean {
  return parent === undefined || (parent.traceFlags & TraceFlags.SAMPLED) !== 0;
}

function isSame(a: SpanContext, b: SpanContext): boolean {
  return a.spanId === b.spanId && a.traceId === b.traceId;
}
