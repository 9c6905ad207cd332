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
import type { IdPermutation, RawValue, TracedError, ValueColumns } from "@spanduct/protocol";
import type { RelayedValues, ValueShape } from "@spanduct/receiver";
import type { TakeValue } from "./attribute-plan.ts";
import { type AttributeMap, attributeValue } from "./attribute-value.ts";
import { AttributeWriter, NO_ATTRIBUTES } from "./attribute-writer.ts";
import type { CallSitePlan } from "./call-site.ts";
import { type HostClock, hostTime } from "./clock.ts";
import { GuestEvent, valuesOf } from "./events.ts";
import { identityUnder } from "./identity.ts";
import type { SpanLimits } from "./limits.ts";
import { NOT_PLACED, type Placed } from "./open-roots.ts";
import { ParentContext } from "./parent-context.ts";
import type { InstrumentationScope, ReadableSpan, Resource, TimedEvent } from "./sdk.ts";
import { attributeBytes, EVENT_BYTES, LINK_BYTES, spanValueBytes } from "./sizes.ts";
import { applySpecialField, type Steered } from "./special-fields.ts";
import { flagRolledBack, mergeStatus, rolledBackStatus } from "./status.ts";
import { type TimingState, Timings } from "./timings.ts";

/** Seconds of the end of a span that has none. */
const OPEN = -1;

/** The status of a span until another is said. */
export const UNSET: SpanStatus = Object.freeze({ code: SpanStatusCode.UNSET });

/** What all spans of one relay share. */
export interface SpanSetup {
  readonly limits: Required<SpanLimits>;
  readonly resource: Resource;
  readonly clock: HostClock;
  // For what guests write, one set at a time; no code of the host runs in between.
  readonly spanWriter: AttributeWriter;
  readonly eventWriter: AttributeWriter;
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

/** What most spans have nothing of: made with the first of it. */
class SpanDetails {
  /** Where it is not its call site's. */
  name: string | undefined;
  scope: InstrumentationScope | undefined;
  kind: SpanKind = SpanKind.INTERNAL;
  status: SpanStatus = UNSET;
  links: Link[] = [];
  droppedAttributesCount = 0;
  droppedEventsCount = 0;
  droppedLinksCount = 0;
  /** Of a span that was entered. */
  timings: Timings | undefined;
  asParent: ParentContext | undefined;
  revision = 0;
}

/** `rootPlace` of a span that has a parent among the guest's. */
const NO_ROOT = NOT_PLACED - 1;

/**
 * A span of a guest. It is what processors and exporters read (`ReadableSpan`) and what processors may write to (`api.Span`).
 * Only the guest ends it: `end` does nothing.
 *
 * Hosts hold very many open spans, of which nobody reads anything until they end, and of some not then. So what can be made when it
 * is read is made then: ids, times, attributes, events.
 */
export class GuestSpan implements Span, ReadableSpan, Steered, Placed {
  // What the constructor is given is only declared here: a field of a class is written once more otherwise.
  declare readonly parentSpanContext?: SpanContext;
  readonly #setup: SpanSetup;
  readonly #plan: CallSitePlan;
  readonly #startSeconds: number;
  readonly #startNanos: number;
  #endSeconds: number = OPEN;
  #endNanos = 0;
  /** As long as nobody has asked, the upper half of the number that its id is made of; the rest is as in its parent. */
  #identity: SpanContext | number = 0;
  #numberLow = 0;
  /** As long as there is a shape, the values that they will be made of. */
  #attributes: AttributeMap | readonly RawValue[] = NO_ATTRIBUTES.attributes;
  #shape: ValueShape | undefined;
  #attributeCount = 0;
  #events: TimedEvent[] | undefined;
  /** Events after those, as they came: one, or more than one. */
  #unreadEvents: GuestEvent | GuestEvent[] | undefined;
  #details: SpanDetails | undefined;
  #stage: "recording" | "ended" | "not recorded" | "closed early" = "recording";
  /** @internal A mark of the attempt that opened it, which also makes its id. */
  attempt: IdPermutation | undefined;
  /** @internal */
  rootPlace: number = NOT_PLACED;
  /** @internal About what its events and links take, those apart that code of the host added. */
  keptBytes = 0;

