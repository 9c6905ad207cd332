import { EventReader } from "../dispatch.ts";
import { DecodeError, TunnelError } from "../errors.ts";
import type { CallSiteData, Id } from "../event.ts";
import type { PersistedMetadata, PersistedSpan, PersistedSpans } from "../state.ts";
import { readUtf8 } from "../utf8.ts";
import { TracedValues, toValueMap } from "../values.ts";
import { jsonBytes } from "./decode.ts";
import { Key, keySet } from "./keys.ts";
import { CALL_SITE_KEYS, CALL_SITE_REQUIRED, CallSiteDraft, readValues } from "./parts.ts";
import { JsonScanner } from "./scanner.ts";
import { UNLIMITED } from "./unlimited.ts";
import { JsonWriter } from "./writer.ts";

const SPAN_KEYS = keySet(Key.metadata_id, Key.parent_id, Key.ref_count, Key.values, Key.entered, Key.relay);
const SPAN_REQUIRED = keySet(Key.metadata_id, Key.ref_count, Key.values);
const MAX_U64 = 2n ** 64n - 1n;

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
  const reader = new EventReader(UNLIMITED);
  let where = "state";
  try {
    const ids = Object.keys(state).map((id) => checkId(id, 0));
    ids.sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
    writer.raw("{");
    ids.forEach((id, position) => {
      where = `id ${id}`;
      const entry = reader.object(state[id], "the entry");
      writer.raw(position === 0 ? `"${id}":{` : `,"${id}":{`);
      if (Object.hasOwn(entry, "metadata_id")) writeSpan(writer, reader, entry);
      else writer.callSite(reader.callSite(entry));
      writer.raw("}");
    });
    writer.raw("}");
  } catch (error) {
    throw mismatch(where, error);
  }
  // What was just written is valid.
  return readUtf8(writer.bytes, 0, writer.byteLength) as string;
}

function readSpan(scanner: JsonScanner, bytes: Uint8Array): PersistedSpan {
  const values = new TracedValues();
  let metadataId: Id = 0;
  let parentId: Id | undefined;
  let refCount = 0;
  let entered: number | undefined;
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
        refCount = scanner.safe();
        if (refCount < 1) scanner.fail("ref_count is below 1");
        break;
      case Key.values:
        readValues(scanner, UNLIMITED, values);
        break;
      case Key.entered:
        entered = scanner.tryNull() ? undefined : scanner.safe();
        if (entered === 0) scanner.fail("entered is below 1");
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
    ...(relay !== undefined && { relay }),
  };
}

function writeSpan(writer: JsonWriter, reader: EventReader, span: { readonly [key: string]: unknown }): void {
  const parentId = reader.optionalId(span, "parent_id");
  writer.raw('"metadata_id":');
  writer.integer(reader.id(span, "metadata_id"));
  if (parentId !== undefined) {
    writer.raw(',"parent_id":');
    writer.integer(parentId);
  }
  writer.raw(',"ref_count":');
  writer.integer(reader.integer(span["ref_count"], "ref_count", 0n, MAX_U64));
  writer.raw(',"values":');
  writer.values(reader.values(span));
  if (span["entered"] !== undefined) {
    writer.raw(',"entered":');
    writer.integer(reader.integer(span["entered"], "entered", 0n, MAX_U64));
  }
  if (span["relay"] !== undefined) {
    writer.raw(',"relay":');
    writer.json(JSON.stringify(span["relay"]) ?? "null");
  }
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
    scanner.reset(bytes, 0, bytes.length);
    scanner.open(where);
    while (scanner.more()) {
      where = `${what}s`;
      const at = scanner.offset;
      const id = checkId(scanner.name(), at);
      where = `${what} ${id}`;
      entries[id] = read(scanner, bytes);
    }
    scanner.expectEnd();
  } catch (error) {
    throw mismatch(where, error);
  }
  return entries;
}

/** `id` if it is an id in decimal. */
function checkId(id: string, offset: number): string {
  if (!/^(?:0|[1-9][0-9]{0,19})$/.test(id) || BigInt(id) > MAX_U64) throw new DecodeError("malformed", "not an id", offset);
  return id;
}

function mismatch(where: string, cause: unknown): TunnelError {
  const reason = cause instanceof DecodeError ? cause.reason : String(cause);
  return new TunnelError("snapshot_mismatch", `persisted ${where}: ${reason}`, { cause });
}
