import type {
  Attributes,
  AttributeValue,
  Exception,
  Link,
  Span,
  SpanContext,
  SpanOptions,
  SpanStatus,
  TimeInput,
} from "@opentelemetry/api";
import { thrown } from "../convert.ts";
import {
  type AttributeMap,
  type AttributeSite,
  type AttributeSites,
  DROPPED_ATTRIBUTES,
  DROPPED_LINKS,
  type SiteScope,
} from "./attribute-sites.ts";
import { isTimeInput, unixNano } from "./time.ts";
import { TraceStateList } from "./trace-state-list.ts";

/** OpenTelemetry's spans and their events have no level. */
export const LEVEL = "info";

/** First half of the trace ids that are made here: "spanduct". */
const TRACE_PREFIX = "7370616e64756374";
const INVALID: SpanContext = { traceId: "0".repeat(32), spanId: "0".repeat(16), traceFlags: 0 };

// Values of the API's enums, which are not worth importing the API. Internal is the default.
const KINDS = ["internal", "server", "client", "producer", "consumer"];
const OK = 1;
const ERROR = 2;

/**
 * Fields with the numbers of spans of this guest that had ended, which cannot be named as parent or followed span: the host has
 * closed them. A span under an ended one hangs under the nearest that is open.
 */
const PARENT = "spanduct.parent";
const FOLLOWED = "spanduct.follows_from";

const NONE: AttributeMap = {};

/** What the spans of one tracer share. */
export interface SpanSetup {
  readonly sites: AttributeSites;
  readonly spans: SiteScope;
  readonly events: SiteScope;
  readonly exceptions: SiteScope;
  /** Numbers of the provider's spans that are open. */
  readonly open: Set<number>;
}

/** A span of the guest as OpenTelemetry has it. One that was not sent, or has ended, does nothing. */
export class TunnelSpan implements Span {
  readonly #setup: SpanSetup;
  readonly #parent: Span | undefined;
  #site: AttributeSite | undefined;
  /** Number of the span; 0 when it was not sent. */
  #number = 0;
  #isOpen = false;
  /** How many times over it is active. */
  #entered = 0;
  #isOk = false;
  #droppedAttributes = 0;
  #droppedLinks = 0;
  #context: SpanContext | undefined;

  /** Made by `TunnelTracer`. */
  constructor(setup: SpanSetup, parent: Span | undefined) {
    this.#setup = setup;
    this.#parent = parent;
  }

