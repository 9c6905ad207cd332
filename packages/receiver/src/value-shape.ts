import type { ValueColumns, ValueKind } from "@spanduct/protocol";

/** What a value costs on top of its name and its text, in bytes. */
export const FIXED_BYTES = 16;

/** What name and place of a value cost to keep, in bytes. */
export function nameBytes(name: string): number {
  return FIXED_BYTES + 2 * name.length;
}

/** Indices of most shapes: the first fields, in their order. */
const ASCENDING: readonly number[] = Array.from({ length: 64 }, (_, index) => index);

/** Names and types of a record's values: one object for all records of a call site that have the same. Not to be changed. */
export class ValueShape {
  /** Names that the call site declares, each once. */
  readonly keys: readonly string[];
  readonly kinds: readonly ValueKind[];
  /** @internal What names and places of the values cost to keep, in bytes. */
  readonly fixedBytes: number;
  /** The same names as indices of the call site's fields. */
  readonly #indices: readonly number[];

  /** @internal Made by call sites; the arrays are its own from now on. */
  constructor(keys: readonly string[], kinds: readonly ValueKind[], indices: readonly number[]) {
    this.keys = keys;
    this.kinds = kinds;
    const isAscending = indices.length <= ASCENDING.length && indices.every((index, at) => index === at);
    this.#indices = isAscending ? ASCENDING : indices;
    this.fixedBytes = keys.reduce((bytes, name) => bytes + nameBytes(name), 0);
  }

  /** @internal Whether `values`, keyed by name or by index of the call site's fields, are of these names and types. */
  fits({ keys, kinds, size }: ValueColumns): boolean {
    const names = this.keys;
    const indices = this.#indices;
    if (names.length !== size) return false;
    for (let i = 0; i < size; i++) {
      const key = keys[i];
      if (kinds[i] !== this.kinds[i] || (key !== indices[i] && key !== names[i])) return false;
    }
    return true;
  }
}
