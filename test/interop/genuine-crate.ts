import { spawnSync } from "node:child_process";
import { join } from "node:path";

/** The genuine crate's two ends, as commands. */
export interface GenuineCrate {
  /** What its sender makes of a scenario of `rust/src/send.rs`: JSON events, one per line. */
  send(scenario: string): string[];
  /** What its receiver prints for lines of the harness protocol. */
  receive(lines: readonly string[]): string[];
}

const FOLDER = join(import.meta.dirname, "rust");
const COMMANDS = join(FOLDER, "target", "debug");
const FETCH_TIMEOUT_MS = 120_000;
const MAX_OUTPUT_BYTES = 1 << 28;

/**
 * Fetch and build the crate. What cannot be fetched is a reason to skip; what does not build then is an error.
 *
 * @returns the commands, or why they are not to be had on this machine
 */
export function buildGenuineCrate(): GenuineCrate | { readonly unavailable: string } {
  const fetched = cargo("fetch", "--locked");
  if (fetched.error !== undefined) return { unavailable: `cargo does not run here: ${fetched.error.message}` };
  if (fetched.status !== 0) return { unavailable: `cargo fetch --locked failed: ${reason(fetched.stderr)}` };
  const built = cargo("build", "--locked", "--offline", "--quiet");
  if (built.status !== 0) throw new Error(`cargo build failed:\n${built.stderr}`);
  return {
    send: (scenario) => run("send", scenario.split(" "), ""),
    receive: (lines) => run("receive", [], lines.map((line) => `${line}\n`).join("")),
  };
}

function cargo(...parameters: string[]): { status: number | null; stderr: string; error?: Error } {
  // Its own folder for what is built, whatever the user has set.
  const env = { ...process.env, CARGO_TARGET_DIR: join(FOLDER, "target") };
  return spawnSync("cargo", parameters, { cwd: FOLDER, encoding: "utf8", env, timeout: FETCH_TIMEOUT_MS });
}

/** What went wrong, and at the root of it. */
function reason(stderr: string): string {
  const error = /^error:? .*$/m.exec(stderr)?.[0] ?? "no reason given";
  const [, cause] = /\n *Caused by:\n(?:.*\n)*? *(\S.*)\n*$/.exec(stderr) ?? [];
  return cause === undefined ? error : `${error}; ${cause}`;
}

function run(command: string, parameters: readonly string[], input: string): string[] {
  const { status, stdout, stderr, error } = spawnSync(join(COMMANDS, command), parameters, {
    input,
    encoding: "utf8",
    maxBuffer: MAX_OUTPUT_BYTES,
  });
  if (status !== 0) throw new Error(`${command} ${parameters.join(" ")}: exit code ${status}\n${stderr}`, { cause: error });
  return stdout.split("\n").slice(0, -1);
}
