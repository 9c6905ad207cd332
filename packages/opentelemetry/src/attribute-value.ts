import { type RawValue, type TracedError, type ValueColumns, ValueKind } from "@spanduct/protocol";

/** A value that both SDK lines keep, on spans, events, links and log records alike. */
export type AttributeValue = string | number | boolean | string[] | number[] | boolean[];

/** Attributes by name: a plain object, in which `__proto__` is a name like any other. */
export type AttributeMap = Record<string, AttributeValue>;

/**
 * `value` as an attribute; `undefined` when it is of a kind that not both SDK lines keep (objects, bytes, null, mixed arrays,
 * bigints).
 */
export function attributeValue(value: unknown): AttributeValue | undefined {
  if (isScalar(value)) return value;
  if (!Array.isArray(value)) return undefined;
  const kind = typeof value[0];
  if (!value.every((item: unknown) => isScalar(item) && typeof item === kind)) return undefined;
  return value.slice() as string[];
}

function isScalar(value: unknown): value is string | number | boolean {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean";
}

/**
 * A guest's value, other than an error, as an attribute. Numbers stay numbers; integers beyond 2^53 become decimal text, which is
 * what both SDK lines keep exactly.
 */
export function scalar(raw: RawValue): string | number | boolean {
  return typeof raw === "bigint" ? raw.toString() : (raw as string | number | boolean);
}

/** Name of the value at `position`; `undefined` for an index that stands for none. */
export function valueName(values: ValueColumns, position: number): string | undefined {
  const key = values.keys[position] as number | string;
  return typeof key === "string" ? key : values.fields[key];
}

/** The first error among the values. */
export function errorOf({ size, kinds, raws }: ValueColumns): TracedError | undefined {
  for (let i = 0; i < size; i++) if (kinds[i] === ValueKind.error) return raws[i] as TracedError;
  return undefined;
}
