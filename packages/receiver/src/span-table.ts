import { type Id, IdMap } from "@spanduct/protocol";
import { NamedValues } from "./named-values.ts";
import type { SpanState } from "./span-state.ts";

/**
 * The spans of an execution by number, in the order they were opened. The newest stands outside of the map, because most spans
 * close before another one opens and most events are about the newest; its values stay where they were read for as long.
 */
export class SpanTable<Span> {
  readonly #older: IdMap<SpanState<Span>> = new IdMap();
  #newest: SpanState<Span> | undefined;
  readonly #newestValues: NamedValues = new NamedValues();

  get size(): number {
    return this.#older.size + (this.#newest === undefined ? 0 : 1);
  }

  get(id: Id): SpanState<Span> | undefined {
    const newest = this.#newest;
    return newest !== undefined && newest.id === id ? newest : this.#older.get(id);
  }

  /** Where to read the values of the next span. Lent until that span is added and another one is about to be. */
  nextValues(): NamedValues {
    this.#settle();
    return this.#newestValues;
  }

  /** @param span one whose number the table does not have */
  add(span: SpanState<Span>): void {
    this.#settle();
    this.#newest = span;
  }

  delete(span: SpanState<Span>): void {
    if (span === this.#newest) this.#newest = undefined;
    else this.#older.delete(span.id);
  }

  /** Oldest first. */
  values(): MapIterator<SpanState<Span>> {
    this.#settle();
    return this.#older.values();
  }

  #settle(): void {
    const newest = this.#newest;
    if (newest === undefined) return;
    const values = this.#newestValues;
    if (newest.columns === values) newest.keepValues(values, values.callSite);
    this.#older.set(newest.id, newest);
    this.#newest = undefined;
  }
}
