import type { CallSiteData, Id } from "./event.ts";
import { IdMap } from "./id-map.ts";
import type { Limits } from "./limits.ts";
import type { BatchHeader, EventSink, EventTime } from "./sink.ts";
import { type RawValue, TracedValues, type ValueColumns, type ValueKind, valueName } from "./values.ts";

interface LiveSpan {
  /** Its call site may be defined again while it lives, and the latest definition counts. */
  readonly metadataId: Id;
  handles: number;
}

const NO_FIELDS: readonly string[] = [];

/**
 * Gives values their names: between a decoder, whose numeric keys index the fields of a call site, and a sink that needs names
 * (another codec, event objects). Remembers call sites and open spans, at most `Limits.maxCallSites` and `maxLiveSpans` of
 * them. A key that cannot be resolved becomes `#` and the index, so that the sink's own checks see the event.
 */
export class FieldResolver implements EventSink {
  readonly #sink: EventSink;
  readonly #limits: Limits;
  readonly #callSites: IdMap<readonly string[]> = new IdMap();
  readonly #spans: IdMap<LiveSpan> = new IdMap();
  readonly #values: TracedValues = new TracedValues();

  constructor(sink: EventSink, limits: Limits) {
    this.#sink = sink;
    this.#limits = limits;
  }

  batch(header: BatchHeader): void {
    this.#sink.batch(header);
  }

  timeBase(unixNano: bigint): void {
    this.#sink.timeBase(unixNano);
  }

  newCallSite(id: Id, data: CallSiteData, time: EventTime): void {
    const isKnown = this.#callSites.get(id) !== undefined;
    if (isKnown || this.#callSites.size < this.#limits.maxCallSites) this.#callSites.set(id, data.fields);
    this.#sink.newCallSite(id, data, time);
  }

  newSpan(id: Id, parentId: Id | undefined, metadataId: Id, values: ValueColumns, time: EventTime): void {
    const fields = this.#callSites.get(metadataId) ?? NO_FIELDS;
    const isKnown = this.#spans.get(id) !== undefined;
    if (isKnown || this.#spans.size < this.#limits.maxLiveSpans) this.#spans.set(id, { metadataId, handles: 1 });
    this.#sink.newSpan(id, parentId, metadataId, this.#named(values, fields), time);
  }

  followsFrom(id: Id, followsFrom: Id, time: EventTime): void {
    this.#sink.followsFrom(id, followsFrom, time);
  }

  spanEntered(id: Id, time: EventTime): void {
    this.#sink.spanEntered(id, time);
  }

  spanExited(id: Id, time: EventTime): void {
    this.#sink.spanExited(id, time);
  }

  spanCloned(id: Id, time: EventTime): void {
    const span = this.#spans.get(id);
    if (span !== undefined) span.handles++;
    this.#sink.spanCloned(id, time);
  }

  spanDropped(id: Id, time: EventTime): void {
    const span = this.#spans.get(id);
    if (span !== undefined && --span.handles === 0) this.#spans.delete(id);
    this.#sink.spanDropped(id, time);
  }

  valuesRecorded(id: Id, values: ValueColumns, time: EventTime): void {
    const span = this.#spans.get(id);
    const fields = span === undefined ? undefined : this.#callSites.get(span.metadataId);
    this.#sink.valuesRecorded(id, this.#named(values, fields ?? NO_FIELDS), time);
  }

  newEvent(metadataId: Id, parent: Id | undefined, values: ValueColumns, time: EventTime): void {
    const fields = this.#callSites.get(metadataId) ?? NO_FIELDS;
    this.#sink.newEvent(metadataId, parent, this.#named(values, fields), time);
  }

  /** @param fields of the call site, for a writer that does not say them itself */
  #named(values: ValueColumns, fields: readonly string[]): ValueColumns {
    const named = this.#values;
    named.clear();
    for (let i = 0; i < values.size; i++) {
      const key = values.keys[i] as number | string;
      const name = valueName(values, i) ?? fields[key as number] ?? `#${key}`;
      named.set(name, values.kinds[i] as ValueKind, values.raws[i] as RawValue);
    }
    return named;
  }
}
