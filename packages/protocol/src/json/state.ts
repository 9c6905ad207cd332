import type { CallSiteData, Id } from "../event.ts";
import {
  mismatch,
  type OpenSpan,
  type PersistedMetadata,
  type PersistedSpan,
  type PersistedSpans,
  readId,
  readMetadata,
  readSpans,
} from "../state.ts";
import { UNLIMITED } from "../unlimited.ts";
import { readUtf8 } from "../utf8.ts";
import { TracedValues, toValueMap } from "../values.ts";
import { jsonBytes } from "./decode.ts";
import { Key, keySet } from "./keys.ts";
import { CALL_SITE_KEYS, CALL_SITE_REQUIRED, CallSiteDraft, readValues } from "./parts.ts";
import { JsonScanner } from "./scanner.ts";
import { JsonWriter } from "./writer.ts";

const SPAN_KEYS = keySet(
  Key.metadata_id,
  Key.parent_id,
  Key.ref_count,
  Key.values,
  Key.entered,
  Key.sequence,
  Key.dropped_events,
  Key.relay,
);
const SPAN_REQUIRED = keySet(Key.metadata_id, Key.ref_count, Key.values);

/**
 * Call sites from the text of `printState`, or of the genuine crate. The result has no prototype.
 *
 * @throws TunnelError "snapshot_mismatch": not the text of persisted call sites
 */
export function parseMetadata(text: string | Uint8Array): PersistedMetadata {
  const draft = new CallSiteDraft();
  return parseEntries(text, "call site", (scanner): CallSiteData => {
    draft.clear();
    let seen = 0;
    scanner.open("the call site");
    for (;;) {
      const key = scanner.member(CALL_SITE_KEYS, seen);
      if (key === Key.unknown) break;
      seen |= 1 << key;
      draft.read(key, scanner, UNLIMITED);
    }
    scanner.require(CALL_SITE_REQUIRED, seen);
    return draft.finish();
  });
}

/**
 * Live spans from the text of `printState`, or of the genuine crate. Neither the result nor its maps of values have a prototype.
 *
 * @throws TunnelError "snapshot_mismatch": not the text of persisted spans, or a span that nobody holds (`ref_count` below 1)
 */
export function parseSpans(text: string | Uint8Array): PersistedSpans {
  return parseEntries(text, "span", readSpan);
}

/**
 * Persisted call sites or spans as the crate's JSON, ids ascending. `entered` and `relay` are extra keys, which the crate
 * ignores; integers beyond 2^53 are digits, which `JSON.parse` would round: read it with `parseMetadata` and `parseSpans`.
 *
 * @throws TunnelError "snapshot_mismatch": it is not what its type says
 */
export function printState(state: PersistedMetadata | PersistedSpans): string {
  const writer = new JsonWriter();
  if (isSpans(state)) writeEntries(writer, readSpans(state), (span) => writeSpan(writer, span));
  else writeEntries(writer, readMetadata(state), (data) => writer.callSite(data));
  // What was just written is valid.
  return readUtf8(writer.bytes, 0, writer.byteLength) as string;
}

function isSpans(state: PersistedMetadata | PersistedSpans): state is PersistedSpans {
  return Object.values(state).some((entry) => typeof entry === "object" && entry !== null && Object.hasOwn(entry, "metadata_id"));
}

function writeEntries<T>(writer: JsonWriter, entries: [id: Id, entry: T][], write: (entry: T) => void): void {
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  writer.raw("{");
  entries.forEach(([id, entry], position) => {
    writer.raw(position === 0 ? `"${id}":{` : `,"${id}":{`);
    write(entry);
    writer.raw("}");
  });
  writer.raw("}");
}

