import type { TracedError, TracedValue, TracedValueMap } from "./event.ts";
import { BOOL, FLOAT, INT, OBJECT, STRING, U_INT } from "./value-kinds.ts";

/** Types of a traced value as small numbers, in the order of the crate's variants. */
export const ValueKind = { bool: 1, int: 2, uInt: 3, float: 4, string: 5, object: 6, error: 7 } as const;
export type ValueKind = (typeof ValueKind)[keyof typeof ValueKind];

/** A traced value without its type: `ValueKind` says which it is. */
export type RawValue = boolean | number | bigint | string | TracedError;

/**
 * Values of one record: parallel columns, so that the hot path builds no object per value. Who is handed one borrows it for the
 * call, because it is filled again and again, and copies what it keeps. No key stands twice.
 */
export interface ValueColumns {
  /** Names of the call site that numeric keys index; empty where the writer does not know them (a decoder). */
  readonly fields: readonly string[];
  /** Index into `fields`, or the name itself. */
  readonly keys: readonly (number | string)[];
  readonly kinds: readonly ValueKind[];
  readonly raws: readonly RawValue[];
  /** How many entries of the columns count; the rest are left-overs of earlier use. */
  readonly size: number;
}

/** Columns of a sender, to fill one by one; who fills them sees to it that no key comes twice. */
export class ValueList implements ValueColumns {
  fields: readonly string[] = [];
  readonly keys: (number | string)[] = [];
  readonly kinds: ValueKind[] = [];
  readonly raws: RawValue[] = [];
  size = 0;

  /** Append a value whose key is known to be new. */
  push(key: number | string, kind: ValueKind, raw: RawValue): void {
    const at = this.size++;
    this.keys[at] = key;
    this.kinds[at] = kind;
    this.raws[at] = raw;
  }
}

const NO_FIELDS: readonly string[] = [];

/** Above this many values a lookup goes through a map, so that hostile records cost linear time. */
const SCAN_LIMIT = 32;

/** Columns where a key that comes again replaces its value, in linear time even for hostile records. */
export class TracedValues implements ValueColumns {
  fields: readonly string[] = NO_FIELDS;
  readonly keys: (number | string)[];
  readonly kinds: ValueKind[];
  readonly raws: RawValue[];
  size: number;
  #positions: Map<string, number> | undefined;

  /** Columns of equal length, which belong to the list from now on. */
  constructor(keys: (number | string)[] = [], kinds: ValueKind[] = [], raws: RawValue[] = []) {
    this.keys = keys;
    this.kinds = kinds;
    this.raws = raws;
    this.size = keys.length;
  }

  /** Forget all values; numeric keys will index `fields`. */
  clear(fields: readonly string[] = NO_FIELDS): void {
    this.fields = fields;
    this.size = 0;
    this.#positions = undefined;
  }

  /** Forget all values, and what is left over of earlier use. */
  release(): void {
    this.clear();
    this.keys.length = 0;
    this.kinds.length = 0;
    this.raws.length = 0;
  }

  /** The same values in columns of their own, for who keeps them. */
  copy(): TracedValues {
    const { size } = this;
    const keys = new Array<number | string>(size);
    const kinds = new Array<ValueKind>(size);
    const raws = new Array<RawValue>(size);
    // Several times as fast as `slice` for the few values that a record has.
    for (let i = 0; i < size; i++) {
      keys[i] = this.keys[i] as number | string;
      kinds[i] = this.kinds[i] as ValueKind;
      raws[i] = this.raws[i] as RawValue;
    }
    const copy = new TracedValues(keys, kinds, raws);
    copy.fields = this.fields;
    return copy;
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
    this.#positions ??= new Map();
    const positions = this.#positions;
    // No key comes twice, so that its size tells how many of the columns it knows; `push` leaves it alone.
    for (let i = positions.size; i < size; i++) positions.set(textKey(keys[i] as number | string), i);
    return positions.get(textKey(key)) ?? -1;
  }
}

/** As text, because engines hash numbers the same way everywhere, so a guest could choose indices that all collide. */
function textKey(key: number | string): string {
  return typeof key === "number" ? `#${key}` : `=${key}`;
}

/** Name of the value at `position`; `undefined` for an index outside `fields`. */
export function valueName(values: ValueColumns, position: number): string | undefined {
  const key = values.keys[position] as number | string;
  return typeof key === "number" ? values.fields[key] : key;
}

/** The values as a plain object without prototype, so that `__proto__` is a name like any other. */
export function toValueMap(values: ValueColumns): TracedValueMap {
  const map = Object.create(null) as { [name: string]: TracedValue };
  for (let i = 0; i < values.size; i++) {
    map[valueName(values, i) ?? `#${values.keys[i]}`] = tagged(values.kinds[i] as ValueKind, values.raws[i] as RawValue);
  }
  return map;
}

/** The value in its tagged form: literals, because a key that is worked out costs engines ten times as much. */
export function tagged(kind: ValueKind, raw: RawValue): TracedValue {
  const value = raw as never;
  if (kind === BOOL) return { bool: value };
  if (kind === INT) return { int: value };
  if (kind === U_INT) return { u_int: value };
  if (kind === FLOAT) return { float: value };
  if (kind === STRING) return { string: value };
  return kind === OBJECT ? { object: value } : { error: value };
}

/** An integer in canonical form: `number` when it is safe, else `bigint`. */
export function canonicalInteger(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
