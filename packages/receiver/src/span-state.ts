import { type Id, type RawValue, TracedValues } from "@spanduct/protocol";
import type { NamedValues } from "./named-values.ts";
import type { ValueShape } from "./value-shape.ts";

/** What only spans have that are entered or linked. */
class SpanExtras<Span> {
  links = 0;
  /** Entered under this receiver, so exited again when it ends. */
  entered = false;
  // Its place on the stack.
  stacked = false;
  outer: SpanState<Span> | undefined;
  inner: SpanState<Span> | undefined;
}

/** What a receiver knows of one span. Hosts hold very many of them, so there is little in it that not every span needs. */
export class SpanState<Span> {
  readonly id: Id;
  /** Opened by this receiver, so closed again when it rolls back. */
  uncommitted = false;
  metadataId: Id = 0;
  parentId: Id | undefined;
  /** Handles that the guest has; 0 when only `LocalSpans` remembers it: it can be entered, exited and linked, nothing else. */
  refCount = 0;
  /** Names and types of everything recorded so far: those of many spans, or columns of its own, with the same `raws`. */
  columns: ValueShape | TracedValues = NO_VALUES;
  /** Under a shape never written to: the relay may have them too. */
  raws: readonly RawValue[] = NO_VALUES.raws;
  valueBytes = 0;
  /** The relay's span; `undefined` when this host has lost it. */
  local: Span | undefined;
  events = 0;
  extras: SpanExtras<Span> | undefined;

  constructor(id: Id) {
    this.id = id;
  }

  get alive(): boolean {
    return this.refCount > 0;
  }

  get entered(): boolean {
    return this.extras?.entered === true;
  }

  get valueCount(): number {
    return this.columns instanceof TracedValues ? this.columns.size : this.raws.length;
  }

  /** Everything recorded so far, keyed by name; only to be read. */
  get values(): TracedValues {
    const { columns, raws } = this;
    if (columns instanceof TracedValues) return columns;
    return new TracedValues(columns.keys as string[], columns.kinds as TracedValues["kinds"], raws as RawValue[]);
  }

  /** The same in columns of its own, to be written to. */
  ownValues(): TracedValues {
    if (this.columns instanceof TracedValues) return this.columns;
    const own = this.values.copy();
    this.columns = own;
    this.raws = own.raws;
    return own;
  }

  /** It begins, or begins anew. @param values lent, but for the `raws` of those that have a shape, which are its own from now on */
  open(metadataId: Id, parentId: Id | undefined, values: NamedValues): void {
    this.uncommitted = true;
    this.metadataId = metadataId;
    this.parentId = parentId;
    this.refCount = 1;
    if (values.shape === undefined) {
      const own = values.copy();
      this.columns = own;
      this.raws = own.raws;
    } else {
      this.columns = values.shape;
      this.raws = values.raws;
    }
    this.valueBytes = values.bytes;
  }

  /** What it has because it is entered or linked. */
  withExtras(): SpanExtras<Span> {
    this.extras ??= new SpanExtras();
    return this.extras;
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
    const place = span.withExtras();
    if (place.stacked) return;
    place.stacked = true;
    place.outer = this.#innermost;
    if (this.#innermost !== undefined) this.#innermost.withExtras().inner = span;
    this.#innermost = span;
  }

  remove(span: SpanState<Span>): void {
    const place = span.extras;
    if (place === undefined || !place.stacked) return;
    const { outer, inner } = place;
    if (outer !== undefined) outer.withExtras().inner = inner;
    if (inner !== undefined) inner.withExtras().outer = outer;
    else this.#innermost = outer;
    place.stacked = false;
    place.outer = undefined;
    place.inner = undefined;
  }

  /** Innermost first. */
  *[Symbol.iterator](): Generator<SpanState<Span>, void, undefined> {
    for (let span = this.#innermost; span !== undefined; span = span.extras?.outer) yield span;
  }
}
