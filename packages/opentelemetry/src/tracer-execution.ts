import {
  type Context,
  isSpanContextValid,
  type Link,
  type SpanContext,
  SpanStatusCode,
  type Tracer,
  trace,
} from "@opentelemetry/api";
import type { ClockDomain, EventTime, Id, TraceContext, ValueColumns } from "@spanduct/protocol";
import type { CallSite, Loss, Parent, Relay, RestoredSpan } from "@spanduct/receiver";
import type { AttemptSetup } from "./attempt-options.ts";
import { type AttributeMap, errorOf } from "./attribute-value.ts";
import { AttributeWriter, NO_ATTRIBUTES } from "./attribute-writer.ts";
import type { CallSitePlans } from "./call-site.ts";
import { GuestClock, type HostClock } from "./clock.ts";
import { Delivery } from "./delivery.ts";
import { spanEvent } from "./events.ts";
import { Held } from "./held.ts";
import { OpenRoots } from "./open-roots.ts";
import { isTracingSuppressed, ParentContext } from "./parent-context.ts";
import type { PerTarget } from "./per-target.ts";
import type { Logger } from "./sdk.ts";
import { lossEvent, MAX_TOLD_OF_LOSS, type SideOutgoing, SideOutlet, sideBytes } from "./side-outlet.ts";
import { attributeBytes, EVENT_BYTES, LINK_BYTES, valueBytes } from "./sizes.ts";
import { applySpecialField } from "./special-fields.ts";
import { flagRolledBack, rolledBackStatus } from "./status.ts";
import { traceContextOf } from "./trace-context.ts";
import { readTracerSpan, type SavedTracerSpan, TracerSpan, type TracerSpanState, writeTracerSpan } from "./tracer-span.ts";

/** What one attempt is made with; everything is decided. */
export interface TracerExecutionSetup extends AttemptSetup {
  readonly plans: CallSitePlans;
  readonly loggers: PerTarget<Logger> | undefined;
  readonly clock: HostClock;
  /** @returns the tracer for a target, and whether it makes the spans of other targets too */
  readonly tracerFor: (target: string) => { readonly tracer: Tracer; readonly isCommon: boolean };
}

/** Something that is done to a tracer's span now or, when it is held, once the attempt is persisted. */
type HeldCall =
  | { readonly kind: "call"; readonly span: TracerSpan; readonly run: () => void }
  | { readonly kind: "end"; readonly span: TracerSpan; readonly run: () => void }
  | SideOutgoing;

/**
 * One attempt at an execution, by way of a tracer. What it does to spans of earlier attempts, and in `transactional` mode
 * everything, is held until the attempt is suspended, that is persisted, and forgotten when it is rolled back.
 */
export class TracerExecution implements Relay<TracerSpan> {
  readonly #setup: TracerExecutionSetup;
  readonly #clock: GuestClock;
  readonly #delivery: Delivery = new Delivery([]);
  readonly #side: SideOutlet;
  readonly #writer: AttributeWriter = new AttributeWriter(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
  readonly #attempt: object = {};
  readonly #host: SpanContext | undefined;
  readonly #held: Held<HeldCall>;
  readonly #before: Map<TracerSpan, TracerSpanState> = new Map();
  readonly #roots: OpenRoots<TracerSpan> = new OpenRoots();
  #phase: "running" | "suspended" | "rolled back" = "running";
  #recordsSome = false;
  #droppedRoot = false;

