import {
  type Attributes,
  type Context,
  type Exception,
  type HrTime,
  INVALID_SPANID,
  type Link,
  type Span,
  type SpanContext,
  SpanKind,
  type SpanStatus,
  SpanStatusCode,
  type TimeInput,
} from "@opentelemetry/api";
import type { TracedError, ValueColumns } from "@spanduct/protocol";
import type { TakeValue } from "./attribute-plan.ts";
import { type AttributeMap, attributeValue } from "./attribute-value.ts";
import { AttributeWriter, NO_ATTRIBUTES } from "./attribute-writer.ts";
import type { CallSitePlan } from "./call-site.ts";
import { type HostClock, hostTime } from "./clock.ts";
import type { SpanLimits } from "./limits.ts";
import { ParentContext } from "./parent-context.ts";
import type { InstrumentationScope, ReadableSpan, Resource, TimedEvent } from "./sdk.ts";
import { attributeBytes, EVENT_BYTES, LINK_BYTES } from "./sizes.ts";
import { applySpecialField, type Steered } from "./special-fields.ts";
import { flagRolledBack, mergeStatus, rolledBackStatus } from "./status.ts";
import { type TimingState, Timings } from "./timings.ts";

/** The end of a span that has none. */
const OPEN: HrTime = [0, 0];

/** The status of a span until another is said. */
export const UNSET: SpanStatus = Object.freeze({ code: SpanStatusCode.UNSET });

/** What all spans of one relay share. */
export interface SpanSetup {
  readonly limits: Required<SpanLimits>;
  readonly resource: Resource;
  readonly clock: HostClock;
}

/** Everything about a span that can change before it ends, as plain data of its own. */
export interface SpanState {
  readonly name: string;
  readonly kind: SpanKind;
  readonly status: SpanStatus;
  readonly attributes: AttributeMap;
  readonly events: readonly TimedEvent[];
  readonly links: readonly Link[];
  readonly droppedAttributesCount: number;
  readonly droppedEventsCount: number;
  readonly droppedLinksCount: number;
  /** `undefined`: it was never entered. */
  readonly timings: TimingState | undefined;
}

/**
 * A span of a guest. It is what processors and exporters read (`ReadableSpan`) and what processors may write to (`api.Span`).
 * Only the guest ends it: `end` does nothing.
 */
export class GuestSpan implements Span, ReadableSpan, Steered {
  // What the constructor is given is only declared here: a field of a class is written once more otherwise.
  declare name: string;
  declare readonly startTime: HrTime;
  declare readonly parentSpanContext?: SpanContext;
  declare readonly resource: Resource;
  declare readonly instrumentationScope: InstrumentationScope;
  kind: SpanKind = SpanKind.INTERNAL;
  status: SpanStatus = UNSET;
  attributes: AttributeMap = NO_ATTRIBUTES.attributes;
  droppedAttributesCount = 0;
  /** `[0, 0]` as long as the span is open. */
  endTime: HrTime = OPEN;
  links: Link[] = [];
  events: TimedEvent[] = [];
  droppedEventsCount = 0;
  droppedLinksCount = 0;
  readonly #setup: SpanSetup;
  readonly #plan: CallSitePlan;
  readonly #identity: SpanContext;
  /** Of a span that was entered. */
  #timings: Timings | undefined;
  #attributeCount = 0;
  #recording = true;
  #ended = false;
  #asParent: ParentContext | undefined;
  /** @internal The attempt that opened it or took it over: a mark of the relay's own. */
  attempt: object | undefined;
  /** @internal Whether it has no parent among the guest's spans. */
  isRoot = false;
  /** @internal Its place in `OpenRoots`, -1 when it is not there. */
  rootPlace = -1;
  /** @internal About what its events and links take, those apart that code of the host added. */
  keptBytes = 0;
  /** @internal How often it was saved. */
  revision = 0;
  /** @internal Whether the relay has ended it though the guest holds it open. */
  closedEarly = false;

