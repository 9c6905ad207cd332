import {
  type CallSiteData,
  controlAnnounce,
  controlLevel,
  type EventSink,
  type EventTime,
  type Id,
  isControlWord,
  ValueList,
} from "@spanduct/protocol";
import type { Clock } from "./clock.ts";
import { addValue, type Value } from "./convert.ts";
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

/**
 * What senders, call sites and spans write through. Nothing here throws: an event that cannot be made is counted in `dropped`.
 */
export class Emitter {
  /** The most verbose level that is sent, 0 (off) to 5 (trace). */
  maxLevel: number;
  /** Events that could not be made. */
  dropped = 0;
  readonly #output: SenderOutput;
  readonly #clock: Clock | undefined;
  readonly #values: ValueList = new ValueList();
  #lastSite = 0;
  #lastSpan = 0;
  /** Call sites announced under an earlier number are announced again before their next use. */
  #epoch = 1;

  constructor(output: SenderOutput, clock: Clock | undefined, maxLevel: number) {
    this.#output = output;
    this.#clock = clock;
    this.maxLevel = maxLevel;
  }

  newSite(data: CallSiteData, level: number): SiteState {
    return { id: ++this.#lastSite, level, data, epoch: 0 };
  }

  /**
   * @param enter whether the span is entered at the same moment
   * @returns the number of the span, or `undefined` when it could not be opened
   */
  newSpan(site: SiteState, values: object | undefined, parentId: Id | undefined, enter: boolean): number | undefined {
    if (!this.#fill(site, values)) return undefined;
    const id = this.#lastSpan + 1;
    try {
      const sink = this.#open(site);
      const time = this.#now();
      sink.newSpan(id, parentId, site.id, this.#values, time);
      if (enter) sink.spanEntered(id, time);
      this.#lastSpan = id;
      this.#delivered();
      return id;
    } catch {
      this.#failed();
      return undefined;
    }
  }

  newEvent(site: SiteState, values: object | undefined, parent: Id | undefined): void {
    if (!this.#fill(site, values)) return;
    try {
      this.#open(site).newEvent(site.id, parent, this.#values, this.#now());
      this.#delivered();
    } catch {
      this.#failed();
    }
  }

  record(site: SiteState, id: number, values: object): void {
    if (!this.#fill(site, values)) return;
    try {
      this.#open(site).valuesRecorded(id, this.#values, this.#now());
      this.#delivered();
    } catch {
      this.#failed();
    }
  }

  followsFrom(id: number, followed: number): void {
    try {
      this.#open().followsFrom(id, followed, this.#now());
      this.#delivered();
    } catch {
      this.#failed();
    }
  }

  ofSpan(kind: "spanEntered" | "spanExited" | "spanCloned", id: number): void {
    try {
      this.#open()[kind](id, this.#now());
      this.#delivered();
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
      this.#delivered();
    } catch {
      this.#failed();
    }
  }

  flush(): void {
    try {
      this.control(this.#output.flush());
    } catch {
      this.#failed();
    }
  }

  control(word: unknown): void {
    if (!isControlWord(word)) return;
    this.maxLevel = controlLevel(word);
    if (controlAnnounce(word)) this.#epoch++;
  }

  /** Convert `values`, by the fields of the call site. Application code (getters) runs here, before anything is written. */
  #fill(site: SiteState, values: object | undefined): boolean {
    const { fields } = site.data;
    this.#values.clear(fields);
    if (values === undefined) return true;
    try {
      for (let i = 0; i < fields.length; i++) {
        const value = (values as { readonly [field: string]: Value })[fields[i] as string];
        if (value !== undefined) addValue(this.#values, i, value);
      }
      return true;
    } catch {
      this.dropped++;
      return false;
    }
  }

  #open(site?: SiteState): EventSink {
    const sink = this.#output.open(this.#clock, this.dropped);
    if (site !== undefined && site.epoch !== this.#epoch) {
      site.epoch = this.#epoch;
      sink.newCallSite(site.id, site.data, this.#now());
    }
    return sink;
  }

  #now(): EventTime {
    return this.#clock?.now();
  }

  #delivered(): void {
    const word = this.#output.delivered();
    if (word !== undefined) this.control(word);
  }

  #failed(): void {
    this.dropped += this.#output.discard();
  }
}
