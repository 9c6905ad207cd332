import {
  type CallSiteData,
  canonicalInteger,
  type Id,
  type Level,
  type TracedError,
  TracedValues,
  ValueKind,
} from "@spanduct/protocol";

// What the binary forms have in common, for readers that are naive: integers are bigints, and what is wrong throws whatever comes to hand.

export const CLOCKS = ["none", "wall", "frozen", "logical", "none"] as const;

/** A link of a chain of errors. */
export interface NaiveCause {
  readonly message: string;
  readonly type: string | undefined;
  readonly stack: string | undefined;
}

export function chain(causes: readonly NaiveCause[], omitted: number): TracedError {
  let error: TracedError | null = null;
  for (const { message, type, stack } of causes.toReversed()) {
    const isLast: boolean = error === null && omitted > 0;
    error = {
      message,
      source: error,
      ...(type !== undefined && { type }),
      ...(stack !== undefined && { stack }),
      ...(isLast && { omitted }),
    };
  }
  return error as TracedError;
}

/** A call site by the numbers of its enums. */
export function site(
  kind: bigint,
  level: bigint,
  texts: {
    readonly name: string;
    readonly target: string;
    readonly modulePath: string | undefined;
    readonly file: string | undefined;
  },
  line: bigint | undefined,
  fields: readonly string[],
): CallSiteData {
  const { name, target, modulePath, file } = texts;
  const levels: readonly (Level | undefined)[] = [undefined, "error", "warn", "info", "debug", "trace"];
  return {
    kind: ([undefined, "span", "event"] as const)[Number(kind)] as CallSiteData["kind"],
    name,
    target,
    level: levels[Number(level)] as Level,
    ...(modulePath !== undefined && { module_path: modulePath }),
    ...(file !== undefined && { file }),
    ...(line !== undefined && { line: Number(line) }),
    fields,
  };
}

/** A value by the number of its kind, 1 to 7. */
export function addValue(values: TracedValues, key: number | string, kind: number, raw: unknown): void {
  const isInteger = kind === ValueKind.int || kind === ValueKind.uInt;
  values.set(key, kind as ValueKind, (isInteger ? canonicalInteger(raw as bigint) : raw) as never);
}

export function newValues(): TracedValues {
  return new TracedValues();
}

export function idOf(id: bigint): Id {
  return canonicalInteger(id);
}

export function optionalId(id: bigint | undefined): Id | undefined {
  return id === undefined ? undefined : idOf(id);
}

/** UTF-8, or an exception. */
export function text(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
}

/** An integer of so many bytes, little-endian. */
export function wide(bytes: Uint8Array, isSigned: boolean): bigint {
  let value = 0n;
  for (const byte of bytes.toReversed()) value = (value << 8n) | BigInt(byte);
  return isSigned ? BigInt.asIntN(128, value) : value;
}
