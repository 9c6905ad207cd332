import {
  type Attributes,
  type Context,
  type Exception,
  type HrTime,
  type Link,
  type Span,
  type SpanContext,
  SpanKind,
  type SpanStatus,
  SpanStatusCode,
  type TimeInput,
} from "@opentelemetry/api";
import { type RawValue, type TracedValues, ValueKind } from "@spanduct/protocol";
import { type AttributeTemplate, type AttributeValue, Attributed, attributeValue, NO_ATTRIBUTES } from "./attributed.ts";
import { putValue, valueName } from "./attributes.ts";
import type { CallSitePlan } from "./call-site.ts";
import { type HostClock, hostTime } from "./clock.ts";
import type { SpanLimits } from "./limits.ts";
import { ParentContext } from "./parent-context.ts";
import type { InstrumentationScope, ReadableSpan, Resource, TimedEvent } from "./sdk.ts";
import { applySpecialField, type Steered } from "./special-fields.ts";
import { Timings, type TimingState } from "./timings.ts";

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
  readonly attributes: Record<string, AttributeValue>;
  readonly events: readonly TimedEvent[];
  readonly links: readonly Link[];
  readonly droppedAttributesCount: number;
  readonly droppedEventsCount: number;
  readonly droppedLinksCount: number;
  readonly timings: TimingState;
}

/**
 * A span of a guest. It is what processors and exporters read (`ReadableSpan`) and what processors may write to (`api.Span`).
 * Only the guest ends it: `end` does nothing.
 */
