import { type RawValue, type TracedError, type ValueColumns, ValueKind } from "@spanduct/protocol";
import type { Attributed } from "./attributed.ts";
import { putError } from "./exception.ts";

/**
 * Set the attribute, or for an error the attributes, of one value. Numbers stay numbers; integers beyond 2^53 become decimal text,
 * which is what both SDK lines keep exactly.
 */
export function putValue(
  target: Attributed,
  name: string,
  kind: ValueKind,
  raw: RawValue,
  countLimit: number,
  lengthLimit: number,
): void {
  if (kind === ValueKind.error) putError(target, name, raw as TracedError, countLimit, lengthLimit);
  else target.put(name, scalar(raw), countLimit, lengthLimit);
}

/** Name of the value at `position`; `undefined` for an index that stands for none. */
export function valueName(values: ValueColumns, position: number): string | undefined {
  const key = values.keys[position] as number | string;
  return typeof key === "string" ? key : values.fields[key];
}

/** A value that is not an error, as an attribute has it. */
export function scalar(raw: RawValue): string | number | boolean {
  return typeof raw === "bigint" ? raw.toString() : (raw as string | number | boolean);
}
