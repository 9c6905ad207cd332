import { type RawValue, type TracedError, TracedValues, type ValueColumns, type ValueKind } from "@spanduct/protocol";
import type { CallSite } from "./arena.ts";
import type { RelayedValues } from "./relay.ts";
import { FIXED_BYTES, nameBytes, type ValueShape } from "./value-shape.ts";

/** The values of the event at hand, keyed by name. */
export class NamedValues extends TracedValues implements RelayedValues {
  declare keys: string[];
  declare kinds: ValueKind[];
  declare raws: RawValue[];
  shape: ValueShape | undefined;
  /** What keeping them costs, in bytes; not counted where they are only lent. */
  bytes = 0;

  /**
   * Take over `values`. Numeric keys index `values.fields` where the writer knew them, else the call site's.
   *
   * @returns the first index that is out of range, or -1
   */
  fill(values: ValueColumns, callSite: CallSite | undefined): number {
    this.clear();
    const { keys, kinds, raws, size } = values;
    const fields = values.fields.length > 0 ? values.fields : (callSite?.names ?? values.fields);
    for (let i = 0; i < size; i++) {
      const key = keys[i] as number | string;
      const name = typeof key === "number" ? fields[key] : key;
      if (name === undefined) return key as number;
      this.set(name, kinds[i] as ValueKind, raws[i] as RawValue);
    }
    this.bytes = totalBytes(this);
    return -1;
  }

  /**
   * Show the first of `raws` as the values of a shape. For an object that is never filled: its columns are others'.
   *
   * @param bytes what keeping them costs, where somebody will
   */
  show(shape: ValueShape, raws: readonly RawValue[], bytes: number): void {
    this.shape = shape;
    this.keys = shape.keys as string[];
    this.kinds = shape.kinds as ValueKind[];
    this.raws = raws as RawValue[];
    this.size = shape.keys.length;
    this.bytes = bytes;
  }

  /** Keep nothing of what was shown. */
  giveBack(): void {
    this.clear();
    this.shape = undefined;
    this.keys = [];
    this.kinds = [];
    this.raws = [];
  }
}

/** Those of `values` that the call site declares: `values` itself when that is all, else in `scratch`. */
export function declaredValues(values: TracedValues, callSite: CallSite, scratch: TracedValues): TracedValues {
  const { keys, kinds, raws, size } = values;
  let i = 0;
  while (i < size && callSite.declares(keys[i] as string)) i++;
  if (i === size) return values;
  scratch.clear();
  for (let k = 0; k < size; k++) {
    const name = keys[k] as string;
    if (callSite.declares(name)) scratch.push(name, kinds[k] as ValueKind, raws[k] as RawValue);
  }
  return scratch;
}

/** What keeping a value costs, in bytes; `Limits.maxSpanValueBytes` says how it is counted. */
function valueBytes(name: string, raw: RawValue): number {
  return nameBytes(name) + rawBytes(raw);
}

/** What of that is not for the name and its place. */
export function rawBytes(raw: RawValue): number {
  if (typeof raw === "string") return 2 * raw.length;
  return typeof raw === "object" ? errorBytes(raw) : 0;
}

function errorBytes(error: TracedError): number {
  let bytes = 0;
  for (let link: TracedError | null = error; link !== null; link = link.source) {
    bytes += FIXED_BYTES + 2 * (link.message.length + (link.type?.length ?? 0) + (link.stack?.length ?? 0));
  }
  return bytes;
}

/** What keeping all of `values` costs, in bytes. */
export function totalBytes(values: TracedValues): number {
  let bytes = 0;
  for (let i = 0; i < values.size; i++) bytes += bytesAt(values, i);
  return bytes;
}

/** What keeping the value at `position` costs, in bytes. */
export function bytesAt({ keys, raws }: TracedValues, position: number): number {
  return valueBytes(keys[position] as string, raws[position] as RawValue);
}
