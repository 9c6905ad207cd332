/**
 * Compares with the OpenTelemetry SDK and others, each case in a process of its own: what one case makes the engine learn slows the
 * next. Writes `results.json` and `results.svg` when all cases run.
 *
 *     pnpm bench [case …] [--check]     --check: exit 1 when a target is missed by more than the rounds differ
 */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { resolve } from "node:path";
import { crate } from "./cases/crate.ts";
import { guestCases } from "./cases/guest.ts";
import { jsonCodec } from "./cases/json.ts";
import { memory } from "./cases/memory.ts";
import { receiveCases } from "./cases/receive.ts";
import { ring } from "./cases/ring.ts";
import { executions, growth } from "./cases/scale.ts";
import { size } from "./cases/size.ts";
import { storeCases } from "./cases/store.ts";
import { tunnelCases } from "./cases/tunnel.ts";
import { worker } from "./cases/worker.ts";
import { checksum } from "./measure.ts";
import { plot } from "./plot.ts";
import { clearlyMissed, met, type Result } from "./result.ts";

const CASES: Readonly<Record<string, () => Result[] | Promise<Result[]>>> = {
  ...guestCases,
  ...tunnelCases,
  ...receiveCases,
  json: jsonCodec,
  worker,
  ring,
  crate,
  size,
  memory,
  executions,
  growth,
  ...storeCases,
};
/** Given by this program to itself. */
const CHILD = "--child";
const FOLDER = resolve(import.meta.dirname, "..");

const options = process.argv.slice(2).filter((arg) => arg.startsWith("--") && arg !== "--");
const names = process.argv.slice(2).filter((arg) => !arg.startsWith("--"));
const unknown = names.find((name) => !Object.hasOwn(CASES, name));
if (unknown !== undefined) {
  console.error(`there is no case ${unknown}; there are ${Object.keys(CASES).join(", ")}`);
  process.exitCode = 2;
} else if (options.includes(CHILD)) {
  const results = (await CASES[names[0] as string]?.()) ?? [];
  checksum();
  process.send?.(results);
} else {
  const machine = `node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? "unknown processor"}`;
  console.log(machine);
  console.log("medians of interleaved rounds; the ratio counts, absolute times are the machine's\n");
  const results: Result[] = [];
  for (const name of names.length > 0 ? names : Object.keys(CASES)) {
    const all = await run(name);
    for (const result of all) console.log(line(result));
    results.push(...all);
  }
  if (names.length === 0) {
    const rows = results.map((result) => ({ ...result, met: met(result) }));
    writeFileSync(resolve(FOLDER, "results.json"), `${JSON.stringify({ machine, results: rows }, undefined, 2)}\n`);
    writeFileSync(resolve(FOLDER, "results.svg"), plot(results, machine));
    console.log("\nwritten: packages/bench/results.json, packages/bench/results.svg");
  }
  if (options.includes("--check") && results.some(clearlyMissed)) process.exitCode = 1;
}

/** A case in a process of its own. One that fails makes this one fail. */
function run(name: string): Promise<Result[]> {
  const child = spawn(process.execPath, ["--expose-gc", import.meta.filename, name, CHILD], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    serialization: "advanced",
  });
  return new Promise((done) => {
    let results: Result[] = [];
    child.on("message", (message) => {
      results = message as Result[];
    });
    child.on("close", (status) => {
      if (status !== 0) process.exitCode = 1;
      done(results);
    });
  });
}

function line(result: Result): string {
  const { name, unit, ours, peer, ratio, spread, target } = result;
  const of = Number.isNaN(peer) ? ` ${unit}` : "";
  const verdict = target === undefined ? "" : ` target ≤ ${Number(target.toFixed(3))}${of}: ${met(result) ? "met" : "MISSED"}`;
  if (Number.isNaN(peer)) return `${name}\n    ${ours.toFixed(1)} ${unit}${verdict}`;
  const range = spread[0] === spread[1] ? "" : ` (${spread[0].toFixed(3)}–${spread[1].toFixed(3)})`;
  return `${name}\n    ${ours.toFixed(0)} | ${peer.toFixed(0)} ${unit}, ratio ${ratio.toFixed(3)}${range}${verdict}`;
}