export class GuestSpan extends Attributed implements Span, ReadableSpan, Steered {
  name: string;
  kind: SpanKind = SpanKind.INTERNAL;
  status: SpanStatus = { code: SpanStatusCode.UNSET };
  readonly startTime: HrTime;
  /** `[0, 0]` as long as the span is open. */
  endTime: HrTime = [0, 0];
  links: Link[] = [];
  events: TimedEvent[] = [];
  droppedEventsCount = 0;
  droppedLinksCount = 0;
  readonly parentSpanContext?: SpanContext;
  readonly resource: Resource;
  readonly instrumentationScope: InstrumentationScope;
  readonly #setup: SpanSetup;
  /** Whether its call site has `otel.…` fields. */
  readonly #isSteered: boolean;
  readonly #identity: SpanContext;
  readonly #timings: Timings;
  #recording = true;
  #ended = false;
  #asParent: ParentContext | undefined;
  #asParentUnder: Context | undefined;
  /** @internal The attempt that opened it or took it over: a mark of the relay's own. */
  attempt: object | undefined;
  /** @internal Whether it has no parent among the guest's spans. */
  isRoot = false;
  /** @internal How often it was saved. */
  revision = 0;

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
    super(plan.spanAttributes);
    this.name = name;
    this.startTime = startTime;
    // Always there, so that all spans have one shape.
    this.parentSpanContext = parent as SpanContext;
    this.resource = setup.resource;
    this.instrumentationScope = scope;
    this.#setup = setup;
    this.#isSteered = plan.hasSpecialFields;
    this.#identity = identity;
    this.#timings = new Timings(startTime[0], startTime[1]);
  }

  // ReadableSpan

  spanContext(): SpanContext {
    return this.#identity;
  }

  /** `[-1, -1]` as long as the span is open. */
  get duration(): HrTime {
    if (this.endTime[0] === 0 && this.endTime[1] === 0) return [-1, -1];
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
    const { attributeCountLimit, attributeValueLengthLimit } = this.#setup.limits;
    const attribute = attributeValue(value);
    if (attribute === undefined) this.droppedAttributesCount++;
    else this.put(key, attribute, attributeCountLimit, attributeValueLengthLimit);
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
    const event = new GuestEvent(NO_ATTRIBUTES, name, at);
    if (!isTime && attributesOrTime !== undefined) {
      const { attributePerEventCountLimit } = this.#setup.limits;
      putAll(event, attributesOrTime as Attributes, attributePerEventCountLimit, this.#setup.limits.attributeValueLengthLimit);
    }
    this.pushEvent(event);
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
    const kept = new Attributed(NO_ATTRIBUTES);
    if (link.attributes !== undefined) putAll(kept, link.attributes, attributePerLinkCountLimit, attributeValueLengthLimit);
    const { attributes, droppedAttributesCount } = kept;
    const dropped = droppedAttributesCount + (link.droppedAttributesCount ?? 0);
    this.links.push({ context: link.context, attributes, droppedAttributesCount: dropped });
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
    if (this.status.code === SpanStatusCode.OK) return;
    const kept = message ?? (code === SpanStatusCode.ERROR ? this.status.message : undefined);
    this.status = kept === undefined ? { code } : { code, message: kept };
  }

  /** @internal */
  putValues(values: TracedValues): void {
    const { attributeCountLimit, attributeValueLengthLimit } = this.#setup.limits;
    const { size, kinds, raws } = values;
    for (let i = 0; i < size; i++) {
      const name = valueName(values, i);
      if (name === undefined) continue;
      const kind = kinds[i] as ValueKind;
      const raw = raws[i] as RawValue;
      if (this.#isSteered && applySpecialField(this, name, kind, raw)) continue;
      putValue(this, name, kind, raw, attributeCountLimit, attributeValueLengthLimit);
    }
  }

  /** @internal */
  pushEvent(event: TimedEvent): void {
    const { eventCountLimit } = this.#setup.limits;
    if (this.events.length >= eventCountLimit) {
      this.droppedEventsCount++;
      if (eventCountLimit <= 0) return;
      this.events.shift();
    }
    this.events.push(event);
  }

  /** @internal An error happened in it: error status unless a status is set, and `error.type`. */
  failed(message: string | undefined, type: string | undefined): void {
    const { attributeCountLimit, attributeValueLengthLimit } = this.#setup.limits;
    if (this.status.code === SpanStatusCode.UNSET) this.mergeStatus(SpanStatusCode.ERROR, message);
    if (type !== undefined) this.put("error.type", type, attributeCountLimit, attributeValueLengthLimit);
  }

  /** @internal */
  enter(seconds: number, nanos: number): void {
    this.#timings.enter(seconds, nanos);
  }

  /** @internal */
  exit(seconds: number, nanos: number): void {
    this.#timings.exit(seconds, nanos);
  }

  /** @internal Set the end, not before the start, and the attributes that come with it. `ended` is for `markEnded` to say. */
  close(seconds: number, nanos: number): void {
    const [startSeconds, startNanos] = this.startTime;
    const isEarly = seconds < startSeconds || (seconds === startSeconds && nanos < startNanos);
    this.endTime = isEarly ? [startSeconds, startNanos] : [seconds, nanos];
    const timings = this.#timings;
    timings.finish(this.endTime[0], this.endTime[1]);
    const { attributeCountLimit, attributeValueLengthLimit } = this.#setup.limits;
    this.put("busy_ns", timings.busyNanos, attributeCountLimit, attributeValueLengthLimit);
    this.put("idle_ns", timings.idleNanos, attributeCountLimit, attributeValueLengthLimit);
  }

  /** @internal Nothing changes it from here on. */
  markEnded(): void {
    this.#ended = true;
  }

  /** @internal Flag it as work that was rolled back. */
  markRolledBack(): void {
    this.force("spanduct.rolled_back", true);
    const message = this.status.code === SpanStatusCode.ERROR ? this.status.message : undefined;
    this.status = { code: SpanStatusCode.ERROR, message: message ?? "rolled back" };
  }

  /** @internal The sampler does not want it: it keeps its identity and nothing else. */
  stopRecording(): void {
    this.#recording = false;
    this.replaceAttributes({}, 0);
    this.events = [];
    this.links = [];
  }

  /** @internal Give it another id. Spans and links that refer to it share its identity object and follow. */
  changeId(spanId: string): void {
    this.#identity.spanId = spanId;
  }

  /** @internal The context of its children, `base` being that of the roots. */
  contextUnder(base: Context): Context {
    if (this.#asParent === undefined || this.#asParentUnder !== base) {
      this.#asParent = new ParentContext(base, this);
      this.#asParentUnder = base;
    }
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
      timings: this.#timings.state,
    };
  }

  /** @internal Make it open and as it was; takes over what is in `state`. */
  set state(state: SpanState) {
    this.name = state.name;
    this.kind = state.kind;
    this.status = state.status;
    this.replaceAttributes(state.attributes, state.droppedAttributesCount);
    this.events = state.events as TimedEvent[];
    this.links = state.links as Link[];
    this.droppedEventsCount = state.droppedEventsCount;
    this.droppedLinksCount = state.droppedLinksCount;
    this.#timings.state = state.timings;
    this.endTime = [0, 0];
  }

  /** @internal Whether it is recorded, open or not. */
  get recording(): boolean {
    return this.#recording;
  }
}

/** An event of a guest's span. */
export class GuestEvent extends Attributed implements TimedEvent {
  name: string;
  readonly time: HrTime;

  constructor(template: AttributeTemplate, name: string, time: HrTime) {
    super(template);
    this.name = name;
    this.time = time;
  }
}

/** Put what code of the host gives. */
function putAll(target: Attributed, attributes: Attributes, countLimit: number, lengthLimit: number): void {
  for (const key of Object.keys(attributes)) {
    const value: unknown = attributes[key];
    if (value === undefined) continue;
    const attribute = attributeValue(value);
    if (attribute === undefined) target.droppedAttributesCount++;
    else target.put(key, attribute, countLimit, lengthLimit);
  }
}
