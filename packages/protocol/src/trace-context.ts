/**
 * Where a guest stands in its host's trace, and what the ids of its spans are derived from: what it needs to propagate them to
 * whatever it calls. Plain JSON, so that it goes through any boundary. One for each run of a guest.
 *
 * A guest learns from it the ids of its own spans of this attempt and nothing of other executions. But whoever has the key can
 * work out the seed of the attempt: a seed that a host chooses has to be one that the guest may know.
 */
export interface TraceContext {
  /**
   * W3C `traceparent` of the host's span above the guest, 55 characters, with its sampled flag. Where the host knows the trace but
   * has no span there, the id of the span is all zeros: this is no header for anybody then, but spans of the guest have theirs.
   */
  readonly traceparent: string;
  /** W3C `tracestate` of that span. */
  readonly tracestate?: string;
  /**
   * Four 32-bit keys of the bijection from span numbers to span ids, see `IdPermutation`: 32 hexadecimal digits. Absent where ids cannot
   * be foretold; a guest then propagates the host's span in place of its own.
   */
  readonly spanKey?: string;
}
