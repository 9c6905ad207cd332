import type { TracedError, TracedValue, TracedValueMap } from "./event.ts";

/** Types of a traced value as small numbers, in the order of the crate's variants. */
export const ValueKind = { bool: 1, int: 2, uInt: 3, float: 4, string: 5, object: 6, error: 7 } as const;
export type ValueKind = (typeof ValueKind)[keyof typeof ValueKind];

/** A traced value without its type: `ValueKind` says which it is. */
export type RawValue = boolean | number | bigint | string | TracedError;

const NO_FIELDS: readonly string[] = [];

/** Above this many values a lookup goes through a map, so that hostile records cost linear time. */
const SCAN_LIMIT = 32;

/**
 * Values of one record: parallel columns, so that the hot path builds no object per value. One instance is filled again and
 * again; who receives it borrows it for the call and copies what it keeps (`copy`).
 */
export class TracedValues {
  /** Names of the call site that numeric keys index; empty where the writer does not know them (a decoder). */
  fields: readonly string[] = NO_FIELDS;
  /** Index into `fields`, or the name itself. No key stands twice. */
  readonly keys: (number | string)[] = [];
  readonly kinds: ValueKind[] = [];
  readonly raws: RawValue[] = [];
  /** How many entries of the columns count; the rest are left-overs of earlier use. */
  size = 0;
  #positions: Map<number | string, number> | undefined;

  /** Forget all values; numeric keys will index `fields`. */
  clear(fields: readonly string[] = NO_FIELDS): void {
    this.fields = fields;
    this.size = 0;
    this.#positions = undefined;
  }

  /** Append a value whose key is known to be new. */
  push(key: number | string, kind: ValueKind, raw: RawValue): void {
    const at = this.size++;
    this.keys[at] = key;
    this.kinds[at] = kind;
    this.raws[at] = raw;
  }

  /** Add a value; one that stands under this key already keeps its place and is replaced. */
  set(key: number | string, kind: ValueKind, raw: RawValue): void {
    const at = this.indexOf(key);
    if (at < 0) {
      this.#positions?.set(key, this.size);
      this.push(key, kind, raw);
    } else {
      this.kinds[at] = kind;
      this.raws[at] = raw;
    }
  }

  /** Position of the value under exactly this key, or -1. */
  indexOf(key: number | string): number {
    const { keys, size } = this;
    if (size <= SCAN_LIMIT) {
      for (let i = 0; i < size; i++) if (keys[i] === key) return i;
      return -1;
    }
    if (this.#positions === undefined) {
      this.#positions = new Map();
      for (let i = 0; i < size; i++) this.#positions.set(keys[i] as number | string, i);
    }
    return this.#positions.get(key) ?? -1;
  }

  /** Name of the value at `position`; `undefined` for an index outside `fields`. */
  name(position: number): string | undefined {
    const key = this.keys[position] as number | string;
    return typeof key === "number" ? this.fields[key] : key;
  }

  /** An instance of its own with the same values, for who keeps them. */
  copy(): TracedValues {
    const copy = new TracedValues();
    copy.fields = this.fields;
    for (let i = 0; i < this.size; i++) {
      copy.push(this.keys[i] as number | string, this.kinds[i] as ValueKind, this.raws[i] as RawValue);
    }
    return copy;
  }

  /** The values as a plain object without prototype, so that `__proto__` is a name like any other. */
  toMap(): TracedValueMap {
    const map = Object.create(null) as { [name: string]: TracedValue };
    for (let i = 0; i < this.size; i++) {
      map[this.name(i) ?? `#${this.keys[i]}`] = tagged(this.kinds[i] as ValueKind, this.raws[i] as RawValue);
    }
    return map;
  }
}

/** The value in its tagged form. */
export function tagged(kind: ValueKind, raw: RawValue): TracedValue {
  switch (kind) {
    case ValueKind.bool:
      return { bool: raw as boolean };
    case ValueKind.int:
      return { int: raw as number | bigint };
    case ValueKind.uInt:
      return { u_int: raw as number | bigint };
    case ValueKind.float:
      return { float: raw as number };
    case ValueKind.string:
      return { string: raw as string };
    case ValueKind.object:
      return { object: raw as string };
    case ValueKind.error:
      return { error: raw as TracedError };
  }
}

/** An integer in canonical form: `number` when it is safe, else `bigint`. */
export function canonicalInteger(value: bigint): number | bigint {
  return value >= -9007199254740991n && value <= 9007199254740991n ? Number(value) : value;
}
