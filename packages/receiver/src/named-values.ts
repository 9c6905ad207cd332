import { type RawValue, type TracedError, type TracedValues, type ValueColumns, ValueKind } from "@spanduct/protocol";
import type { CallSite } from "./arena.ts";

const FIXED_BYTES = 16;

/**
 * Fill `into` with `values` keyed by name. Numeric keys index `values.fields` where the writer knew them, else the call site's.
 *
 * @returns the first index that is out of range, or -1
 */
export function nameValues(into: TracedValues, values: ValueColumns, callSite: CallSite | undefined): number {
  const { keys, kinds, raws, size } = values;
  const fields = values.fields.length > 0 ? values.fields : (callSite?.data.fields ?? values.fields);
  into.clear();
  for (let i = 0; i < size; i++) {
    const key = keys[i] as number | string;
    const name = typeof key === "number" ? fields[key] : key;
    if (name === undefined) return key as number;
    into.set(name, kinds[i] as ValueKind, raws[i] as RawValue);
  }
  return -1;
}

/** `values`, or when the call site does not declare all of them: those it does, in `scratch`. */
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
