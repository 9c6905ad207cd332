import {
  BOOL,
  canonicalInteger,
  ERROR,
  FLOAT,
  INT,
  OBJECT,
  type RawValue,
  STRING,
  type TracedError,
  U_INT,
  type ValueKind,
  type ValueList,
} from "@spanduct/protocol";

/** Hosts refuse a record with a string above 64 KiB; a UTF-16 unit takes three bytes at most. */
const MAX_TEXT = 20_000;
const MAX_CAUSES = 16;
const UNREADABLE = "[unreadable]";

/**
 * What guest code may give as a value. Safe integers and bigints travel as `int`, other numbers as `float`, errors with their
 * causes; other objects as their debug form. `null` and `undefined` are left out. See `float`, `uint` and `debug` for the rest.
 */
export type Value = boolean | number | bigint | string | object | null | undefined;

/** Values by field name. */
export type Values<Field extends string> = { readonly [field in Field]?: Value };

/** A value whose type was chosen by hand. */
class Typed {
  readonly kind: ValueKind;
  readonly raw: RawValue;

  constructor(kind: ValueKind, raw: RawValue) {
    this.kind = kind;
    this.raw = raw;
  }
}

/** A number that travels as `float` even when it is whole. Anything else travels as if it were given plainly. */
export function float(value: number): Value {
  return typeof value === "number" ? new Typed(FLOAT, value) : value;
}

/** A whole number, 0 to 2^128-1, that travels as `u_int`. Anything else travels as if it were given plainly. */
export function uint(value: number | bigint): Value {
  const isBig = typeof value === "bigint";
  const fits = isBig ? BigInt.asUintN(128, value) === value : Number.isSafeInteger(value) && value >= 0;
  return fits ? new Typed(U_INT, isBig ? canonicalInteger(value) : value) : value;
}

/** The debug form of `value`: what it is as JSON, text without quotes. Travels as `object`. */
export function debug(value: unknown): object {
  return new Typed(OBJECT, debugText(value));
}

/** Whatever was thrown. Travels as `error`. */
export function thrown(value: unknown): object {
  return new Typed(ERROR, tracedError(value, MAX_CAUSES));
}

/** Add the properties `names` of `from` under the keys from `first` on. Never throws, even where reading them does. */
export function addValues(values: ValueList, from: object, names: readonly string[], first = 0): void {
  for (let i = 0; i < names.length; i++) {
    const key = first + i;
    try {
      const name = names[i] as string;
      const value = (from as { readonly [name: string]: Value })[name];
      // Not a `switch`, for which engines make the name of the type first.
      if (typeof value === "string") {
        values.push(key, STRING, cut(value));
      } else if (typeof value === "number") {
        values.push(key, Number.isSafeInteger(value) && !Object.is(value, -0) ? INT : FLOAT, value);
      } else if (typeof value === "boolean") {
        values.push(key, BOOL, value);
      } else if (typeof value === "bigint") {
        if (BigInt.asIntN(128, value) === value) values.push(key, INT, canonicalInteger(value));
        else if (BigInt.asUintN(128, value) === value) values.push(key, U_INT, value);
        else values.push(key, OBJECT, debugText(value));
      } else if (value !== undefined && value !== null && Object.hasOwn(from, name)) {
        // What every object inherits (`constructor`, `__proto__`) is no value; none of it is primitive.
        if (value instanceof Typed) values.push(key, value.kind, value.raw);
        else if (value instanceof Error) values.push(key, ERROR, tracedError(value, MAX_CAUSES));
        else values.push(key, OBJECT, debugText(value));
      }
    } catch {
      values.push(key, OBJECT, UNREADABLE);
    }
  }
}

/** Never throws, even where reading the error does. */
function tracedError(error: unknown, depth: number): TracedError {
  try {
    // What comes from another realm is no `Error` of this one.
    const { message, name, stack, cause } = Object(error) as Partial<Error>;
    if (message === undefined) return { message: debugText(error), source: null };
    const more = cause !== undefined && cause !== null;
    return {
      message: cut(String(message)),
      source: more && depth > 1 ? tracedError(cause, depth - 1) : null,
      ...(typeof name === "string" && { type: cut(name) }),
      // The stacks of causes say little that this one does not.
      ...(typeof stack === "string" && depth === MAX_CAUSES && { stack: cut(stack) }),
      ...(more && depth === 1 && { omitted: 1 }),
    };
  } catch {
    return { message: UNREADABLE, source: null };
  }
}

/** Never throws, even where reading the value does. */
export function debugText(value: unknown): string {
  try {
    return cut(typeof value === "string" ? value : (JSON.stringify(value) ?? String(value)));
  } catch {
    // A cycle, or a bigint.
  }
  try {
    return cut(String(value));
  } catch {
    return UNREADABLE;
  }
}

function cut(text: string): string {
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}...` : text;
}
