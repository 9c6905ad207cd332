import {
  type Attributes,
  type Context,
  type HrTime,
  INVALID_SPANID,
  type Link,
  type SpanContext,
  TraceFlags,
} from "@opentelemetry/api";
import {
  type CallSiteData,
  type ClockDomain,
  type EventTime,
  type Id,
  type IdPermutation,
  type TraceContext,
  TracedValues,
} from "@spanduct/protocol";
import type { CallSite, Loss, Parent, Relay, RelayedValues, RestoredSpan } from "@spanduct/receiver";
import type { AttemptSetup, RunSpan } from "./attempt-options.ts";
import { errorOf } from "./attribute-value.ts";
import { CallSitePlan, type CallSitePlans } from "./call-site.ts";
import { GuestClock } from "./clock.ts";
import type { Outgoing, Outlet } from "./delivery.ts";
import { GuestEvent, spanEvent } from "./events.ts";
import { Held } from "./held.ts";
import type { AttemptIds } from "./identity.ts";
import { OpenRoots } from "./open-roots.ts";
import { contextOf, isTracingSuppressed } from "./parent-context.ts";
import type { PerTarget } from "./per-target.ts";
import { readSpan, type SavedSpan, writeSpan } from "./saved-span.ts";
import type { Logger, Sampler, SamplingResult, TimedEvent } from "./sdk.ts";
import { lossEvent, MAX_TOLD_OF_LOSS, type SideOutgoing, SideOutlet, sideBytes } from "./side-outlet.ts";
import { EVENT_BYTES, LINK_BYTES, valueBytes } from "./sizes.ts";
import { GuestSpan, type SpanSetup, type SpanState } from "./span.ts";
import { type ForcedClose, flagForcedClose, flagRolledBack } from "./status.ts";
import { traceContextOf } from "./trace-context.ts";

/** What one attempt is made with; everything is decided. */
export interface ExecutionSetup extends AttemptSetup {
  readonly spans: SpanSetup;
  readonly plans: CallSitePlans;
  /** Where spans and records go when they need not wait. */
  readonly outlet: Outlet;
  /** Keep what `undoCommit` needs. */
  readonly canUndo?: boolean;
  /** Default: as the parent; sampled where there is none. */
  readonly sampler: Sampler | undefined;
  readonly loggers: PerTarget<Logger> | undefined;
  readonly ids: AttemptIds;
  /** Ids for the spans of a rolled-back attempt, where its own will be used again by the next. */
  readonly idsAfterRollback: (() => AttemptIds) | undefined;
  /** Told when the attempt is rolled back. */
  readonly onRollback: () => void;
  /** Trace of the guest's roots where there is no span above them. Default: each begins its own. */
  readonly traceId?: string | undefined;
  /** The attempt is a span of its own, the root of a trace, and what it opens is in there. */
  readonly run?: RunSpan | undefined;
}

/** Of the link to the span that the guest was inside of, where that is not its parent. */
const MOVED: Attributes = { "spanduct.link": "parent" };

