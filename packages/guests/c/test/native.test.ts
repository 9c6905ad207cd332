import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { compileC, missingClang } from "../../../../test/support/clang.ts";
import { compile, FOLDER, hex, SOURCE, start } from "./host.ts";

const SANITIZED = ["-std=c11", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
const EMPTY = "int main(void) { return 0; }";

const scratch = mkdtempSync(join(tmpdir(), "guest-c-native-"));

afterAll(() => rmSync(scratch, { recursive: true }));

const compiler = ["gcc", "clang"].find(
  (compiler) => spawnSync(compiler, [...SANITIZED, "-x", "c", "-", "-o", join(scratch, "empty")], { input: EMPTY }).status === 0,
);
const missing = compiler === undefined ? "no compiler with AddressSanitizer here" : missingClang();
const reason = missing === undefined ? "" : ` (${missing})`;

it.skipIf(missing !== undefined).each([
  ["batches", []],
  ["a ring", ["-DSPANDUCT_RING_BYTES=256"]],
])(
  `native, with %s: the sanitizers find nothing, and the bytes are those of the module${reason}`,
  { timeout: 60_000 },
  async (_, options) => {
    const program = join(scratch, "native");
    const warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];
    const built = spawnSync(compiler as string, [...SANITIZED, ...warnings, ...options, "test/native.c", "-o", program], {
      cwd: FOLDER,
      encoding: "utf8",
    });
    expect(built.stderr).toBe("");
    const { status, stdout, stderr } = spawnSync(program, { encoding: "utf8" });
    expect(stderr).toBe("");
    expect(status).toBe(0);
    const { guest, batches } = start(await compile(compileC(SOURCE)));
    const names = ["spans", "values", "errors", "kinds", "filteredSpan"];
    const expected = names.flatMap((name) => {
      guest[name]?.();
      guest["flush"]?.();
      return [name, hex(batches.at(-1) as Uint8Array)];
    });
    expect(stdout.trim().split("\n")).toEqual(expected);
  },
);
