import { resolve } from "node:path";
import { missingRuntime } from "./runtimes.ts";

const RUNTIMES = resolve(import.meta.dirname, "../../runtimes");

/** A runtime like Node that can start a program from its text. */
export interface OtherRuntime {
  readonly name: string;
  readonly command: string;
  /** The arguments that come before the text, a module. */
  readonly args: readonly string[];
  /** Why it is not to be had on this machine. */
  readonly missing: string | undefined;
}

export const OTHER_RUNTIMES: readonly OtherRuntime[] = [
  {
    name: "Bun",
    command: resolve(RUNTIMES, "bun/node_modules/bun/bin/bun.exe"),
    args: ["-e"],
    missing: missingRuntime("bun", "bun"),
  },
  {
    name: "Deno",
    command: resolve(RUNTIMES, "deno/node_modules/deno/deno"),
    args: ["eval"],
    missing: missingRuntime("deno", "deno"),
  },
];
