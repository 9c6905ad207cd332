import {
  type CallSiteData,
  canonicalInteger,
  type Id,
  LevelNumber,
  type PersistedMetadata,
  type PersistedSpan,
  type PersistedSpans,
  type RawValue,
  type TracedError,
  toValueMap,
  TracedValues,
  TunnelError,
  ValueKind,
} from "@spanduct/protocol";
import { totalBytes } from "./named-values.ts";
import { type SpanStack, SpanState } from "./span-state.ts";

const MAX_ID = 2n ** 64n - 1n;
const MAX_INT = 2n ** 127n;
const MAX_U_INT = 2n ** 128n - 1n;
const MAX_LINE = 2 ** 32 - 1;

/** An open span as a receiver takes it over. */
export interface OpenedSpan<Span> {
  readonly state: SpanState<Span>;
  /** Position on the guest's stack, from 1; 0 when it is not entered. */
  readonly entered: number;
  /** What the relay saved. */
  readonly saved: unknown;
}

/** The call sites of persisted metadata. @throws TunnelError "snapshot_mismatch" */
export function readMetadata(metadata: PersistedMetadata): Map<Id, CallSiteData> {
  const callSites = new Map<Id, CallSiteData>();
  for (const key of Object.keys(metadata)) {
    const data = metadata[key];
    if (!isCallSite(data)) mismatch(`call site ${key} is not a call site`);
    const { kind, name, target, level, module_path, file, line, fields } = data;
    callSites.set(readKey(key), {
      kind,
      name,
      target,
      level,
      // The crate writes what is absent as null.
      ...(typeof module_path === "string" && { module_path }),
      ...(typeof file === "string" && { file }),
      ...(typeof line === "number" && { line }),
      fields: [...fields],
    });
  }
  return callSites;
}

/**
 * The spans of a persisted execution, entered ones in the order they were entered, and those only this process remembers.
 *
 * @throws TunnelError "snapshot_mismatch": state that no receiver can have written, for instance a `ref_count` below 1
 */
export function readSpans<Span>(spans: PersistedSpans, localSpans: ReadonlyMap<Id, Span>): OpenedSpan<Span>[] {
  const opened: OpenedSpan<Span>[] = [];
  for (const key of Object.keys(spans)) {
    const state = new SpanState<Span>(readKey(key));
    const span = spans[key] as PersistedSpan;
    if (typeof span !== "object" || span === null) mismatch(`span ${key} is not an object`);
    const { metadata_id, parent_id, ref_count, values, entered = 0, relay } = span;
    if (!isCount(ref_count, 1)) mismatch(`span ${key} has ref_count ${String(ref_count)}`);
    if (!isCount(entered, 0)) mismatch(`span ${key} has entered ${String(entered)}`);
    state.alive = true;
    state.metadataId = readId(metadata_id, key);
    if (parent_id !== undefined && parent_id !== null) state.parentId = readId(parent_id, key);
    state.refCount = ref_count;
    state.values = readValues(values, key);
    state.valueBytes = totalBytes(state.values);
    state.local = localSpans.get(state.id);
    opened.push({ state, entered, saved: relay });
  }
  opened.sort((a, b) => a.entered - b.entered);

  const known = new Set(opened.map(({ state }) => state.id));
  for (const [id, local] of localSpans) {
    if (known.has(id)) continue;
    const state = new SpanState<Span>(id);
    state.local = local;
    opened.push({ state, entered: 0, saved: undefined });
  }
  return opened;
}

/** The open spans as they are persisted. */
export function writeSpans<Span>(
  spans: Iterable<SpanState<Span>>,
  stack: SpanStack<Span>,
  save: (span: Span) => unknown,
): PersistedSpans {
  const positions = new Map<SpanState<Span>, number>();
  for (const span of [...stack].reverse()) positions.set(span, positions.size + 1);
  const persisted = Object.create(null) as { [id: string]: PersistedSpan };
  for (const span of spans) {
    if (!span.alive) continue;
    const entered = positions.get(span);
    const relay = span.local === undefined ? undefined : save(span.local);
    persisted[String(span.id)] = {
      metadata_id: span.metadataId,
      ...(span.parentId !== undefined && { parent_id: span.parentId }),
      ref_count: span.refCount,
      values: toValueMap(span.values),
      ...(entered !== undefined && { entered }),
      ...(relay !== undefined && { relay }),
    };
  }
  return persisted;
}

