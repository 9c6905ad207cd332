import { type RawValue, type TracedError, TracedValues, type ValueColumns, ValueKind } from "@spanduct/protocol";
import type { CallSite } from "./arena.ts";

const FIXED_BYTES = 16;

/** The values of the event at hand, keyed by name. */
export class NamedValues extends TracedValues {
  /** What keeping them costs, in bytes. */
  bytes = 0;
  /** Whether the call site is known to declare every name. */
  allDeclared = false;
  /** What `fill` was last told. */
  callSite: CallSite | undefined;
  declare kinds: ValueKind[];
  declare raws: RawValue[];

  /**
   * Take over `values`. Numeric keys index `values.fields` where the writer knew them, else the call site's.
   *
   * @returns the first index that is out of range, or -1
   */
  fill(values: ValueColumns, callSite: CallSite | undefined): number {
    this.clear();
    this.callSite = callSite;
    if (callSite?.distinct !== true || values.fields.length > 0) return this.#fillMixed(values, callSite);
    // What a decoder gives: indices, each once, of names that differ.
    const { names } = callSite;
    const { size } = values;
    let bytes = 0;
    for (let i = 0; i < size; i++) {
      const key = values.keys[i] as number | string;
      if (typeof key !== "number") {
        this.clear();
        return this.#fillMixed(values, callSite);
      }
      const name = names[key];
      if (name === undefined) return key;
      const kind = values.kinds[i] as ValueKind;
      const raw = values.raws[i] as RawValue;
      this.keys[i] = name;
      this.kinds[i] = kind;
      this.raws[i] = raw;
      bytes += valueBytes(name, kind, raw);
    }
    this.size = size;
    this.bytes = bytes;
    this.allDeclared = true;
    return -1;
  }

  /**
   * As `fill`, but the values stay in the columns in which they came, for as long as those are lent. For an object that is never
   * filled.
   *
   * @returns whether there are any, and as a decoder gives them, see `fill`; else nothing was done
   */
  lend({ fields, keys, kinds, raws, size }: ValueColumns, { distinct, names }: CallSite): boolean {
    this.clear();
    if (!distinct || fields.length > 0 || size === 0) return false;
    for (let i = 0; i < size; i++) {
      const key = keys[i] as number | string;
      if (typeof key !== "number") return false;
      const name = names[key];
      if (name === undefined) return false;
      this.keys[i] = name;
    }
    this.kinds = kinds as ValueKind[];
    this.raws = raws as RawValue[];
    this.size = size;
    return true;
  }

  /** Keep nothing of what was lent. */
  giveBack(): void {
    this.clear();
    this.kinds = [];
    this.raws = [];
  }

  #fillMixed(values: ValueColumns, callSite: CallSite | undefined): number {
    const { keys, kinds, raws, size } = values;
    const fields = values.fields.length > 0 ? values.fields : (callSite?.names ?? values.fields);
    for (let i = 0; i < size; i++) {
      const key = keys[i] as number | string;
      const name = typeof key === "number" ? fields[key] : key;
      if (name === undefined) return key as number;
      this.set(name, kinds[i] as ValueKind, raws[i] as RawValue);
    }
    this.bytes = totalBytes(this);
    this.allDeclared = false;
    return -1;
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
function valueBytes(name: string, kind: ValueKind, raw: RawValue): number {
  let bytes = FIXED_BYTES + 2 * name.length;
  if (typeof raw === "string") return bytes + 2 * raw.length;
  if (kind !== ValueKind.error) return bytes;
  for (let link: TracedError | null = raw as TracedError; link !== null; link = link.source) {
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
export function bytesAt({ keys, kinds, raws }: TracedValues, position: number): number {
  return valueBytes(keys[position] as string, kinds[position] as ValueKind, raws[position] as RawValue);
}