function writeSpan(writer: JsonWriter, span: OpenSpan): void {
  const { metadataId, parentId, refCount, values, entered, sequence, droppedEvents, relay } = span;
  writer.raw('"metadata_id":');
  writer.integer(metadataId);
  if (parentId !== undefined) {
    writer.raw(',"parent_id":');
    writer.integer(parentId);
  }
  writer.raw(',"ref_count":');
  writer.integer(refCount);
  writer.raw(',"values":');
  writer.values(values);
  if (entered !== undefined) {
    writer.raw(',"entered":');
    writer.integer(entered);
  }
  if (sequence !== undefined) {
    writer.raw(',"sequence":');
    writer.integer(sequence);
  }
  if (droppedEvents !== undefined) {
    writer.raw(',"dropped_events":');
    writer.integer(droppedEvents);
  }
  if (relay !== undefined) {
    writer.raw(',"relay":');
    writer.json(relayText(relay));
  }
}

function relayText(relay: unknown): string {
  try {
    return JSON.stringify(relay) ?? "null";
  } catch (error) {
    throw mismatch("state of a relay", error);
  }
}

function readSpan(scanner: JsonScanner, bytes: Uint8Array): PersistedSpan {
  const values = new TracedValues();
  let metadataId: Id = 0;
  let parentId: Id | undefined;
  let refCount = 0;
  let entered: number | undefined;
  let sequence: number | undefined;
  let droppedEvents: number | undefined;
  let relay: unknown;
  let seen = 0;
  scanner.open("the span");
  for (;;) {
    const key = scanner.member(SPAN_KEYS, seen);
    if (key === Key.unknown) break;
    seen |= 1 << key;
    switch (key) {
      case Key.metadata_id:
        metadataId = scanner.u64();
        break;
      case Key.parent_id:
        parentId = scanner.tryNull() ? undefined : scanner.u64();
        break;
      case Key.ref_count:
        refCount = readCount(scanner, "ref_count");
        break;
      case Key.values:
        readValues(scanner, UNLIMITED, values);
        break;
      case Key.entered:
        entered = scanner.tryNull() ? undefined : readCount(scanner, "entered");
        break;
      case Key.sequence:
        sequence = scanner.tryNull() ? undefined : readCount(scanner, "sequence");
        break;
      case Key.dropped_events:
        droppedEvents = scanner.tryNull() ? undefined : readCount(scanner, "dropped_events");
        break;
      case Key.relay: {
        const start = scanner.offset;
        scanner.skip();
        relay = JSON.parse(readUtf8(bytes, start, scanner.offset) as string);
      }
    }
  }
  scanner.require(SPAN_REQUIRED, seen);
  return {
    metadata_id: metadataId,
    ...(parentId !== undefined && { parent_id: parentId }),
    ref_count: refCount,
    values: toValueMap(values),
    ...(entered !== undefined && { entered }),
    ...(sequence !== undefined && { sequence }),
    ...(droppedEvents !== undefined && { dropped_events: droppedEvents }),
    ...(relay !== undefined && { relay }),
  };
}

function readCount(scanner: JsonScanner, what: string): number {
  const count = scanner.safe();
  if (count < 1) scanner.fail(`${what} is below 1`);
  return count;
}

/** An object whose keys are ids. */
function parseEntries<T>(
  text: string | Uint8Array,
  what: string,
  read: (scanner: JsonScanner, bytes: Uint8Array) => T,
): { readonly [id: string]: T } {
  const entries = Object.create(null) as { [id: string]: T };
  let where = `${what}s`;
  try {
    const bytes = jsonBytes(text);
    const scanner = new JsonScanner(UNLIMITED);
    scanner.cacheTexts();
    scanner.reset(bytes, 0, bytes.length);
    scanner.open(where);
    while (scanner.more()) {
      where = `${what}s`;
      const at = scanner.offset;
      const id = readId(scanner.name(), at);
      where = `${what} ${id}`;
      entries[String(id)] = read(scanner, bytes);
    }
    scanner.expectEnd();
  } catch (error) {
    throw mismatch(where, error);
  }
  return entries;
}
