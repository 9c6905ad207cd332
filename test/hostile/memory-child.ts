/** Runs the scenario of the name given and prints, as JSON, what the host kept in the end, in MiB, and what it did. */
import { SCENARIOS } from "./scenarios.ts";

const scenario = SCENARIOS.find(({ name }) => name === process.argv[2]);
if (scenario === undefined) throw new Error("no such scenario");

/** Bytes of live objects. */
function live(): number {
  // A collection that was under way keeps what was made meanwhile; the next one does not.
  for (let i = 0; i < 3; i++) globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

const before = live();
let kept = 0;
const done = scenario.run(() => {
  kept = live() - before;
});
// What was on the stack a moment ago, and what a compiler that runs beside us looks at, is let go of some turns later.
let left = live() - before;
for (let i = 0; i < 100 && left > 2 ** 20; i++) {
  await new Promise(setImmediate);
  left = Math.min(left, live() - before);
}
const mebibytes = (bytes: number): number => Math.round(bytes / 2 ** 20);
// In KiB.
const peak = process.resourceUsage().maxRSS * 1024;
process.stdout.write(JSON.stringify({ kept: mebibytes(kept), left: mebibytes(left), peak: mebibytes(peak), ...done }));
