import { cpus } from "node:os";
import { guest } from "./cases/guest.ts";
import { receive } from "./cases/receive.ts";
import { tunnel } from "./cases/tunnel.ts";
import { checksum } from "./measure.ts";
import { met, type Result } from "./result.ts";

const CASES: Readonly<Record<string, () => Result[]>> = { guest, receive, tunnel };

const names = process.argv.slice(2).filter((arg) => arg !== "--" && !arg.startsWith("--"));
const check = process.argv.includes("--check");
const unknown = names.find((name) => !(name in CASES));
if (unknown !== undefined) {
  console.error(`there is no case ${unknown}; there are ${Object.keys(CASES).join(", ")}`);
  process.exit(2);
}

console.log(`node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? "unknown processor"}`);
console.log("medians of interleaved rounds; the ratio counts, absolute times are the machine's\n");
let missed = 0;
for (const [name, run] of Object.entries(CASES)) {
  if (names.length > 0 && !names.includes(name)) continue;
  for (const result of run()) {
    const ok = met(result);
    if (!ok) missed++;
    console.log(line(result, ok));
  }
}
checksum();
if (missed > 0) console.log(`\n${missed} target${missed === 1 ? "" : "s"} missed`);
process.exitCode = check && missed > 0 ? 1 : 0;

function line(result: Result, ok: boolean): string {
  const { name, unit, ours, peer, ratio, spread, target, targetOf } = result;
  const verdict =
    target === undefined ? "" : ` target ≤ ${target}${targetOf === "ours" ? ` ${unit}` : ""}: ${ok ? "met" : "MISSED"}`;
  if (Number.isNaN(peer)) return `${name}\n    ${ours.toFixed(1)} ${unit}${verdict}`;
  const range = `${spread[0].toFixed(3)}–${spread[1].toFixed(3)}`;
  return `${name}\n    ${ours.toFixed(0)} | ${peer.toFixed(0)} ${unit}, ratio ${ratio.toFixed(3)} (${range})${verdict}`;
}