/** The call site that a run's own span has. */
const RUN: CallSiteData = { kind: "span", name: "run", target: "@spanduct/opentelemetry", level: "info", fields: [] };
const NO_VALUES = new TracedValues();

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
  #context: Context;
  readonly #links: Link[];
  readonly #isTransactional: boolean;
  readonly #toSpans: boolean;
  readonly #toLogs: boolean;
  readonly #clock: GuestClock;
  readonly #outlet: Outlet;
  #side: SideOutlet | undefined;
  /** Marks spans of this attempt, which do not keep the attempt's memory. */
  readonly #attempt: IdPermutation;
  #hostSpan: SpanContext | undefined;
  readonly #run: GuestSpan | undefined;
  readonly #isSuppressed: boolean;
  /** Spans are sampled as those above them. */
  readonly #isAsParent: boolean;
  /** Nothing stands between a span and the processors. */
  readonly #isDirect: boolean;
  /** What goes out at the commit, in order. */
  readonly #held: Held<Outgoing>;
  /** What has gone out at the commit, where that may be undone. */
  #committed: readonly Outgoing[] = [];
  /** Spans of earlier attempts that this one has changed, as they were. */
  #before: Map<GuestSpan, SpanState> | undefined;
  /** Open spans without a parent among the guest's. */
  readonly #roots: OpenRoots<GuestSpan> = new OpenRoots();
  #phase: "running" | "suspended" | "rolled back" = "running";
  #isFinishing = false;
  #recordsSome = false;
  #droppedRoot = false;
  /** Spans of another trace than this attempt's are open: what trace a new span is in depends on its parent. */
  #hasOtherTrace = false;

  constructor(setup: ExecutionSetup) {
    this.#setup = setup;
    this.#spans = setup.spans;
    this.#plans = setup.plans;
    this.#ids = setup.ids;
    this.#attempt = setup.ids.permutation;
    this.#sampler = setup.sampler;
    this.#context = setup.context;
    this.#links = [...setup.links];
    this.#isTransactional = setup.isTransactional;
    this.#toSpans = setup.toSpans;
    this.#toLogs = setup.toLogs;
    this.#clock = new GuestClock(setup.spans.clock);
    this.#held = new Held(setup.maxHeld, setup.maxHeldBytes);
    this.#outlet = setup.outlet;
    this.#isSuppressed = isTracingSuppressed(setup.context);
    this.#isAsParent = setup.sampler === undefined && !this.#isSuppressed;
    this.#isDirect = setup.sampler === undefined && !setup.isTransactional && !setup.pendingSpans && setup.links.length === 0;
    this.#hostSpan = contextOf(setup.context);
    // Without a sampler the host's span decides, so this is known before the first span.
    if (this.#isSuppressed || (setup.sampler === undefined && !isSampledUnder(this.#hostSpan))) this.#droppedRoot = true;
    this.#run = setup.run === undefined || this.#isSuppressed ? undefined : this.#openRun(setup.run);
  }

  /** Identity of the attempt's own span, where it has one. */
  get runContext(): SpanContext | undefined {
    return this.#run?.spanContext();
  }

  /** 0 when the sampler wants none of the execution's roots and no log records are made of events, else 5. */
  get maxLevel(): number {
    return this.#droppedRoot && !this.#recordsSome && !this.#setup.toLogs ? 0 : 5;
  }

  /**
   * `undefined` where each root of the guest's begins a trace of its own. Without the key of span ids while the guest goes on with
   * spans of another trace than this attempt's: only the host knows then which trace a new one is in.
   */
  get traceContext(): TraceContext | undefined {
    const above = this.#above;
    if (above === undefined || this.#isSuppressed) return undefined;
    const context = traceContextOf(above);
    // What an attempt that is a span of its own opens is all in its trace.
    return this.#hasOtherTrace && this.#run === undefined ? context : { ...context, spanKey: this.#ids.spanKey };
  }

  timeBase(baseUnixNano: bigint, clock: ClockDomain): void {
    this.#clock.timeBase(baseUnixNano, clock);
  }

  newSpan(callSite: CallSite, id: Id, values: RelayedValues, { span: inside }: Parent<GuestSpan>, time: EventTime): GuestSpan {
    const parent = this.#run === undefined ? inside : this.#parentInRun(inside);
    const above = parent === undefined ? this.#hostSpan : parent.spanContext();
    this.#clock.read(time);
    const span = new GuestSpan(this.#spans, this.#plans.get(callSite), above, this.#clock.seconds, this.#clock.nanos);
    span.attempt = this.#attempt;
    span.isRoot = parent === undefined;
    this.#ids.next(id);
    if (above !== undefined && this.#isAsParent) span.deriveIdentity(this.#ids.high, this.#ids.low);
    else this.#identify(span, above);
    if (this.#isSuppressed || (this.#sampler === undefined && !isSampledUnder(above))) {
      span.stopRecording();
    } else {
      span.begin(values);
      if (parent !== inside) span.addLink({ context: (inside as GuestSpan).spanContext(), attributes: MOVED });
      this.#begin(span, parent, above);
    }
    this.#count(span);
    // Throws nothing, or the receiver would think that there is no span: the next call reports.
    return span;
  }

  /** What an attempt that is a span of its own opens inside of spans of earlier ones goes under that span. */
  #parentInRun(inside: GuestSpan | undefined): GuestSpan | undefined {
    return inside?.attempt === this.#attempt ? inside : undefined;
  }

  record(span: GuestSpan, values: RelayedValues, _time: EventTime): void {
    if (span.isRecording()) {
      this.#touch(span);
      span.record(values);
    }
    this.#outlet.throwFailure();
  }

  recordFollowsFrom(span: GuestSpan, followsFrom: GuestSpan, _time: EventTime): void {
    if (span.isRecording()) {
      this.#touch(span);
      this.#addLink(span, followsFrom.spanContext());
    }
    this.#outlet.throwFailure();
  }

  enter(span: GuestSpan, time: EventTime): void {
    if (span.isRecording()) {
      this.#touch(span);
      this.#clock.read(time);
      span.enter(this.#clock.seconds, this.#clock.nanos);
    }
    this.#outlet.throwFailure();
  }

  exit(span: GuestSpan, time: EventTime): void {
    // The guest is still inside of suspended spans, and inside of those that the rollback has put back.
    if (span.isRecording() && this.#phase !== "suspended" && !this.#isPutBack(span)) {
      this.#touch(span);
      this.#clock.read(time);
      span.exit(this.#clock.seconds, this.#clock.nanos);
    }
    this.#outlet.throwFailure();
  }

  tryClose(span: GuestSpan, time: EventTime): void {
    if (span.isRecording() && !this.#isPutBack(span)) {
      this.#touch(span);
      this.#roots.delete(span);
      this.#close(span, time);
    }
    this.#outlet.throwFailure();
  }

  event(callSite: CallSite, values: RelayedValues, { span }: Parent<GuestSpan>, time: EventTime): void {
    if (this.#isSuppressed) return;
    const plan = this.#plans.get(callSite);
    this.#clock.read(time);
    const { seconds, nanos } = this.#clock;
    if (span?.isRecording() === true) {
      this.#touch(span);
      if (plan.isError) this.#errorEvent(span, plan, values, seconds, nanos);
      else if (this.#toSpans) this.#spanEvent(span, plan, values, seconds, nanos);
    }
    if (this.#toLogs || span === undefined) this.#sideEvent(callSite, plan, values, span, [seconds, nanos]);
    this.#outlet.throwFailure();
  }

  /** An event `spanduct.loss` on open roots; where there is none, a log record or an event of the host's span. */
  loss(loss: Loss): void {
    if (this.#isSuppressed) return;
    const event = lossEvent(loss, this.#clock.at(undefined));
    let told = 0;
    for (const span of this.#roots) {
      if (told++ === MAX_TOLD_OF_LOSS) break;
      this.#touch(span);
      this.#addEvent(span, { ...event }, 0);
    }
    if (this.#roots.isEmpty) this.#sideOutlet.loss(event);
    this.#outlet.throwFailure();
  }

  /** @throws TunnelError "snapshot_mismatch": the saved state says it is this relay's and is damaged */
  restoreSpan({ callSite, local, saved }: RestoredSpan<GuestSpan>): GuestSpan | undefined {
    const { plans, spans } = this.#setup;
    const open = local instanceof GuestSpan && !local.ended ? local : undefined;
    const read = readSpan(saved);
    let span = open;
    if (read !== undefined) {
      const { origin, state, revision } = read;
      if (open === undefined || origin.closed || !isSame(open.spanContext(), origin.identity)) {
        const plan = plans.get(callSite);
        span = new GuestSpan(spans, plan, origin.parent, ...origin.startTime);
        span.identify(origin.identity);
        span.setScope(plans.scope(origin.scope));
        span.rename(state.name);
        span.isRoot = origin.isRoot;
        if (origin.closed) span.closeEarly();
        else if (!origin.recording) span.stopRecording();
      }
      // What this process remembers is the same, or what is left of an attempt whose state was not kept in the end.
      if (span !== undefined && !origin.closed && (span !== open || span.revision !== revision)) {
        span.state = state;
        span.revision = revision;
      }
    }
    if (span !== undefined) {
      this.#held.bytes += span.keptBytes;
      this.#count(span);
      if (span.spanContext().traceId !== this.#above?.traceId) this.#hasOtherTrace = true;
    }
    return span;
  }

  /** Plain JSON: what `restoreSpan` needs. */
  saveSpan(span: GuestSpan): SavedSpan {
    span.revision++;
    const reason = span.recording ? this.#reasonToClose(span) : undefined;
    const saved = writeSpan(span);
    if (reason === undefined) return saved;
    this.#touch(span);
    flagForcedClose(span.attributes, reason);
    this.#close(span, undefined);
    return { ...saved, recording: false, closed: true, attributes: [], events: [], links: [] };
  }

  /** The guest is at its end: what it has left open when it is persisted is closed, and says so. */
  finish(): void {
    this.#isFinishing = true;
  }

  suspend(): void {
    this.#phase = "suspended";
  }

  commit(): void {
    if (this.#run !== undefined) this.#close(this.#run, undefined);
    const held = this.#held.take();
    if (this.#setup.canUndo === true) this.#committed = held;
    else this.#before = undefined;
    const pending = this.#setup.pendingSpans && this.#isTransactional ? openOf(held) : [];
    for (const outgoing of held) this.#outlet.send(outgoing);
    for (const span of pending) this.#showPending(span);
    this.#outlet.throwFailure();
  }

  rollback(): void {
    const { isTransactional, discards, idsAfterRollback, onRollback } = this.#setup;
    this.#phase = "rolled back";
    onRollback();
    for (const [span, state] of this.#before ?? []) span.state = state;
    this.#before = undefined;
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
        this.#outlet.send(outgoing);
      }
    }
    if (this.#run?.isOpen === true) this.#close(this.#run, undefined);
    this.#outlet.throwFailure();
  }

  /** The attempt was committed, and nothing of that counts: it is rolled back, and what the guest has left open is closed. */
  undoCommit(): void {
    const open = openOf(this.#committed);
    for (const outgoing of this.#committed) this.#held.push(outgoing, 0);
    this.#committed = [];
    this.rollback();
    for (const span of open.reverse()) this.#close(span, undefined);
  }

  /** Open the span that the attempt is. Everything hangs under it from here on. */
  #openRun({ name, attributes }: RunSpan): GuestSpan {
    const { plans, spans, links } = this.#setup;
    const plan = new CallSitePlan(RUN, plans.scope(RUN.target), spans.limits);
    this.#ids.nextOther();
    const traceFlags = this.#sampler === undefined ? TraceFlags.SAMPLED : TraceFlags.NONE;
    const identity = { traceId: this.#ids.traceId(), spanId: this.#ids.spanId(), traceFlags };
    const run = new GuestSpan(spans, plan, undefined, ...this.#clock.at(undefined));
    run.identify(identity);
    run.rename(name);
    run.attempt = this.#attempt;
    run.isRoot = true;
    run.begin(NO_VALUES);
    run.setAttributes(attributes);
    run.addLinks([...links]);
    this.#links.length = 0;
    this.#begin(run, undefined, undefined);
    this.#count(run);
    this.#hostSpan = identity;
    this.#context = run.contextUnder(this.#context);
    return run;
  }

  /** It ends, for exporters now or at the commit. */
  #close(span: GuestSpan, time: EventTime): void {
    this.#clock.read(time);
    span.close(this.#clock.seconds, this.#clock.nanos);
    if (this.#phase === "rolled back") {
      this.#endRolledBack(span);
    } else if (this.#isTransactional || span.attempt !== this.#attempt) {
      this.#held.push({ kind: "end", span }, span.attributeBytes);
    } else {
      this.#held.bytes -= span.keptBytes;
      this.#outlet.end(span);
    }
  }

  #spanEvent(span: GuestSpan, plan: CallSitePlan, values: RelayedValues, seconds: number, nanos: number): void {
    const { shape } = values;
    const event =
      shape === undefined
        ? spanEvent(this.#spans.eventWriter, plan, values, [seconds, nanos])
        : new GuestEvent(plan, shape, values.raws, seconds, nanos);
    this.#addEvent(span, event, valueBytes(values));
  }

  #addEvent(span: GuestSpan, event: GuestEvent | TimedEvent, bytes: number): void {
    const more = EVENT_BYTES + bytes;
    const fits = this.#spans.limits.eventCountLimit > 0 && this.#held.keep(more - span.freedByNext) === undefined;
    if (fits) span.pushEvent(event, more);
    else span.dropEvent();
  }

  #addLink(span: GuestSpan, to: SpanContext): void {
    const { length } = span.links;
    if (this.#held.keep(LINK_BYTES) !== undefined) {
      span.dropLink();
      return;
    }
    span.addLink({ context: to, attributes: { "opentracing.ref_type": "follows_from" } });
    // One that takes the place of another one costs nothing.
    if (span.links.length > length) span.keptBytes += LINK_BYTES;
    else this.#held.bytes -= LINK_BYTES;
  }

  #reasonToClose(span: GuestSpan): ForcedClose | undefined {
    if (this.#isFinishing) return "execution_finished";
    const { maxSpanAgeMs } = this.#setup;
    if (maxSpanAgeMs === Number.POSITIVE_INFINITY) return undefined;
    const [seconds, nanos] = this.#setup.spans.clock();
    const age = (seconds - span.startTime[0]) * 1000 + (nanos - span.startTime[1]) / 1e6;
    return age > maxSpanAgeMs ? "max_span_age" : undefined;
  }

  /** Let a child without length go out that says that the span is open. */
  #showPending(span: GuestSpan): void {
    this.#ids.nextOther();
    const { traceId, traceFlags, traceState } = span.spanContext();
    const identity: SpanContext = { traceId, spanId: this.#ids.spanId(), traceFlags };
    if (traceState !== undefined) identity.traceState = traceState;
    const pending = span.pendingChild(identity);
    this.#outlet.start(pending, span.contextUnder(this.#context));
    this.#outlet.end(pending);
  }

  /** What the guest's roots hang under; where that is no span but only a trace, with an invalid id. */
  get #above(): SpanContext | undefined {
    if (this.#hostSpan !== undefined) return this.#hostSpan;
    const { traceId } = this.#setup;
    return traceId === undefined ? undefined : { traceId, spanId: INVALID_SPANID, traceFlags: TraceFlags.SAMPLED };
  }

  #errorEvent(span: GuestSpan, plan: CallSitePlan, values: RelayedValues, seconds: number, nanos: number): void {
    const event = spanEvent(this.#spans.eventWriter, plan, values, [seconds, nanos]);
    span.fail(event.name === plan.givenName ? plan.name : event.name, errorOf(values));
    if (this.#toSpans) this.#addEvent(span, event, valueBytes(values));
  }

  /** An event that is more than one of a guest's span. */
  #sideEvent(callSite: CallSite, plan: CallSitePlan, values: RelayedValues, span: GuestSpan | undefined, at: HrTime): void {
    if (this.#toLogs || this.#setup.loggers !== undefined) {
      this.#sideOutlet.log(callSite, plan, values, at, span?.contextUnder(this.#context));
    } else {
      this.#sideOutlet.hostEvent(spanEvent(this.#spans.eventWriter, plan, values, at));
    }
  }

  /** Most attempts that make no log records never need it. */
  get #sideOutlet(): SideOutlet {
    this.#side ??= new SideOutlet({
      loggers: this.#setup.loggers,
      context: this.#context,
      clock: this.#spans.clock,
      send: (outgoing) => {
        if (this.#isTransactional) this.#hold(outgoing);
        else this.#outlet.send(outgoing);
      },
    });
    return this.#side;
  }

  /** Say who the current span is. With a sampler it is sampled only when that has said so. */
  #identify(span: GuestSpan, above: SpanContext | undefined): void {
    const ids = this.#ids;
    const traceId = above === undefined ? (this.#setup.traceId ?? ids.traceId()) : above.traceId;
    const traceFlags = this.#isAsParent ? TraceFlags.SAMPLED : TraceFlags.NONE;
    const identity: SpanContext = { traceId, spanId: ids.spanId(), traceFlags };
    if (above?.traceState !== undefined) identity.traceState = above.traceState;
    span.identify(identity);
  }

  #begin(span: GuestSpan, parent: GuestSpan | undefined, above: SpanContext | undefined): void {
    const context = parent === undefined ? this.#context : parent.contextUnder(this.#context);
    if (this.#isDirect) this.#outlet.start(span, context);
    else this.#beginOther(span, parent, above, context);
  }

  #beginOther(span: GuestSpan, parent: GuestSpan | undefined, above: SpanContext | undefined, context: Context): void {
    if (parent === undefined && this.#links.length > 0) span.addLinks(this.#links);
    if (this.#sampler !== undefined) this.#sample(this.#sampler, span, context, above);
    if (!span.recording) return;
    if (this.#isTransactional) return this.#holdStart(span, context);
    this.#outlet.start(span, context);
    if (this.#setup.pendingSpans) this.#showPending(span);
  }

  /** Note what `maxLevel` and `loss` need to know. */
  #count(span: GuestSpan): void {
    if (span.recording) {
      this.#recordsSome = true;
      if (span.isRoot) this.#roots.add(span);
    } else if (span.closedEarly) {
      this.#recordsSome = true;
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
      this.#outlet.fail(error);
      result = { decision: isSampledUnder(above) ? 2 : 0 };
    }
    if (result.traceState !== undefined) identity.traceState = result.traceState;
    if (result.decision === 0) return span.stopRecording();
    if (result.decision === 2) identity.traceFlags = TraceFlags.SAMPLED;
    if (result.attributes !== undefined) span.setAttributes(result.attributes);
  }

  #holdStart(span: GuestSpan, context: Context): void {
    const full = this.#held.refusal(0);
    if (full === undefined) return this.#held.push({ kind: "start", span, context }, 0);
    span.stopRecording();
    this.#outlet.fail(full);
  }

  /** A log record, or an event of the host's span. */
  #hold(outgoing: SideOutgoing): void {
    const bytes = sideBytes(outgoing);
    const full = this.#held.refusal(bytes);
    if (full === undefined) this.#held.push(outgoing, bytes);
    else this.#outlet.fail(full);
  }

  /** Keep the state of a span of an earlier attempt before this one changes it. */
  #touch(span: GuestSpan): void {
    if (span.attempt === this.#attempt) return;
    this.#before ??= new Map();
    if (!this.#before.has(span)) this.#before.set(span, span.state);
  }

  /** Whether the rollback has put it back to what it was before this attempt: what the receiver says of it then is not for it. */
  #isPutBack(span: GuestSpan): boolean {
    return this.#phase === "rolled back" && span.attempt !== this.#attempt;
  }

  #endRolledBack(span: GuestSpan): void {
    if (this.#setup.discards) return;
    span.markRolledBack();
    this.#outlet.end(span);
  }
}

/** Spans that are begun here and not ended. */
export function openOf(outgoing: readonly Outgoing[]): GuestSpan[] {
  const open = new Set<GuestSpan>();
  for (const item of outgoing) {
    if (item.kind === "start") open.add(item.span);
    else if (item.kind === "end") open.delete(item.span);
  }
  return [...open];
}

/** The default sampler: as the parent; sampled where there is none. */
function isSampledUnder(parent: SpanContext | undefined): boolean {
  return parent === undefined || (parent.traceFlags & TraceFlags.SAMPLED) !== 0;
}

function isSame(a: SpanContext, b: SpanContext): boolean {
  return a.spanId === b.spanId && a.traceId === b.traceId;
}
