/** `rootPlace` of a span that is in no `OpenRoots`. */
export const NOT_PLACED: number = -1;

/** Has room for its place in an `OpenRoots`. */
export interface Placed {
  /** Below 0 where it is in none. */
  rootPlace: number;
}

/** The open spans of an execution that have no parent among the guest's. A set, with the place kept in the span for speed. */
export class OpenRoots<Span extends Placed> {
  readonly #spans: Span[] = [];

  get isEmpty(): boolean {
    return this.#spans.length === 0;
  }

  add(span: Span): void {
    if (this.#has(span)) return;
    span.rootPlace = this.#spans.length;
    this.#spans.push(span);
  }

  delete(span: Span): void {
    const place = span.rootPlace;
    if (!this.#has(span)) return;
    const last = this.#spans.pop() as Span;
    if (last !== span) {
      this.#spans[place] = last;
      last.rootPlace = place;
    }
    span.rootPlace = NOT_PLACED;
  }

  /** The place may be one in the roots of an earlier attempt. */
  #has(span: Span): boolean {
    return span.rootPlace >= 0 && this.#spans[span.rootPlace] === span;
  }

  [Symbol.iterator](): Iterator<Span> {
    return this.#spans[Symbol.iterator]();
  }
}
