import { type Id, IdMap, type SecretSource } from "@spanduct/protocol";
import type { SpanState } from "./span-state.ts";

/**
 * The spans of an execution by number, in the order they were opened. The newest stands outside of the map, because most spans
 * close before another one opens and most events are about the newest.
 */
export class SpanTable<Span> {
  readonly #older: IdMap<SpanState<Span>>;
  #newest: SpanState<Span> | undefined;
  /** No span has a `number` above it: most that are asked for are new. */
  #highest = -1;

  constructor(secrets: SecretSource) {
    this.#older = new IdMap(secrets);
  }

  get size(): number {
    return this.#older.size + (this.#newest === undefined ? 0 : 1);
  }

  get(id: Id): SpanState<Span> | undefined {
    const newest = this.#newest;
    if (newest !== undefined && newest.id === id) return newest;
    return typeof id === "number" && id > this.#highest ? undefined : this.#older.get(id);
  }

  /** @param span one whose number the table does not have */
  add(span: SpanState<Span>): void {
    this.#settle();
    this.#newest = span;
    if (typeof span.id === "number" && span.id > this.#highest) this.#highest = span.id;
  }

  delete(span: SpanState<Span>): void {
    if (span === this.#newest) this.#newest = undefined;
    else this.#older.delete(span.id);
  }

  /** Oldest first. */
  values(): Iterable<SpanState<Span>> {
    this.#settle();
    return this.#older.values();
  }

  #settle(): void {
    if (this.#newest === undefined) return;
    this.#older.set(this.#newest.id, this.#newest);
    this.#newest = undefined;
  }
}