  /** @internal Send it, unless the level filter keeps it back. @param around calls its argument in the right surroundings */
  start(name: string, options: SpanOptions, around: (open: () => void) => void): void {
    const { sites, spans, open } = this.#setup;
    if (!sites.isEnabled(LEVEL)) return;
    this.#guard(() => {
      const site = spans.get(name);
      const { kind, attributes, links, startTime } = options;
      const parent = this.#parent instanceof TunnelSpan ? this.#parent : undefined;
      const special = {
        ...(kind && { "otel.kind": KINDS[kind] }),
        ...(site.data.name !== name && { "otel.name": name }),
        ...(parent?.sentNumber !== parent?.openNumber && { [PARENT]: parent?.sentNumber }),
      };
      const { first, more, dropped } = site.records(special, attributes ?? NONE);
      around(() => {
        const newSpan = () => sites.emitter.newSpan(site.state, first, parent?.openNumber, false);
        this.#number = sites.clock.at(unixNano(startTime), newSpan) ?? 0;
      });
      if (this.#number === 0) return;
      this.#site = site;
      this.#isOpen = true;
      open.add(this.#number);
      for (const record of more) sites.emitter.record(site.state, this.#number, record);
      this.#droppedAttributes = dropped;
      if (links) this.addLinks(links);
    });
  }

  /** @internal Number of the innermost open span: this one, or one around it. */
  get openNumber(): number | undefined {
    if (this.#isOpen) return this.#number;
    return this.#parent instanceof TunnelSpan ? this.#parent.openNumber : undefined;
  }

  /** @internal Number of the innermost span that was sent, open or not: this one, or one around it. */
  get sentNumber(): number | undefined {
    if (this.#number > 0) return this.#number;
    return this.#parent instanceof TunnelSpan ? this.#parent.sentNumber : undefined;
  }

  /** @internal It is active, perhaps once more. */
  enter(): void {
    if (this.#entered++ === 0 && this.#isOpen) this.#setup.sites.emitter.ofSpan("spanEntered", this.#number);
  }

  /** @internal It is active one time less. */
  exit(): void {
    if (--this.#entered === 0 && this.#isOpen) this.#setup.sites.emitter.ofSpan("spanExited", this.#number);
  }

  /**
   * What the host gives the span, where the sender was told of a trace context (`propagate`) before the span was started. Else unique
   * in this guest, the same at every run, and of no meaning outside. A span that was not sent has the context of its parent, not
   * sampled; without a parent that of the host's span.
   */
  spanContext(): SpanContext {
    this.#context ??= this.#makeContext();
    return this.#context;
  }

  isRecording(): boolean {
    return this.#isOpen && this.#setup.sites.isEnabled(LEVEL);
  }

  setAttribute(key: string, value: AttributeValue): this {
    return this.setAttributes({ [key]: value });
  }

  setAttributes(attributes: Attributes): this {
    return this.#whileRecording(() => this.#record(NONE, attributes));
  }

  updateName(name: string): this {
    return this.#whileRecording(() => this.#record({ "otel.name": name }, NONE));
  }

  /** As in the SDK: unset is no status, and ok is final. */
  setStatus(status: SpanStatus): this {
    return this.#whileRecording(() => {
      const { code, message } = status;
      if (this.#isOk) return;
      this.#isOk = code === OK;
      if (code === OK) this.#record({ "otel.status_code": "ok" }, NONE);
      if (code === ERROR) this.#record({ "otel.status_code": "error", "otel.status_description": message }, NONE);
    });
  }

  /** @param attributesOrTime attributes, or in their place the time; without one the event happens now */
  addEvent(name: string, attributesOrTime?: Attributes | TimeInput, time?: TimeInput): this {
    return this.#whileRecording(() => {
      const { events } = this.#setup;
      if (isTimeInput(attributesOrTime)) this.#event(events, name, NONE, time ?? attributesOrTime);
      else this.#event(events, name, attributesOrTime ?? NONE, time);
    });
  }

  /**
   * An event `exception` that carries the error with its causes. It is of level `warn`: that something was caught does not mean that the
   * span failed, which is for `setStatus` to say.
   */
  recordException(exception: Exception, time?: TimeInput): void {
    this.#whileRecording(() => this.#event(this.#setup.exceptions, "exception", { error: thrown(exception) }, time));
  }

  /**
   * Say that a span of this guest caused this one; where that has ended, only in the field `spanduct.follows_from`. Links to
   * spans elsewhere, and attributes of links, are counted as dropped.
   */
  addLink(link: Link): this {
    return this.#whileRecording(() => {
      const { sites, open } = this.#setup;
      const { traceId, spanId } = link.context;
      const own = traceId.startsWith(TRACE_PREFIX) ? Number.parseInt(spanId, 16) : 0;
      const number = sites.emitter.propagation?.numberOf(traceId, spanId) ?? own;
      if (open.has(number)) sites.emitter.followsFrom(this.#number, number);
      else if (number > 0) this.#record({ [FOLLOWED]: number }, NONE);
      else this.#droppedLinks++;
      this.#droppedAttributes += Object.keys(link.attributes ?? NONE).length;
    });
  }

  addLinks(links: Link[]): this {
    return this.#whileRecording(() => {
      for (const link of links) this.addLink(link);
    });
  }

  end(endTime?: TimeInput): void {
    if (!this.#isOpen) return;
    const { sites, open } = this.#setup;
    this.#whileRecording(() => {
      this.#record(
        {
          [DROPPED_ATTRIBUTES]: this.#droppedAttributes || undefined,
          [DROPPED_LINKS]: this.#droppedLinks || undefined,
        },
        NONE,
      );
    });
    this.#isOpen = false;
    open.delete(this.#number);
    sites.clock.at(unixNano(endTime), () => sites.emitter.dropSpan(this.#number, this.#entered > 0));
  }

  #makeContext(): SpanContext {
    const above = this.#parent?.spanContext();
    const number = this.#number || undefined;
    if (number === undefined && above !== undefined) return { ...above, traceFlags: 0 };
    const identity = this.#setup.sites.emitter.propagation?.identify(number);
    if (identity !== undefined) {
      const { tracestate, ...ids } = identity;
      return tracestate ? { ...ids, traceState: new TraceStateList(tracestate) } : ids;
    }
    if (number === undefined) return INVALID;
    const spanId = hex(number);
    const traceId = above?.traceId.startsWith(TRACE_PREFIX) ? above.traceId : TRACE_PREFIX + spanId;
    return { traceId, spanId, traceFlags: 1 };
  }

  #record(special: AttributeMap, attributes: AttributeMap): void {
    const { emitter } = this.#setup.sites;
    const site = this.#site as AttributeSite;
    const { first, more, dropped } = site.records(special, attributes);
    this.#droppedAttributes += dropped;
    for (const record of [first, ...more]) if (record.size > 0) emitter.record(site.state, this.#number, record);
  }

  #event(scope: SiteScope, name: string, attributes: AttributeMap, time: TimeInput | undefined): void {
    const site = scope.get(name);
    const special = site.data.name === name ? NONE : { message: name };
    this.#setup.sites.emit(site, special, attributes, this.#number, unixNano(time));
  }

  #whileRecording(run: () => void): this {
    if (this.isRecording()) this.#guard(run);
    return this;
  }

  /** Nothing that a library gives may throw into it. */
  #guard(run: () => void): void {
    try {
      run();
    } catch {
      this.#setup.sites.emitter.dropped++;
    }
  }
}

function hex(number: number): string {
  return number.toString(16).padStart(16, "0");
}