  constructor(setup: TracerExecutionSetup) {
    this.#setup = setup;
    this.#clock = new GuestClock(setup.clock);
    this.#held = new Held(setup.maxHeld, setup.maxHeldBytes);
    this.#side = new SideOutlet({
      loggers: setup.loggers,
      context: setup.context,
      clock: setup.clock,
      send: (outgoing) => {
        if (setup.isTransactional) this.#hold(outgoing, sideBytes(outgoing));
        else this.#delivery.send(outgoing);
      },
    });
    const host = trace.getSpanContext(setup.context);
    this.#host = host !== undefined && isSpanContextValid(host) ? host : undefined;
  }

  /** 0 when the tracer records none of the execution's roots and no log records are made of events, else 5. */
  get maxLevel(): number {
    return this.#droppedRoot && !this.#recordsSome && !this.#setup.toLogs ? 0 : 5;
  }

  /** Without the key of span ids, which the tracer makes. */
  get traceContext(): TraceContext | undefined {
    return this.#host && !isTracingSuppressed(this.#setup.context) ? traceContextOf(this.#host) : undefined;
  }

  timeBase(baseUnixNano: bigint, clock: ClockDomain): void {
    this.#clock.timeBase(baseUnixNano, clock);
  }

  newSpan(callSite: CallSite, _id: Id, values: ValueColumns, { span: parent }: Parent<TracerSpan>, time: EventTime): TracerSpan {
    const origin = {
      plan: this.#setup.plans.get(callSite),
      startTime: this.#at(time),
      isRoot: parent === undefined,
      outerParent: this.#host,
      continues: undefined,
    };
    const span = new TracerSpan(origin, parent);
    span.attempt = this.#attempt;
    const { context, links } = this.#setup;
    this.#prepare(span, callSite, values, span.origin.isRoot ? [...links] : [], () =>
      parent === undefined ? context : trace.setSpan(context, parent.span),
    );
    if (this.#setup.isTransactional && this.#held.refusal(0) !== undefined) span.drop();
    else if (span.origin.isRoot) this.#roots.add(span);
    this.#call(span, EVENT_BYTES + valueBytes(values), () => {
      if (span.span.isRecording()) this.#recordsSome = true;
      else if (span.origin.isRoot) this.#droppedRoot = true;
    });
    // Throws nothing, or the receiver would think that there is no span: the next call reports.
    return span;
  }

  record(span: TracerSpan, values: ValueColumns, _time: EventTime): void {
    if (span.mayRecord) {
      this.#touch(span);
      const { name: oldName } = span;
      this.#writer.begin(NO_ATTRIBUTES);
      span.origin.plan.spanAttributes.add(this.#writer, values, (name, kind, raw) => applySpecialField(span, name, kind, raw));
      const { attributes } = this.#writer;
      const { name, status } = span;
      this.#call(span, EVENT_BYTES + valueBytes(values), () => {
        if (name !== oldName) span.span.updateName(name);
        span.span.setAttributes(attributes).setStatus(status);
      });
    }
    this.#delivery.throwFailure();
  }

  recordFollowsFrom(span: TracerSpan, followsFrom: TracerSpan, _time: EventTime): void {
    if (span.mayRecord && !followsFrom.isDropped) {
      this.#add(span, LINK_BYTES, () => span.span.addLink(followsLink(followsFrom.span.spanContext())));
    }
    this.#delivery.throwFailure();
  }

  enter(span: TracerSpan, time: EventTime): void {
    this.#touch(span);
    span.timings.enter(...this.#at(time));
    this.#delivery.throwFailure();
  }

  exit(span: TracerSpan, time: EventTime): void {
    // The guest is still inside of suspended spans, and inside of those that the rollback has put back.
    if (this.#phase !== "suspended" && !this.#isPutBack(span)) {
      this.#touch(span);
      span.timings.exit(...this.#at(time));
    }
    this.#delivery.throwFailure();
  }

  tryClose(span: TracerSpan, time: EventTime): void {
    if (!span.isDropped && !this.#isPutBack(span)) {
      this.#touch(span);
      this.#roots.delete(span);
      const end = notBefore(this.#at(time), span.origin.startTime);
      span.timings.finish(...end);
      const { busyNanos, idleNanos } = span.timings;
      const run = (): void => {
        span.span.setAttributes({ busy_ns: busyNanos, idle_ns: idleNanos });
        span.span.end(end);
        span.isEnded = true;
      };
      if (this.#phase !== "rolled back") this.#end(span, run);
      else if (!this.#setup.discards) this.#runRolledBack(span, run);
    }
    this.#delivery.throwFailure();
  }

  event(callSite: CallSite, values: ValueColumns, { span }: Parent<TracerSpan>, time: EventTime): void {
    const { plans, toSpans, toLogs, context } = this.#setup;
    const plan = plans.get(callSite);
    const at = this.#at(time);
    if (span?.mayRecord === true) {
      this.#touch(span);
      const { name, attributes } = spanEvent(this.#writer, plan, values, at);
      if (plan.isError) this.#fail(span, name === plan.givenName ? plan.name : name, values);
      if (toSpans) this.#add(span, EVENT_BYTES + valueBytes(values), () => span.span.addEvent(name, attributes, at));
    }
    if (toLogs || (span === undefined && this.#side.hasLogs)) {
      this.#side.log(callSite, plan, values, at, span === undefined ? undefined : new ParentContext(context, () => span.span));
    } else if (span === undefined) {
      this.#side.hostEvent(spanEvent(this.#writer, plan, values, at));
    }
    this.#delivery.throwFailure();
  }

  /** An event `spanduct.loss` on open roots; where there is none, a log record or an event of the host's span. */
  loss(loss: Loss): void {
    const event = lossEvent(loss, this.#at(undefined));
    let told = 0;
    for (const span of this.#roots) {
      if (told++ === MAX_TOLD_OF_LOSS) break;
      this.#add(span, EVENT_BYTES, () => span.span.addEvent(event.name, event.attributes, event.time));
    }
    if (this.#roots.isEmpty) this.#side.loss(event);
    this.#delivery.throwFailure();
  }

  /**
   * The same span where this process still has it, else a new one that goes on with it.
   *
   * @throws TunnelError "snapshot_mismatch": the saved state says it is this relay's and is damaged
   */
  restoreSpan({ callSite, values, local, saved }: RestoredSpan<TracerSpan>): TracerSpan | undefined {
    let span = local instanceof TracerSpan && !local.isEnded ? local : undefined;
    if (span === undefined) {
      const read = readTracerSpan(saved, this.#setup.plans.get(callSite));
      if (read === undefined) return undefined;
      const { origin, state } = read;
      span = new TracerSpan(origin);
      const { context } = this.#setup;
      this.#prepare(span, callSite, values, origin.continues === undefined ? [] : [followsLink(origin.continues)], () =>
        origin.outerParent === undefined ? context : trace.setSpanContext(context, origin.outerParent),
      );
      span.state = state;
    }
    if (span.mayRecord) this.#recordsSome = true;
    if (span.origin.isRoot) this.#roots.add(span);
    return span;
  }

  /** Plain JSON: what `restoreSpan` needs. */
  saveSpan(span: TracerSpan): SavedTracerSpan | undefined {
    return writeTracerSpan(span);
  }

  /** What is held goes out here, because spans get their identity from the tracer and it is about to be saved. */
  suspend(): void {
    this.#phase = "suspended";
    this.#before.clear();
    for (const held of this.#held.take()) this.#release(held);
    this.#delivery.throwFailure();
  }

  commit(): void {
    this.#delivery.throwFailure();
  }

  rollback(): void {
    const { isTransactional, discards } = this.#setup;
    this.#phase = "rolled back";
    for (const [span, state] of this.#before) span.state = state;
    this.#before.clear();
    for (const held of this.#held.take()) {
      if (!isTransactional || discards) continue;
      if (held.kind === "log") flagRolledBack(held.record.attributes);
      else if (held.kind === "host event") flagRolledBack(held.attributes);
      else if (held.span.attempt !== this.#attempt) continue;
      if (held.kind === "end") this.#runRolledBack(held.span, held.run);
      else this.#release(held);
    }
    this.#delivery.throwFailure();
  }

  #at(time: EventTime): [number, number] {
    this.#clock.read(time);
    return [this.#clock.seconds, this.#clock.nanos];
  }

  /** Work out now what is known of the span now, and see to it that it starts with that. */
  #prepare(span: TracerSpan, callSite: CallSite, values: ValueColumns, links: Link[], context: () => Context): void {
    const { plan, startTime } = span.origin;
    plan.spanAttributes.write(this.#writer, values, (name, kind, raw) => applySpecialField(span, name, kind, raw));
    const { attributes } = this.#writer;
    const { name, kind } = span;
    const { target } = callSite.data;
    span.start = () => {
      const { tracer, isCommon } = this.#setup.tracerFor(target);
      const own = isCommon ? { ...attributes, target } : attributes;
      const started = tracer.startSpan(name, { kind, attributes: own, links, startTime: [...startTime] }, context());
      started.setStatus(span.status);
      return started;
    };
  }

  #fail(span: TracerSpan, message: string | undefined, values: ValueColumns): void {
    const error = errorOf(values);
    if (span.status.code === SpanStatusCode.UNSET) span.mergeStatus(SpanStatusCode.ERROR, error?.message ?? message);
    const { status } = span;
    const attributes: AttributeMap = error?.type === undefined ? {} : { "error.type": error.type };
    this.#call(span, EVENT_BYTES + attributeBytes(attributes), () => span.span.setAttributes(attributes).setStatus(status));
  }

  /** Keep the state of a span of an earlier attempt before this one changes it. */
  #touch(span: TracerSpan): void {
    if (span.attempt !== this.#attempt && !this.#before.has(span)) this.#before.set(span, span.state);
  }

  /** Whether the rollback has put it back to what it was before this attempt: what the receiver says of it then is not for it. */
  #isPutBack(span: TracerSpan): boolean {
    return this.#phase === "rolled back" && span.attempt !== this.#attempt;
  }

  /** Do something to a span, for which so many bytes are kept where it has to wait. */
  #call(span: TracerSpan, bytes: number, run: () => void): void {
    if (this.#waits(span)) this.#hold({ kind: "call", span, run }, bytes);
    else this.#run(run);
  }

  /** As `#call`, for what the tracer keeps until the span ends. How much of it, its limits say, so this counts all. */
  #add(span: TracerSpan, bytes: number, run: () => void): void {
    if (this.#waits(span)) return this.#hold({ kind: "call", span, run }, bytes);
    const full = this.#held.keep(bytes);
    if (full !== undefined) return this.#delivery.fail(full);
    span.keptBytes += bytes;
    this.#run(run);
  }

  #end(span: TracerSpan, run: () => void): void {
    if (this.#waits(span)) return this.#hold({ kind: "end", span, run }, 0);
    this.#held.bytes -= span.keptBytes;
    this.#run(run);
  }

  #waits(span: TracerSpan): boolean {
    return this.#setup.isTransactional || span.attempt !== this.#attempt;
  }

  /** What is held of spans that there was room for comes to its end, whatever the bound. */
  #hold(held: HeldCall, bytes: number): void {
    const full = held.kind === "end" ? undefined : this.#held.refusal(bytes);
    if (full === undefined) this.#held.push(held, bytes);
    else this.#delivery.fail(full);
  }

  #release(held: HeldCall): void {
    if (held.kind === "log" || held.kind === "host event") this.#delivery.send(held);
    else this.#run(held.run);
  }

  #run(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#delivery.fail(error);
    }
  }

  #runRolledBack(span: TracerSpan, end: () => void): void {
    this.#run(() => {
      const flag: AttributeMap = {};
      flagRolledBack(flag);
      span.span.setAttributes(flag).setStatus(rolledBackStatus(span.status));
      end();
    });
  }
}

function followsLink(identity: SpanContext): Link {
  return { context: identity, attributes: { "opentracing.ref_type": "follows_from" } };
}

function notBefore(end: readonly [number, number], start: readonly [number, number]): [number, number] {
  return end[0] < start[0] || (end[0] === start[0] && end[1] < start[1]) ? [...start] : [...end];
}