function readKey(key: string): Id {
  if (!/^(0|[1-9][0-9]{0,19})$/.test(key)) mismatch(`${JSON.stringify(key)} is not an id`);
  return readId(BigInt(key), key);
}

function readId(id: unknown, key: string): Id {
  if (typeof id === "number" && isCount(id, 0)) return id;
  if (typeof id !== "bigint" || id < 0n || id > MAX_ID) mismatch(`entry ${key} has the id ${String(id)}`);
  return canonicalInteger(id);
}

function isCount(value: unknown, least: number): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= least;
}

function isCallSite(data: unknown): data is CallSiteData {
  if (typeof data !== "object" || data === null) return false;
  const { kind, name, target, level, module_path, file, line, fields } = data as { readonly [key: string]: unknown };
  return (
    (kind === "span" || kind === "event") &&
    typeof name === "string" &&
    typeof target === "string" &&
    typeof level === "string" &&
    level !== "off" &&
    Object.hasOwn(LevelNumber, level) &&
    isOptional(module_path, "string") &&
    isOptional(file, "string") &&
    (line === undefined || line === null || (isCount(line, 0) && line <= MAX_LINE)) &&
    Array.isArray(fields) &&
    fields.every((field) => typeof field === "string")
  );
}

function isOptional(value: unknown, type: string): boolean {
  return value === undefined || value === null || typeof value === type;
}

function readValues(map: unknown, key: string): TracedValues {
  if (typeof map !== "object" || map === null) mismatch(`span ${key} has no values`);
  const values = new TracedValues();
  for (const name of Object.keys(map)) {
    const tagged: unknown = (map as { readonly [name: string]: unknown })[name];
    const tags = typeof tagged === "object" && tagged !== null ? Object.keys(tagged) : [];
    const tag = tags.length === 1 ? (tags[0] as string) : "";
    const raw: unknown = tag === "" ? undefined : (tagged as { readonly [tag: string]: unknown })[tag];
    const kind = kindOf(tag, raw);
    if (kind === undefined) mismatch(`span ${key} has no proper value ${JSON.stringify(name)}`);
    values.push(name, kind, raw as RawValue);
  }
  return values;
}

function kindOf(tag: string, raw: unknown): ValueKind | undefined {
  switch (tag) {
    case "bool":
      return typeof raw === "boolean" ? ValueKind.bool : undefined;
    case "int":
      return isInteger(raw, -MAX_INT, MAX_INT - 1n) ? ValueKind.int : undefined;
    case "u_int":
      return isInteger(raw, 0n, MAX_U_INT) ? ValueKind.uInt : undefined;
    case "float":
      return typeof raw === "number" ? ValueKind.float : undefined;
    case "string":
      return typeof raw === "string" ? ValueKind.string : undefined;
    case "object":
      return typeof raw === "string" ? ValueKind.object : undefined;
    case "error":
      return isError(raw) ? ValueKind.error : undefined;
    default:
      return undefined;
  }
}

function isInteger(raw: unknown, least: bigint, most: bigint): boolean {
  if (typeof raw === "number") return Number.isSafeInteger(raw) && raw >= least;
  return typeof raw === "bigint" && raw >= least && raw <= most;
}

function isError(raw: unknown): raw is TracedError {
  for (let link: unknown = raw; link !== null && link !== undefined; ) {
    if (typeof link !== "object" || typeof (link as TracedError).message !== "string") return false;
    link = (link as TracedError).source;
  }
  return raw !== null && raw !== undefined;
}

function mismatch(reason: string): never {
  throw new TunnelError("snapshot_mismatch", `${reason}; the state is damaged or not spanduct's`);
}
