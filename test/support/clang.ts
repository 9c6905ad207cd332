import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "../..");

/** For modules without a C library: what is exported is marked in the source, and loops are not taken for calls of one. */
const FREESTANDING = ["--target=wasm32", "-nostdlib", "-fno-builtin", "-Wl,--no-entry"];

/** Compiles and links a program that needs all that options bring along. @returns why that fails, `undefined` when it works */
function missing(what: string, options: readonly string[]): string | undefined {
  return inScratch((folder) => {
    const program = "#include <stdint.h>\nint main(void) { return 0; }\n";
    const { error, status, stderr } = spawnSync("clang", [...options, "-x", "c", "-", "-o", join(folder, "program")], {
      input: program,
      encoding: "utf8",
    });
    if (error !== undefined) return `clang does not run here: ${error.message}`;
    if (status !== 0) return `clang has no ${what} here: ${/.*error:.*/.exec(stderr)?.[0] ?? stderr}`;
    return undefined;
  });
}

/** Why C cannot be compiled to bare WASM here; `undefined` when it can. */
export function missingClang(): string | undefined {
  return missing("wasm32", FREESTANDING);
}

/** Why C cannot be compiled to WASI here; `undefined` when it can. */
export function missingWasiLibc(): string | undefined {
  return missing("wasi-libc", WASI);
}

const WASI = ["--target=wasm32-wasi"];

/** Compile C to bare WASM. Warnings are errors. @param source relative to the root of the repository */
export function compileC(source: string, options: readonly string[] = ["-O2"]): Uint8Array {
  return compile(source, [...FREESTANDING, ...options]);
}

/** Compile C to a command for WASI, with Debian's C library or one that `clang` knows of. @param source as above */
export function compileWasi(source: string, options: readonly string[] = ["-O2"]): Uint8Array {
  return compile(source, [...WASI, ...options]);
}

function compile(source: string, options: readonly string[]): Uint8Array {
  return inScratch((folder) => {
    const file = join(folder, "guest.wasm");
    const language = options.includes("-xc++") ? "-std=c++11" : "-std=c11";
    const { status, stderr } = spawnSync("clang", [...options, language, "-Wall", "-Wextra", "-Werror", source, "-o", file], {
      cwd: ROOT,
      encoding: "utf8",
    });
    if (status !== 0) throw new Error(`${source} does not compile:\n${stderr}`);
    return readFileSync(file);
  });
}

function inScratch<T>(use: (folder: string) => T): T {
  const scratch = mkdtempSync(join(tmpdir(), "clang-"));
  try {
    return use(scratch);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}
