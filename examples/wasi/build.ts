import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { skipExample } from "@spanduct/example-support";

const clang = (input: string, ...options: string[]) =>
  spawnSync("clang", ["--target=wasm32-wasi", "-O2", ...options], { cwd: import.meta.dirname, input, encoding: "utf8" });

mkdirSync(new URL("dist", import.meta.url), { recursive: true });
const probe = clang("int main(void) { return 0; }", "-x", "c", "-", "-o", "dist/probe.wasm");
if (probe.status !== 0) skipExample("there is no clang with a C library for WASI here");

const { status, stderr } = clang("", "-Inode_modules/@spanduct/guest-c", "greet.c", "-o", "dist/greet.wasm");
process.stderr.write(stderr);
process.exitCode = status ?? 1;
