import { fileURLToPath } from "node:url";
import { DEFAULT_LIMITS, type TracedValues, type ValueKind } from "@spanduct/protocol";
import type { SinkCall } from "../../../../test/support/sink-calls.ts";

/** What the tests use of the global `WebAssembly`, which only TypeScript's DOM library describes. */
interface WebAssemblyApi {
  compile(binary: Uint8Array): Promise<object>;
  readonly Instance: new (module: object, imports: object) => { readonly exports: Record<string, unknown> };
  readonly Module: { imports(module: object): { readonly module: string; readonly name: string }[] };
  readonly RuntimeError: new () => Error;
}
export const { compile, Instance, Module, RuntimeError }: WebAssemblyApi = (
  globalThis as unknown as { WebAssembly: WebAssemblyApi }
).WebAssembly;

/** The guest of these tests, from the root of the repository. */
export const SOURCE = "packages/guests/c/test/guest.c";

/** `packages/guests/c`. */
export const FOLDER = fileURLToPath(new URL("..", import.meta.url));

/** More than any text that the tests send. */
export const LIMITS = { ...DEFAULT_LIMITS, maxStringBytes: 1 << 20 };

export type Guest = Record<string, (...parameters: (number | bigint | undefined)[]) => number | bigint | undefined>;

export interface Host {
  readonly guest: Guest;
  readonly memory: { readonly buffer: ArrayBuffer };
  /** What the guest sent so far. */
  readonly batches: Uint8Array[];
}

export interface HostOptions {
  /** @param guest to call it while it sends */
  readonly answer?: (batch: number, guest: Guest) => number;
  readonly now?: () => bigint;
  readonly traceContext?: string;
}

/** A new instance of a guest. */
export function start(module: object, options: HostOptions = {}): Host {
  const batches: Uint8Array[] = [];
  const instance = new Instance(module, {
    spanduct: {
      send(pointer: number, length: number): number {
        const { buffer } = instance.exports["memory"] as { readonly buffer: ArrayBuffer };
        batches.push(new Uint8Array(buffer).slice(pointer, pointer + length));
        return options.answer?.(batches.length - 1, instance.exports as Guest) ?? 0;
      },
      now: options.now ?? (() => 0n),
      trace_context(pointer: number, capacity: number): number {
        const text = Buffer.from(options.traceContext ?? "");
        const { buffer } = instance.exports["memory"] as { readonly buffer: ArrayBuffer };
        new Uint8Array(buffer).set(text.subarray(0, capacity), pointer);
        return text.length;
      },
    },
  });
  const flush = instance.exports["spanduct_flush"] ?? instance.exports["flush"];
  return { guest: { ...instance.exports, flush } as Guest, memory: instance.exports["memory"] as Host["memory"], batches };
}

/** For messages that can be read. */
export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** The values of an event, by index. */
export function valuesOf(call: SinkCall | undefined): (readonly [kind: ValueKind, raw: unknown])[] {
  if (call?.[0] !== "newEvent") throw new Error(`not an event: ${call?.[0]}`);
  const { kinds, raws, size } = call[3] as TracedValues;
  return Array.from({ length: size }, (_, i) => [kinds[i] as ValueKind, raws[i]] as const);
}

/** Call exports without parameters, one after the other. */
export function call(...names: readonly string[]): (guest: Guest) => void {
  return (guest) => {
    for (const name of names) guest[name]?.();
  };
}