  /** @internal Made by the relay, which says next who it is: `identify` or `deriveIdentity`. */
  constructor(setup: SpanSetup, plan: CallSitePlan, parent: SpanContext | undefined, startSeconds: number, startNanos: number) {
    // Always there, so that all spans have one shape.
    this.parentSpanContext = parent as SpanContext;
    this.#setup = setup;
    this.#plan = plan;
    this.#startSeconds = startSeconds;
    this.#startNanos = startNanos;
  }

  static #detailsOf(span: GuestSpan): SpanDetails {
    span.#details ??= new SpanDetails();
    return span.#details;
  }

  static #makeAttributes(span: GuestSpan, shape: ValueShape): void {
    const { spanWriter } = span.#setup;
    span.#plan.spanAttributes.write(spanWriter, valuesOf(shape, span.#attributes as readonly RawValue[]));
    span.#shape = undefined;
    span.take(spanWriter);
    if (!span.isOpen) GuestSpan.#putDurations(span);
  }

  static #makeEvents(span: GuestSpan, unread: GuestEvent | GuestEvent[]): void {
    const { eventWriter } = span.#setup;
    span.#unreadEvents = undefined;
    const read = unread instanceof GuestEvent ? [unread.read(eventWriter)] : unread.map((event) => event.read(eventWriter));
    if (span.#events === undefined) span.#events = read;
    else for (const event of read) span.#events.push(event);
  }

  static #eventCount(span: GuestSpan): number {
    const unread = span.#unreadEvents;
    const count = unread === undefined ? 0 : unread instanceof GuestEvent ? 1 : unread.length;
    return span.#events === undefined ? count : count + span.#events.length;
  }

  /** The attributes that come with the end. */
  static #putDurations(span: GuestSpan): void {
    const timings = span.#details?.timings;
    const busy = timings === undefined ? 0 : timings.busyNanos;
    const elapsed = (span.#endSeconds - span.#startSeconds) * 1e9 + (span.#endNanos - span.#startNanos);
    const idle = timings === undefined ? elapsed : timings.idleNanos;
    if (span.#attributeCount + 2 <= span.#setup.limits.attributeCountLimit) {
      const attributes = span.#attributes as AttributeMap;
      attributes["busy_ns"] = busy;
      attributes["idle_ns"] = idle;
      return;
    }
    const { spanWriter } = span.#setup;
    spanWriter.resume(span.attributes, span.#attributeCount, span.droppedAttributesCount);
    spanWriter.put("busy_ns", busy);
    spanWriter.put("idle_ns", idle);
    span.take(spanWriter);
  }

  // ReadableSpan

  spanContext(): SpanContext {
    if (typeof this.#identity === "number") {
      const above = this.parentSpanContext as SpanContext;
      this.#identity = identityUnder(above, this.attempt as IdPermutation, this.#identity, this.#numberLow);
    }
    return this.#identity;
  }

  get name(): string {
    return this.#details?.name ?? this.#plan.givenName;
  }

  get kind(): SpanKind {
    return this.#details?.kind ?? SpanKind.INTERNAL;
  }

  get status(): SpanStatus {
    return this.#details?.status ?? UNSET;
  }

  get startTime(): HrTime {
    return [this.#startSeconds, this.#startNanos];
  }

  /** `[0, 0]` as long as the span is open. */
  get endTime(): HrTime {
    return this.isOpen ? [0, 0] : [this.#endSeconds, this.#endNanos];
  }

  /** `[-1, -1]` as long as the span is open. */
  get duration(): HrTime {
    if (this.isOpen) return [-1, -1];
    const seconds = this.#endSeconds - this.#startSeconds;
    const nanos = this.#endNanos - this.#startNanos;
    return nanos < 0 ? [seconds - 1, nanos + 1_000_000_000] : [seconds, nanos];
  }

  get resource(): Resource {
    return this.#setup.resource;
  }

  get instrumentationScope(): InstrumentationScope {
    return this.#details?.scope ?? this.#plan.scope;
  }

  get attributes(): AttributeMap {
    if (this.#shape !== undefined) GuestSpan.#makeAttributes(this, this.#shape);
    return this.#attributes as AttributeMap;
  }

  get events(): TimedEvent[] {
    if (this.#unreadEvents !== undefined) GuestSpan.#makeEvents(this, this.#unreadEvents);
    return this.#events ?? [];
  }

  get links(): Link[] {
    return this.#details?.links ?? [];
  }

  get droppedAttributesCount(): number {
    if (this.#shape !== undefined) GuestSpan.#makeAttributes(this, this.#shape);
    return this.#details?.droppedAttributesCount ?? 0;
  }

  get droppedEventsCount(): number {
    return this.#details?.droppedEventsCount ?? 0;
  }

  get droppedLinksCount(): number {
    return this.#details?.droppedLinksCount ?? 0;
  }

  get ended(): boolean {
    return this.#stage === "ended";
  }

  // api.Span, for code of the host

  isRecording(): boolean {
    return this.#stage === "recording";
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
    const details = GuestSpan.#detailsOf(this);
    if (details.links.length >= linkCountLimit) {
      details.droppedLinksCount++;
      if (linkCountLimit <= 0) return this;
      details.links.shift();
    }
    const writer = new AttributeWriter(attributePerLinkCountLimit, attributeValueLengthLimit);
    if (link.attributes !== undefined) putHostValues(writer, link.attributes);
    const droppedAttributesCount = writer.dropped + (link.droppedAttributesCount ?? 0);
    details.links.push({ context: link.context, attributes: writer.attributes, droppedAttributesCount });
    return this;
  }

  addLinks(links: Link[]): this {
    for (const link of links) this.addLink(link);
    return this;
  }

  setStatus({ code, message }: SpanStatus): this {
    if (!this.isRecording() || code === SpanStatusCode.UNSET || this.status.code === SpanStatusCode.OK) return this;
    GuestSpan.#detailsOf(this).status =
      code === SpanStatusCode.ERROR && typeof message === "string" ? { code, message } : { code };
    return this;
  }

  updateName(name: string): this {
    if (this.isRecording()) this.rename(name);
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
  identify(identity: SpanContext): void {
    this.#identity = identity;
  }

  /** @internal It is in its parent's trace, sampled as that is; its attempt makes its id of this number. */
  deriveIdentity(high: number, low: number): void {
    this.#identity = high;
    this.#numberLow = low;
  }

  /** @internal Whether it has no parent among the guest's spans. Asked and said before it gets a `rootPlace`. */
  get isRoot(): boolean {
    return this.rootPlace !== NO_ROOT;
  }

  set isRoot(isRoot: boolean) {
    this.rootPlace = isRoot ? NOT_PLACED : NO_ROOT;
  }

  /** @internal How often it was saved. */
  get revision(): number {
    return this.#details?.revision ?? 0;
  }

  set revision(revision: number) {
    GuestSpan.#detailsOf(this).revision = revision;
  }

  /** @internal Whether the relay has ended it though the guest holds it open. */
  get closedEarly(): boolean {
    return this.#stage === "closed early";
  }

  /** @internal */
  rename(name: string): void {
    if (name !== this.name) GuestSpan.#detailsOf(this).name = name;
  }

  /** @internal Put it into a scope other than its call site's. */
  setScope(scope: InstrumentationScope): void {
    if (scope !== this.instrumentationScope) GuestSpan.#detailsOf(this).scope = scope;
  }

  /** @internal */
  setKind(kind: SpanKind): void {
    if (kind !== this.kind) GuestSpan.#detailsOf(this).kind = kind;
  }

  /** @internal */
  mergeStatus(code: SpanStatusCode, message?: string): void {
    GuestSpan.#detailsOf(this).status = mergeStatus(this.status, code, message);
  }

  /** @internal Start with what the call site and the values say. */
  begin(values: RelayedValues): void {
    const plan = this.#plan;
    if (values.shape !== undefined && !plan.hasSpecialFields) {
      this.#shape = values.shape;
      this.#attributes = values.raws;
      return;
    }
    const { spanWriter } = this.#setup;
    plan.spanAttributes.write(spanWriter, values, plan.hasSpecialFields ? specialFieldsOf(this) : undefined);
    this.take(spanWriter);
  }

  /** @internal */
  record(values: ValueColumns): void {
    const { spanWriter } = this.#setup;
    spanWriter.resume(this.attributes, this.#attributeCount, this.droppedAttributesCount);
    const plan = this.#plan;
    plan.spanAttributes.add(spanWriter, values, plan.hasSpecialFields ? specialFieldsOf(this) : undefined);
    this.take(spanWriter);
  }

  /** @internal Bytes that one more event lets go of, on the average of those that are kept. */
  get freedByNext(): number {
    const count = GuestSpan.#eventCount(this);
    return count > 0 && count >= this.#setup.limits.eventCountLimit ? Math.floor(this.keptBytes / count) : 0;
  }

  /** @internal Keep an event that takes so many bytes. */
  pushEvent(event: GuestEvent | TimedEvent, bytes: number): void {
    const { eventCountLimit } = this.#setup.limits;
    if (GuestSpan.#eventCount(this) >= eventCountLimit) {
      this.dropEvent();
      if (eventCountLimit <= 0) return;
      this.keptBytes -= this.freedByNext;
      this.events.shift();
    }
    this.keptBytes += bytes;
    const unread = this.#unreadEvents;
    if (!(event instanceof GuestEvent)) {
      const { events } = this;
      events.push(event);
      this.#events = events;
    } else if (unread === undefined) this.#unreadEvents = event;
    else if (unread instanceof GuestEvent) this.#unreadEvents = [unread, event];
    else unread.push(event);
  }

  /** @internal Count an event that is not kept. */
  dropEvent(): void {
    GuestSpan.#detailsOf(this).droppedEventsCount++;
  }

  /** @internal Count a link that is not kept. */
  dropLink(): void {
    GuestSpan.#detailsOf(this).droppedLinksCount++;
  }

  /** @internal An error happened in it: error status unless a status is set, and `error.type`. */
  fail(message: string | undefined, error: TracedError | undefined): void {
    if (this.status.code === SpanStatusCode.UNSET) this.mergeStatus(SpanStatusCode.ERROR, error?.message ?? message);
    if (error?.type !== undefined) this.setAttribute("error.type", error.type);
  }

  /** @internal */
  enter(seconds: number, nanos: number): void {
    const details = GuestSpan.#detailsOf(this);
    details.timings ??= new Timings(this.#startSeconds, this.#startNanos);
    details.timings.enter(seconds, nanos);
  }

  /** @internal */
  exit(seconds: number, nanos: number): void {
    this.#details?.timings?.exit(seconds, nanos);
  }

  /** @internal Set the end, not before the start, and the attributes that come with it. `ended` is for `markEnded` to say. */
  close(seconds: number, nanos: number): void {
    const isEarly = seconds < this.#startSeconds || (seconds === this.#startSeconds && nanos < this.#startNanos);
    this.#endSeconds = isEarly ? this.#startSeconds : seconds;
    this.#endNanos = isEarly ? this.#startNanos : nanos;
    this.#details?.timings?.finish(this.#endSeconds, this.#endNanos);
    if (this.#shape === undefined) GuestSpan.#putDurations(this);
  }

  /** @internal Nothing changes it from here on. */
  markEnded(): void {
    this.#stage = "ended";
  }

  /** @internal Flag it as work that was rolled back. */
  markRolledBack(): void {
    flagRolledBack(this.attributes);
    GuestSpan.#detailsOf(this).status = rolledBackStatus(this.status);
  }

  /** @internal The sampler does not want it: it keeps its identity and nothing else. */
  stopRecording(): void {
    this.#stage = "not recorded";
    this.#attributes = {};
    this.#shape = undefined;
    this.#events = undefined;
    this.#unreadEvents = undefined;
    if (this.#details === undefined) return;
    this.#details.droppedAttributesCount = 0;
    this.#details.links = [];
  }

  /** @internal It has ended for exporters, but not for the guest: from here on it is only what others hang under. */
  closeEarly(): void {
    this.stopRecording();
    this.#stage = "closed early";
  }

  /** @internal A span without length that says that this one is open, to be its child. */
  pendingChild(identity: SpanContext): GuestSpan {
    const child = new GuestSpan(this.#setup, this.#plan, this.spanContext(), this.#startSeconds, this.#startNanos);
    child.identify(identity);
    child.rename(this.name);
    child.setScope(this.instrumentationScope);
    child.setKind(this.kind);
    child.#attributes = {
      ...this.attributes,
      "spanduct.pending": true,
      "spanduct.pending_parent_id": this.parentSpanContext?.spanId ?? INVALID_SPANID,
    };
    child.finish(this.startTime);
    return child;
  }

  /** @internal About what its attributes take in memory. */
  get attributeBytes(): number {
    if (this.#shape === undefined) return attributeBytes(this.#attributes as AttributeMap);
    return spanValueBytes(valuesOf(this.#shape, this.#attributes as readonly RawValue[]));
  }

  /** @internal Whether its end is not known. */
  get isOpen(): boolean {
    return this.#endSeconds === OPEN;
  }

  /** @internal Take over an end that was worked out before. */
  finish([seconds, nanos]: HrTime): void {
    this.#endSeconds = seconds;
    this.#endNanos = nanos;
  }

  /** @internal Give it another id. Spans and links that refer to it share its identity object and follow. */
  changeId(spanId: string): void {
    this.spanContext().spanId = spanId;
  }

  /** @internal The context of its children, `base` being that of the roots. */
  contextUnder(base: Context): Context {
    const details = GuestSpan.#detailsOf(this);
    if (details.asParent?.base !== base) details.asParent = new ParentContext(base, () => this);
    return details.asParent;
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
    return this.#details?.timings?.state;
  }

  /** @internal Make it open and as it was; takes over what is in `state`. */
  set state(state: SpanState) {
    this.rename(state.name);
    this.setKind(state.kind);
    this.#attributes = state.attributes;
    this.#shape = undefined;
    this.#attributeCount = Object.keys(state.attributes).length;
    const { timings, droppedAttributesCount, droppedEventsCount, droppedLinksCount } = state;
    const hasDetails =
      state.status.code !== SpanStatusCode.UNSET ||
      timings !== undefined ||
      state.links.length + droppedAttributesCount + droppedEventsCount + droppedLinksCount > 0;
    if (hasDetails || this.#details !== undefined) {
      const details = GuestSpan.#detailsOf(this);
      details.status = state.status;
      details.links = state.links as Link[];
      details.droppedAttributesCount = droppedAttributesCount;
      details.droppedEventsCount = droppedEventsCount;
      details.droppedLinksCount = droppedLinksCount;
      details.timings = timings && new Timings(this.#startSeconds, this.#startNanos);
      if (details.timings !== undefined && timings !== undefined) details.timings.state = timings;
    }
    this.#events = state.events.length === 0 ? undefined : (state.events as TimedEvent[]);
    this.#unreadEvents = undefined;
    this.keptBytes = LINK_BYTES * state.links.length;
    for (const { attributes = {} } of state.events) this.keptBytes += EVENT_BYTES + attributeBytes(attributes as AttributeMap);
    this.#endSeconds = OPEN;
  }

  /** @internal Whether it is recorded, open or not. */
  get recording(): boolean {
    return this.#stage === "recording" || this.#stage === "ended";
  }

  /** @internal Have what was written. */
  take({ attributes, count, dropped }: AttributeWriter): void {
    this.#attributes = attributes;
    this.#attributeCount = count;
    if (dropped !== this.droppedAttributesCount) GuestSpan.#detailsOf(this).droppedAttributesCount = dropped;
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
