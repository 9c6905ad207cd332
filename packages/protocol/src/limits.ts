/**
 * Budgets for one guest. They are the host's own decision and far above what honest guests need; what goes beyond is refused
 * with a coded error and counted, and the execution goes on. Counts of things that live are per receiver.
 */
export interface Limits {
  /** Bytes of one batch handed to `receiveBatch`. */
  readonly maxBatchBytes: number;
  /** Events of one batch, names that its call sites declare and values, each counted as one; what comes behind is not read. */
  readonly maxItemsPerBatch: number;
  /** Bytes of all batches that one receiver accepts. */
  readonly maxExecutionBytes: number;
  /** UTF-8 bytes of one string: name, value, message, stack. */
  readonly maxStringBytes: number;
  /** Values in one record, as in the crate. */
  readonly maxValuesPerRecord: number;
  /** Bytes of the values that one span has gathered over its life: 16 each, and names and texts as UTF-16. */
  readonly maxSpanValueBytes: number;
  /** Bytes of the values of all open spans together, counted as those of one. */
  readonly maxLiveValueBytes: number;
  /** Distinct values that one span has gathered over its life. */
  readonly maxValuesPerSpan: number;
  /** Names that one call site may declare. */
  readonly maxFieldsPerCallSite: number;
  /** Definitions of call sites, repeated ones of the same content not counted. */
  readonly maxCallSites: number;
  /** Spans open at once. */
  readonly maxLiveSpans: number;
  /** `follows_from` relations of one span. */
  readonly maxLinksPerSpan: number;
  /** Events of one span. */
  readonly maxEventsPerSpan: number;
  /** Errors kept of a chain of causes; the rest are counted in `TracedError.omitted`. */
  readonly maxErrorDepth: number;
}

/** What a receiver and a decoder use when nothing else is said. */
export const DEFAULT_LIMITS: Limits = {
  maxBatchBytes: 4 * 1024 * 1024,
  maxItemsPerBatch: 32_768,
  maxExecutionBytes: Number.POSITIVE_INFINITY,
  maxStringBytes: 64 * 1024,
  maxValuesPerRecord: 32,
  maxSpanValueBytes: 256 * 1024,
  maxLiveValueBytes: 64 * 1024 * 1024,
  maxValuesPerSpan: 128,
  maxFieldsPerCallSite: 256,
  maxCallSites: 4096,
  maxLiveSpans: 100_000,
  maxLinksPerSpan: 1024,
  maxEventsPerSpan: 100_000,
  maxErrorDepth: 16,
};
