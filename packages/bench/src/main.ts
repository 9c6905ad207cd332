/**
 * Compares with the OpenTelemetry SDK, each case in a process of its own: what one case makes the engine learn slows the next.
 *
 *     pnpm bench [case …] [--check]     --check: exit 1 when a target is missed by more than the rounds differ
 */
import { spawnSync } from "node:child_process";
import { cpus } from "node:os";
import { guest } from "./cases/guest.ts";
import { receive } from "./cases/receive.ts";
import { entered, tunnel } from "./cases/tunnel.ts";
import { checksum } from "./measure.ts";
import { clearlyMissed, met, type Result } from "./result.ts";

const CASES: Readonly<Record<string, () => Result[]>> = { guest, receive, tunnel, entered };
/** Given by this program to itself. */
const CHILD = "--child";

const options = process.argv.slice(2).filter((arg) => arg.startsWith("--") && arg !== "--");
const names = process.argv.slice(2).filter((arg) => !arg.startsWith("--"));
const unknown = names.find((name) => !Object.hasOwn(CASES, name));
if (unknown !== undefined) {
  console.error(`there is no case ${unknown}; there are ${Object.keys(CASES).join(", ")}`);
  process.exitCode = 2;
} else if (options.includes(CHILD)) {
  const results = CASES[names[0] as string]?.() ?? [];
  checksum();
  for (const result of results) console.log(line(result));
  if (options.includes("--check") && results.some(clearlyMissed)) process.exitCode = 1;
} else {
  console.log(`node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? "unknown processor"}`);
  console.log("medians of interleaved rounds; the ratio counts, absolute times are the machine's\n");
  for (const name of names.length > 0 ? names : Object.keys(CASES)) {
    const { status } = spawnSync(process.execPath, [import.meta.filename, name, ...options, CHILD], { stdio: "inherit" });
    if (status !== 0) process.exitCode = 1;
  }
}

function line(result: Result): string {
  const { name, unit, ours, peer, ratio, spread, target, targetOf } = result;
  const verdict =
    target === undefined ? "" : ` target ≤ ${target}${targetOf === "ours" ? ` ${unit}` : ""}: ${met(result) ? "met" : "MISSED"}`;
  if (Number.isNaN(peer)) return `${name}\n    ${ours.toFixed(1)} ${unit}${verdict}`;
  const range = `${spread[0].toFixed(3)}–${spread[1].toFixed(3)}`;
  return `${name}\n    ${ours.toFixed(0)} | ${peer.toFixed(0)} ${unit}, ratio ${ratio.toFixed(3)} (${range})${verdict}`;
}
