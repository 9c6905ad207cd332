import type { CallSiteData, Id, TracedValueMap } from "./event.ts";

/**
 * Call sites of a program (a WASM module, a bundle) by id: what its executions share. The crate's JSON form. Merge what
 * `persistMetadata` returns into what was stored.
 */
export type PersistedMetadata = { readonly [id: string]: CallSiteData };

/** One live span of an execution. The crate's JSON form; `entered` and `relay` are ours and a genuine crate ignores them. */
export interface PersistedSpan {
  readonly metadata_id: Id;
  readonly parent_id?: Id;
  /** Handles that the guest holds; at least 1. */
  readonly ref_count: number;
  readonly values: TracedValueMap;
  /** Position in the guest's stack of entered spans, from 1; absent when it is not entered. */
  readonly entered?: number;
  /** What the relay needs to go on with the same span: plain JSON, no bigints. */
  readonly relay?: unknown;
}

/** The live spans of one execution by id. */
export type PersistedSpans = { readonly [id: string]: PersistedSpan };
