import {
  type CallSiteData,
  controlAnnounce,
  controlLevel,
  type EventSink,
  type EventTime,
  type Id,
  isControlWord,
  type TraceContext,
  ValueList,
} from "@spanduct/protocol";
import type { Clock } from "./clock.ts";
import { addValues } from "./convert.ts";
import type { SenderOutput } from "./output.ts";

/** A call site on its way to the host. */
export interface SiteState {
  readonly id: number;
  /** As a number, 1 to 5. */
  readonly level: number;
  data: CallSiteData;
  /** The `Emitter.epoch` under which it was last announced. */
  epoch: number;
}

/** Who a span is, as OpenTelemetry's `SpanContext` has it. */
export interface SpanIdentity {
  readonly traceId: string;
  readonly spanId: string;
  readonly traceFlags: number;
  readonly tracestate: string | undefined;
}

/** What `propagate` makes of trace contexts. `undefined` stands for what cannot be known. */
export interface Propagation {
  /** A run begins: the spans that are opened from now on belong to this context. */
  begin(context: TraceContext | undefined): void;
  /** @param number of a span; without one, the host's span above the run at hand */
  identify(number?: number): SpanIdentity | undefined;
  /** `identify` as a W3C header. */
  traceparent(number?: number): string | undefined;
  /** Number of this guest's span that has these ids. */
  numberOf(traceId: string, spanId: string): number | undefined;
}

/**
 * What senders, call sites and spans write through. Nothing here throws: an event that cannot be made or delivered is counted in
 * `dropped`. So is what the output traces while it is at work.
 */
export class Emitter {
  /** The most verbose level that is sent, 0 (off) to 5 (trace). */
  maxLevel: number;
  clock: Clock | undefined;
  dropped = 0;
  /** Number of the span that was opened last. */
  lastSpan = 0;
  propagation: Propagation | undefined;
  readonly #output: SenderOutput;
  /** For the values of the next event; gone while the application's getters run, which may trace too. */
  #spare: ValueList | undefined;
  /** Writes begun and not ended: above 0 it is the output that traces. */
  #depth = 0;
  #lastSite = 0;
  /** Call sites announced under an earlier number are announced again before their next use. */
  #epoch = 1;

  constructor(output: SenderOutput, clock: Clock | undefined, maxLevel: number) {
    this.#output = output;
    this.clock = clock;
    this.maxLevel = maxLevel;
  }

  newSite(data: CallSiteData, level: number): SiteState {
    return { id: ++this.#lastSite, level, data, epoch: 0 };
  }

  /** Whether events of this level, 1 to 5, are sent at present. */
  wants(level: number): boolean {
    // What the host does not want, it may want by now.
    if (level > this.maxLevel) this.control(this.#output.control?.());
    return level <= this.maxLevel;
  }

  /** Convert values by the fields of the call site. Code of the application runs here, before anything is written. */
  convert(site: SiteState, values: object | undefined): ValueList {
    const list = this.#spare ?? new ValueList();
    this.#spare = undefined;
    const { fields } = site.data;
    list.fields = fields;
    list.size = 0;
    if (values) addValues(list, values, fields);
    return list;
  }

  /**
   * @param enter whether the span is entered at the same moment
   * @returns the number of the span, or `undefined` when it could not be opened
   */
  newSpan(site: SiteState, values: ValueList, parentId: Id | undefined, enter: boolean): number | undefined {
    try {
      const sink = this.#open(site);
      const time = this.#now();
      const id = ++this.lastSpan;
      sink.newSpan(id, parentId, site.id, values, time);
      if (enter) sink.spanEntered(id, time);
      this.#done(values);
      return id;
    } catch {
      this.#failed();
      return undefined;
    }
  }

  newEvent(site: SiteState, values: ValueList, parent: Id | undefined): void {
    try {
      this.#open(site).newEvent(site.id, parent, values, this.#now());
      this.#done(values);
    } catch {
      this.#failed();
    }
  }

  record(site: SiteState, id: number, values: ValueList): void {
    try {
      this.#open(site).valuesRecorded(id, values, this.#now());
      this.#done(values);
    } catch {
      this.#failed();
    }
  }

  followsFrom(id: number, followed: number): void {
    try {
      this.#open().followsFrom(id, followed, this.#now());
      this.#done();
    } catch {
      this.#failed();
    }
  }

  ofSpan(kind: "spanEntered" | "spanExited" | "spanCloned", id: number): void {
    try {
      this.#open()[kind](id, this.#now());
      this.#done();
    } catch {
      this.#failed();
    }
  }

  /** @param exit whether the span is exited at the same moment */
  dropSpan(id: number, exit: boolean): void {
    try {
      const sink = this.#open();
      const time = this.#now();
      if (exit) sink.spanExited(id, time);
      sink.spanDropped(id, time);
      this.#done();
    } catch {
      this.#failed();
    }
  }

  flush(): void {
    if (this.#depth > 0) return;
    this.#depth++;
    try {
      // What is batched; then the news of drops since that was begun.
      for (let i = 0; i < 2; i++) this.control(this.#output.flush(this.clock, this.dropped));
      this.#depth--;
    } catch {
      this.#failed();
    }
  }

  control(word: unknown): void {
    if (!isControlWord(word)) return;
    this.maxLevel = controlLevel(word);
    if (controlAnnounce(word)) this.#epoch++;
  }

  /** Nothing is at work: where the engine has stopped the guest in the middle of a write, what is batched is lost. */
  recover(): void {
    if (this.#depth === 0) return;
    this.#depth = 1;
    this.#failed();
  }

  #open(site?: SiteState): EventSink {
    if (this.#depth++ > 0) throw new Error("nested");
    const sink = this.#output.open(this.clock, this.dropped);
    if (site !== undefined && site.epoch !== this.#epoch) {
      site.epoch = this.#epoch;
      sink.newCallSite(site.id, site.data, this.#now());
    }
    return sink;
  }

  #now(): EventTime {
    return this.clock?.now();
  }

  #done(list?: ValueList): void {
    this.#spare ??= list;
    this.control(this.#output.delivered());
    this.#depth--;
  }

  #failed(): void {
    if (--this.#depth > 0) {
      this.dropped++;
    } else {
      this.dropped += this.#output.discard();
      // Call sites may have been lost as well.
      this.#epoch++;
    }
  }
}
