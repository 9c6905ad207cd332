import { type Id, TracedValues } from "@spanduct/protocol";

/** What a receiver knows of one span. */
export class SpanState<Span> {
  readonly id: Id;
  /** False when only `LocalSpans` remembers it: it can be entered, exited and linked, nothing else. */
  alive = false;
  /** Opened by this receiver, so closed again when it rolls back. */
  uncommitted = false;
  /** Entered under this receiver, so exited again when it ends. */
  entered = false;
  metadataId: Id = 0;
  parentId: Id | undefined;
  refCount = 0;
  /** Everything recorded so far, keyed by name. */
  values: TracedValues = NO_VALUES;
  valueBytes = 0;
  /** The relay's span; `undefined` when this host has lost it. */
  local: Span | undefined;
  links = 0;
  events = 0;
  // Its place on the stack.
  stacked = false;
  outer: SpanState<Span> | undefined;
  inner: SpanState<Span> | undefined;

  constructor(id: Id) {
    this.id = id;
  }

  /** It begins, or begins anew; keeps `values`. */
  open(metadataId: Id, parentId: Id | undefined, values: TracedValues, valueBytes: number): void {
    this.alive = true;
    this.uncommitted = true;
    this.metadataId = metadataId;
    this.parentId = parentId;
    this.refCount = 1;
    this.values = values;
    this.valueBytes = valueBytes;
  }
}

/** Of a span that has no values of its own yet; never written to. */
const NO_VALUES = new TracedValues();

/**
 * The spans that the guest is inside of, innermost last. A span stands on it once; leaving from the middle costs no more than
 * from the end. Outlives receivers, as the guest does.
 */
export class SpanStack<Span> {
  #innermost: SpanState<Span> | undefined;

  /** The contextual parent. */
  get innermost(): SpanState<Span> | undefined {
    return this.#innermost;
  }

  push(span: SpanState<Span>): void {
    if (span.stacked) return;
    span.stacked = true;
    span.outer = this.#innermost;
    if (this.#innermost !== undefined) this.#innermost.inner = span;
    this.#innermost = span;
  }

  remove(span: SpanState<Span>): void {
    if (!span.stacked) return;
    const { outer, inner } = span;
    if (outer !== undefined) outer.inner = inner;
    if (inner !== undefined) inner.outer = outer;
    else this.#innermost = outer;
    span.stacked = false;
    span.outer = undefined;
    span.inner = undefined;
  }

  /** Innermost first. */
  *[Symbol.iterator](): Generator<SpanState<Span>, void, undefined> {
    for (let span = this.#innermost; span !== undefined; span = span.outer) yield span;
  }
}
