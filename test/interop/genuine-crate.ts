import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { buildRust } from "./cargo.ts";

/** The genuine crate's two ends, as commands. */
export interface GenuineCrate {
  /** What its sender makes of a scenario of `rust/src/send.rs`: JSON events, one per line. */
  send(scenario: string): string[];
  /** What its receiver prints for lines of the harness protocol. */
  receive(lines: readonly string[]): string[];
}

const FOLDER = join(import.meta.dirname, "rust");
const COMMANDS = join(FOLDER, "target", "debug");
const MAX_OUTPUT_BYTES = 1 << 28;

/**
 * Fetch and build the crate. What cannot be fetched is a reason to skip; what does not build then is an error.
 *
 * @returns the commands, or why they are not to be had on this machine
 */
export function buildGenuineCrate(): GenuineCrate | { readonly unavailable: string } {
  const unavailable = buildRust(FOLDER);
  if (unavailable !== undefined) return { unavailable };
  return {
    send: (scenario) => run("send", scenario.split(" "), ""),
    receive: (lines) => run("receive", [], lines.map((line) => `${line}\n`).join("")),
  };
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
