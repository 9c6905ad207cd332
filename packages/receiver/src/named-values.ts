import { type RawValue, type TracedError, type TracedValues, type ValueColumns, ValueKind } from "@spanduct/protocol";
import type { CallSite } from "./arena.ts";

const FIXED_BYTES = 16;

/** What `nameValues` found. */
export const Naming = {
  /** The call site declares every name. */
  declared: -1,
  /** Some name may be one that the call site does not declare. */
  mixed: -2,
} as const;

/**
 * Fill `into` with `values` keyed by name. Numeric keys index `values.fields` where the writer knew them, else the call site's.
 *
 * @returns a `Naming`, or the first index that is out of range
 */
export function nameValues(into: TracedValues, values: ValueColumns, callSite: CallSite | undefined): number {
  const { keys, kinds, raws, size } = values;
  const own = values.fields.length > 0;
  const fields = own ? values.fields : callSite === undefined ? values.fields : callSite.data.fields;
  // What a decoder gives: indices, each once, of names that differ.
  let plain = !own && callSite?.distinct === true;
  into.clear();
  for (let i = 0; i < size; i++) {
    const key = keys[i] as number | string;
    if (typeof key === "number") {
      const name = fields[key];
      if (name === undefined) return key;
      if (plain) into.push(name, kinds[i] as ValueKind, raws[i] as RawValue);
      else into.set(name, kinds[i] as ValueKind, raws[i] as RawValue);
    } else {
      plain = false;
      into.set(key, kinds[i] as ValueKind, raws[i] as RawValue);
    }
  }
  return plain ? Naming.declared : Naming.mixed;
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

/** What keeping the value at `position` costs, in bytes: strings as UTF-16, 16 for anything else. */
export function valueBytes(values: TracedValues, position: number): number {
  const raw = values.raws[position] as RawValue;
  if (typeof raw === "string") return FIXED_BYTES + 2 * raw.length;
  if (values.kinds[position] !== ValueKind.error) return FIXED_BYTES;
  let bytes = 0;
  for (let link: TracedError | null = raw as TracedError; link !== null; link = link.source) {
    bytes += FIXED_BYTES + 2 * (link.message.length + (link.type?.length ?? 0) + (link.stack?.length ?? 0));
  }
  return bytes;
}

/** What keeping all of `values` costs, in bytes. */
export function totalBytes(values: TracedValues): number {
  let bytes = 0;
  for (let i = 0; i < values.size; i++) bytes += valueBytes(values, i);
  return bytes;
}
