import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { skipExample } from "@spanduct/example-support";

const TARGET = "wasm32-unknown-unknown";
const cwd = new URL("guest", import.meta.url);

const { stdout, error } = spawnSync("rustc", ["--target", TARGET, "--print", "target-libdir"], { encoding: "utf8" });
if (error !== undefined) skipExample("there is no rustc here");
if (!existsSync(stdout.trim())) skipExample(`there is no Rust standard library for ${TARGET} here`);
const fetched = spawnSync("cargo", ["fetch", "--locked", "--quiet"], { cwd, encoding: "utf8" });
if (fetched.status !== 0) skipExample(`cargo cannot fetch the crates: ${fetched.stderr}`);
const options = ["--release", "--locked", "--offline", "--quiet", "--target", TARGET, "--target-dir", "target"];
process.exitCode = spawnSync("cargo", ["build", ...options], { cwd, stdio: "inherit" }).status ?? 1;
