/**
 * Span limits, as in the SDK. What goes beyond is dropped and counted in `dropped…Count`; of events and links the oldest go.
 * Guests' own budgets (`Limits` of the receiver) apply before these.
 */
export interface SpanLimits {
  /** UTF-16 units of a string value; longer ones are cut. Default: no limit. */
  readonly attributeValueLengthLimit?: number;
  /** Attributes of a span. Default 128. */
  readonly attributeCountLimit?: number;
  /** Links of a span. Default 128. */
  readonly linkCountLimit?: number;
  /** Events of a span. Default 128. */
  readonly eventCountLimit?: number;
  /** Attributes of one event. Default 128. */
  readonly attributePerEventCountLimit?: number;
  /** Attributes of one link. Default 128. */
  readonly attributePerLinkCountLimit?: number;
}

/** Limits with every default filled in. A length limit that is not above 0 counts as none, as in the SDK. */
export function resolveSpanLimits(limits: SpanLimits = {}): Required<SpanLimits> {
  const length = limits.attributeValueLengthLimit ?? Number.POSITIVE_INFINITY;
  return {
    attributeValueLengthLimit: length > 0 ? length : Number.POSITIVE_INFINITY,
    attributeCountLimit: limits.attributeCountLimit ?? 128,
    linkCountLimit: limits.linkCountLimit ?? 128,
    eventCountLimit: limits.eventCountLimit ?? 128,
    attributePerEventCountLimit: limits.attributePerEventCountLimit ?? 128,
    attributePerLinkCountLimit: limits.attributePerLinkCountLimit ?? 128,
  };
}