  /** @internal Made by the relay. */
  constructor(
    setup: SpanSetup,
    scope: InstrumentationScope,
    plan: CallSitePlan,
    identity: SpanContext,
    parent: SpanContext | undefined,
    name: string,
    startTime: HrTime,
  ) {
    this.name = name;
    this.startTime = startTime;
    // Always there, so that all spans have one shape.
    this.parentSpanContext = parent as SpanContext;
    this.resource = setup.resource;
    this.instrumentationScope = scope;
    this.#setup = setup;
    this.#plan = plan;
    this.#identity = identity;
  }

  // ReadableSpan

  spanContext(): SpanContext {
    return this.#identity;
  }

  /** `[-1, -1]` as long as the span is open. */
  get duration(): HrTime {
    if (this.endTime === OPEN) return [-1, -1];
    const seconds = this.endTime[0] - this.startTime[0];
    const nanos = this.endTime[1] - this.startTime[1];
    return nanos < 0 ? [seconds - 1, nanos + 1_000_000_000] : [seconds, nanos];
  }

  get ended(): boolean {
    return this.#ended;
  }

  // api.Span, for code of the host

  isRecording(): boolean {
    return this.#recording && !this.#ended;
  }

  /** Values that not both SDK lines keep (objects, bytes, null, mixed arrays) count as dropped. */
  setAttribute(key: string, value: unknown): this {
    if (!this.isRecording() || value === undefined) return this;
    // A writer of its own, because the host's code may come in the middle of the relay's writing.
    const { attributeCountLimit, attributeValueLengthLimit } = this.#setup.limits;
    const writer = new AttributeWriter(attributeCountLimit, attributeValueLengthLimit);
    writer.resume(this.attributes, this.#attributeCount, this.droppedAttributesCount);
    putHostValue(writer, key, value);
    this.take(writer);
    return this;
  }

  setAttributes(attributes: Attributes): this {
    for (const key of Object.keys(attributes)) this.setAttribute(key, attributes[key]);
    return this;
  }

  addEvent(name: string, attributesOrTime?: Attributes | TimeInput, time?: TimeInput): this {
    if (!this.isRecording()) return this;
    const isTime = Array.isArray(attributesOrTime) || attributesOrTime instanceof Date || typeof attributesOrTime === "number";
    const at = hostTime(time ?? (isTime ? (attributesOrTime as TimeInput) : undefined), this.#setup.clock);
    const { attributePerEventCountLimit, attributeValueLengthLimit } = this.#setup.limits;
    const writer = new AttributeWriter(attributePerEventCountLimit, attributeValueLengthLimit);
    if (!isTime && attributesOrTime !== undefined) putHostValues(writer, attributesOrTime as Attributes);
    this.pushEvent({ name, time: at, attributes: writer.attributes, droppedAttributesCount: writer.dropped }, 0);
    return this;
  }

  addLink(link: Link): this {
    if (!this.isRecording()) return this;
    const { linkCountLimit, attributePerLinkCountLimit, attributeValueLengthLimit } = this.#setup.limits;
    if (this.links.length >= linkCountLimit) {
      this.droppedLinksCount++;
      if (linkCountLimit <= 0) return this;
      this.links.shift();
    }
    const writer = new AttributeWriter(attributePerLinkCountLimit, attributeValueLengthLimit);
    if (link.attributes !== undefined) putHostValues(writer, link.attributes);
    const droppedAttributesCount = writer.dropped + (link.droppedAttributesCount ?? 0);
    this.links.push({ context: link.context, attributes: writer.attributes, droppedAttributesCount });
    return this;
  }

  addLinks(links: Link[]): this {
    for (const link of links) this.addLink(link);
    return this;
  }

  setStatus({ code, message }: SpanStatus): this {
    if (!this.isRecording() || code === SpanStatusCode.UNSET || this.status.code === SpanStatusCode.OK) return this;
    this.status = code === SpanStatusCode.ERROR && typeof message === "string" ? { code, message } : { code };
    return this;
  }

  updateName(name: string): this {
    if (this.isRecording()) this.name = name;
    return this;
  }

  recordException(exception: Exception, time?: TimeInput): void {
    const { name, message, stack, code } =
      typeof exception === "string" ? { name: undefined, message: exception, stack: undefined, code: undefined } : exception;
    const attributes: Attributes = {};
    if (code !== undefined) attributes["exception.type"] = String(code);
    else if (name !== undefined) attributes["exception.type"] = name;
    if (message !== undefined) attributes["exception.message"] = message;
    if (stack !== undefined) attributes["exception.stacktrace"] = stack;
    this.addEvent("exception", attributes, time);
  }

  /** Does nothing: a guest's span ends when the guest closes it. */
  end(): void {}

  // What the guest does, through the relay

  /** @internal */
  rename(name: string): void {
    this.name = name;
  }

  /** @internal */
  setKind(kind: SpanKind): void {
    this.kind = kind;
  }

  /** @internal */
  mergeStatus(code: SpanStatusCode, message?: string): void {
    this.status = mergeStatus(this.status, code, message);
  }

  /** @internal Start with what the call site and the values say. */
  begin(writer: AttributeWriter, values: ValueColumns): void {
    const plan = this.#plan;
    plan.spanAttributes.write(writer, values, plan.hasSpecialFields ? specialFieldsOf(this) : undefined);
    this.take(writer);
  }

  /** @internal */
  record(writer: AttributeWriter, values: ValueColumns): void {
    writer.resume(this.attributes, this.#attributeCount, this.droppedAttributesCount);
    const plan = this.#plan;
    plan.spanAttributes.add(writer, values, plan.hasSpecialFields ? specialFieldsOf(this) : undefined);
    this.take(writer);
  }

  /** @internal Bytes that one more event lets go of, on the average of those that are kept. */
  get freedByNext(): number {
    const { length } = this.events;
    return length > 0 && length >= this.#setup.limits.eventCountLimit ? Math.floor(this.keptBytes / length) : 0;
  }

  /** @internal Keep an event that takes so many bytes. */
  pushEvent(event: TimedEvent, bytes: number): void {
    const { eventCountLimit } = this.#setup.limits;
    const { events } = this;
    this.keptBytes -= this.freedByNext;
    if (events.length >= eventCountLimit) {
      this.droppedEventsCount++;
      if (eventCountLimit <= 0) return;
      events.shift();
    }
    this.keptBytes += bytes;
    // An array grows in steps of 16, and most spans have few events.
    if (events.length === 0) this.events = [event];
    else events.push(event);
  }

  /** @internal An error happened in it: error status unless a status is set, and `error.type`. */
  fail(message: string | undefined, error: TracedError | undefined): void {
    if (this.status.code === SpanStatusCode.UNSET) this.mergeStatus(SpanStatusCode.ERROR, error?.message ?? message);
    if (error?.type !== undefined) this.setAttribute("error.type", error.type);
  }

  /** @internal */
  enter(seconds: number, nanos: number): void {
    this.#timings ??= new Timings(this.startTime[0], this.startTime[1]);
    this.#timings.enter(seconds, nanos);
  }

  /** @internal */
  exit(seconds: number, nanos: number): void {
    this.#timings?.exit(seconds, nanos);
  }

  /** @internal Set the end, not before the start, and the attributes that come with it. `ended` is for `markEnded` to say. */
  close(end: HrTime): void {
    const start = this.startTime;
    const isEarly = end[0] < start[0] || (end[0] === start[0] && end[1] < start[1]);
    if (isEarly) {
      end[0] = start[0];
      end[1] = start[1];
    }
    this.endTime = end;
    const timings = this.#timings;
    timings?.finish(end[0], end[1]);
    const busy = timings === undefined ? 0 : timings.busyNanos;
    const idle = timings === undefined ? (end[0] - start[0]) * 1e9 + (end[1] - start[1]) : timings.idleNanos;
    if (this.#attributeCount + 2 > this.#setup.limits.attributeCountLimit) {
      this.setAttribute("busy_ns", busy);
      this.setAttribute("idle_ns", idle);
      return;
    }
    this.attributes["busy_ns"] = busy;
    this.attributes["idle_ns"] = idle;
  }

  /** @internal Nothing changes it from here on. */
  markEnded(): void {
    this.#ended = true;
  }

  /** @internal Flag it as work that was rolled back. */
  markRolledBack(): void {
    flagRolledBack(this.attributes);
    this.status = rolledBackStatus(this.status);
  }

  /** @internal The sampler does not want it: it keeps its identity and nothing else. */
  stopRecording(): void {
    this.#recording = false;
    this.attributes = {};
    this.droppedAttributesCount = 0;
    this.events = [];
    this.links = [];
  }

  /** @internal It has ended for exporters, but not for the guest: from here on it is only what others hang under. */
  closeEarly(): void {
    this.closedEarly = true;
    this.stopRecording();
  }

  /** @internal A span without length that says that this one is open, to be its child. */
  pendingChild(identity: SpanContext): GuestSpan {
    const child = new GuestSpan(
      this.#setup,
      this.instrumentationScope,
      this.#plan,
      identity,
      this.#identity,
      this.name,
      this.startTime,
    );
    child.kind = this.kind;
    child.attributes = {
      ...this.attributes,
      "spanduct.pending": true,
      "spanduct.pending_parent_id": this.parentSpanContext?.spanId ?? INVALID_SPANID,
    };
    child.endTime = this.startTime;
    return child;
  }

  /** @internal Whether its end is not known. */
  get isOpen(): boolean {
    return this.endTime === OPEN;
  }

  /** @internal Take over an end that was worked out before. */
  finish(end: HrTime): void {
    this.endTime = end;
  }

  /** @internal Give it another id. Spans and links that refer to it share its identity object and follow. */
  changeId(spanId: string): void {
    this.#identity.spanId = spanId;
  }

  /** @internal The context of its children, `base` being that of the roots. */
  contextUnder(base: Context): Context {
    if (this.#asParent?.base !== base) this.#asParent = new ParentContext(base, () => this);
    return this.#asParent;
  }

  /** @internal A copy that later changes of the span leave alone. */
  get state(): SpanState {
    return {
      name: this.name,
      kind: this.kind,
      status: { ...this.status },
      attributes: { ...this.attributes },
      events: this.events.slice(),
      links: this.links.slice(),
      droppedAttributesCount: this.droppedAttributesCount,
      droppedEventsCount: this.droppedEventsCount,
      droppedLinksCount: this.droppedLinksCount,
      timings: this.timings,
    };
  }

  /** @internal A copy of how long it was entered. */
  get timings(): TimingState | undefined {
    return this.#timings?.state;
  }

  /** @internal Make it open and as it was; takes over what is in `state`. */
  set state(state: SpanState) {
    this.name = state.name;
    this.kind = state.kind;
    this.status = state.status;
    this.attributes = state.attributes;
    this.#attributeCount = Object.keys(state.attributes).length;
    this.droppedAttributesCount = state.droppedAttributesCount;
    this.events = state.events as TimedEvent[];
    this.links = state.links as Link[];
    this.droppedEventsCount = state.droppedEventsCount;
    this.droppedLinksCount = state.droppedLinksCount;
    this.#timings = state.timings && new Timings(this.startTime[0], this.startTime[1]);
    if (this.#timings !== undefined && state.timings !== undefined) this.#timings.state = state.timings;
    this.keptBytes = LINK_BYTES * this.links.length;
    for (const { attributes = {} } of this.events) this.keptBytes += EVENT_BYTES + attributeBytes(attributes as AttributeMap);
    this.endTime = OPEN;
  }

  /** @internal Whether it is recorded, open or not. */
  get recording(): boolean {
    return this.#recording;
  }

  /** @internal Have what was written. */
  take({ attributes, count, dropped }: AttributeWriter): void {
    this.attributes = attributes;
    this.#attributeCount = count;
    this.droppedAttributesCount = dropped;
  }
}

/** Lets the fields that steer `span` do so. */
function specialFieldsOf(span: Steered): TakeValue {
  return (name, kind, raw) => applySpecialField(span, name, kind, raw);
}

/** Put what code of the host gives. */
function putHostValues(writer: AttributeWriter, attributes: Attributes): void {
  for (const key of Object.keys(attributes)) putHostValue(writer, key, attributes[key]);
}

function putHostValue(writer: AttributeWriter, key: string, value: unknown): void {
  if (value === undefined) return;
  const attribute = attributeValue(value);
  if (attribute === undefined) writer.dropped++;
  else writer.put(key, attribute);
}
