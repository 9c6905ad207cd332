import { EventReader, own, quote } from "./dispatch.ts";
import { DecodeError, TunnelError } from "./errors.ts";
import type { CallSiteData, Id, TracedValueMap } from "./event.ts";
import { UNLIMITED } from "./unlimited.ts";
import { canonicalInteger, type TracedValues } from "./values.ts";

/**
 * Call sites of a program (a WASM module, a bundle) by id: what its executions share. The crate's JSON form. Merge what
 * `persistMetadata` returns into what was stored.
 */
export type PersistedMetadata = { readonly [id: string]: CallSiteData };

/**
 * One live span of an execution. The crate's JSON form; `entered`, `sequence`, `dropped_events` and `relay` are ours and a genuine
 * crate ignores them.
 */
export interface PersistedSpan {
  readonly metadata_id: Id;
  readonly parent_id?: Id;
  /** Handles that the guest holds; at least 1. */
  readonly ref_count: number;
  readonly values: TracedValueMap;
  /** Position in the guest's stack of entered spans, from 1; absent when it is not entered. */
  readonly entered?: number;
  /** Number of the batch that the guest sends next, from 1; in one span of an execution, and only where batches came. */
  readonly sequence?: number;
  /** How many events the guest said it dropped, from 1; where `sequence` is, and absent for none. */
  readonly dropped_events?: number;
  /** What the relay needs to go on with the same span: plain JSON, no bigints. */
  readonly relay?: unknown;
}

/** The live spans of one execution by id. */
export type PersistedSpans = { readonly [id: string]: PersistedSpan };

/** A persisted span as it is read back: checked, and in memory of its own. */
export interface OpenSpan {
  readonly metadataId: Id;
  readonly parentId: Id | undefined;
  readonly refCount: number;
  readonly values: TracedValues;
  readonly entered: number | undefined;
  readonly sequence: number | undefined;
  readonly droppedEvents: number | undefined;
  readonly relay: unknown;
}

const MAX_U64 = 2n ** 64n - 1n;

/**
 * The call sites of persisted metadata, which may be any object: only own enumerable properties count, unknown keys are ignored
 * and optional keys may be `null`, as the crate writes them.
 *
 * @throws TunnelError "snapshot_mismatch": no receiver can have written it
 */
export function readMetadata(metadata: PersistedMetadata): [id: Id, data: CallSiteData][] {
  return readEntries(metadata, "call site", (reader, entry) => reader.callSite(entry));
}

/**
 * The spans of a persisted execution, read as `readMetadata` reads call sites.
 *
 * @throws TunnelError "snapshot_mismatch": no receiver can have written it, for instance a `ref_count` below 1
 */
export function readSpans(spans: PersistedSpans): [id: Id, span: OpenSpan][] {
  return readEntries(spans, "span", (reader, entry) => ({
    metadataId: reader.id(entry, "metadata_id"),
    parentId: reader.optionalId(entry, "parent_id"),
    refCount: reader.count(entry, "ref_count"),
    values: reader.values(entry),
    entered: reader.optionalCount(entry, "entered"),
    sequence: reader.optionalCount(entry, "sequence"),
    droppedEvents: reader.optionalCount(entry, "dropped_events"),
    relay: own(entry, "relay"),
  }));
}

function readEntries<T>(
  state: unknown,
  what: string,
  read: (reader: EventReader, entry: { readonly [key: string]: unknown }) => T,
): [id: Id, entry: T][] {
  const reader = new EventReader(UNLIMITED);
  const entries: [Id, T][] = [];
  let where = `${what}s`;
  try {
    const all = reader.object(state, where);
    for (const key of Object.keys(all)) {
      where = `${what}s`;
      const id = readId(key, 0);
      where = `${what} ${id}`;
      entries.push([id, read(reader, reader.object(all[key], "the entry"))]);
    }
  } catch (error) {
    throw mismatch(where, error);
  }
  return entries;
}

/** The id that a key of persisted state is. @param offset of the key, for the error. @throws DecodeError "malformed" @internal */
export function readId(key: string, offset: number): Id {
  const id = /^(?:0|[1-9][0-9]{0,19})$/.test(key) ? BigInt(key) : -1n;
  if (id < 0n || id > MAX_U64) throw new DecodeError("malformed", `${quote(key)} is not an id`, offset);
  return canonicalInteger(id);
}

/** What is thrown for persisted state that cannot be read. @param where for instance `span 7` @internal */
export function mismatch(where: string, cause: unknown): TunnelError {
  const reason = cause instanceof DecodeError ? cause.reason : `it threw when it was read (${typeof cause})`;
  return new TunnelError("snapshot_mismatch", `persisted ${where}: ${reason}`, { cause });
}
