/**
 * Fuzz for a given time or number of events, all targets in turn:
 *
 *     node --expose-gc test/fuzz/main.ts [--minutes N | --events N] [--seed S] [--case N] [target …]
 *
 * `--case` runs one case of a seed again and makes it smaller. What is found is made smaller and kept in the corpus.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { parseArgs } from "node:util";
import { printCase } from "./case-text.ts";
import { Campaign, type Finding, keep, makeCase } from "./fuzz.ts";
import { failureOf, minimize } from "./minimize.ts";
import { allTargets } from "./targets.ts";

/** Events of one target before it is the next one's turn. */
const TURN_EVENTS = 2000;
const PROGRESS_MS = process.stdout.isTTY ? 500 : 30_000;
/** Bytes by which the heap may grow in a run; what is kept of findings apart. */
const MAX_GROWTH = 32 * 1024 * 1024;

const { values, positionals } = parseArgs({
  options: {
    minutes: { type: "string" },
    events: { type: "string" },
    seed: { type: "string" },
    case: { type: "string" },
  },
  allowPositionals: true,
});
const all = allTargets();
const unknown = positionals.filter((name) => !all.some((target) => target.name === name));
if (unknown.length > 0) {
  console.error(`no target ${unknown.join(", ")}; there are ${all.map(({ name }) => name).join(", ")}`);
  process.exit(2);
}
const targets = positionals.length === 0 ? all : all.filter(({ name }) => positionals.includes(name));
const seed = values.seed ?? String(Date.now());

if (values.case === undefined) await fuzz();
else rerun(Number(values.case));

async function fuzz(): Promise<void> {
  const maxEvents = values.events === undefined ? Number.POSITIVE_INFINITY : Number(values.events);
  const minutes =
    values.minutes === undefined ? (values.events === undefined ? 1 : Number.POSITIVE_INFINITY) : Number(values.minutes);
  console.log(`seed ${seed}`);
  const begin = performance.now();
  const campaigns = targets.map((target) => new Campaign(target, seed));
  const share = maxEvents / campaigns.length;
  let heap: number | undefined;
  let nextProgress = begin + PROGRESS_MS;
  for (let running = campaigns, round = 0; running.length > 0; round++) {
    for (const campaign of running) {
      const end = Math.min(share, campaign.events + TURN_EVENTS);
      while (campaign.events < end) {
        const finding = campaign.next();
        if (finding !== undefined) report(finding);
      }
    }
    // Promises keep what they have to tell of until then.
    await nextTurn();
    // What is made once is there after a few rounds.
    if (round === 20) heap = usedHeap();
    if (performance.now() >= nextProgress) {
      progress(campaigns, begin);
      nextProgress = performance.now() + PROGRESS_MS;
    }
    running = performance.now() - begin < minutes * 60_000 ? running.filter(({ events }) => events < share) : [];
  }
  if (process.stdout.isTTY) process.stdout.write("\r\x1b[K");
  const growth = heap === undefined ? 0 : usedHeap() - heap;
  table(campaigns);
  const mebibytes = (growth / 2 ** 20).toFixed(1);
  if (heap !== undefined)
    console.log(
      `heap after garbage collection: ${(usedHeap() / 2 ** 20).toFixed(1)} MiB, ${mebibytes} MiB more than at the beginning`,
    );
  const found = campaigns.reduce((sum, { findings }) => sum + findings.length, 0);
  if (growth > MAX_GROWTH && found === 0) console.log("the heap has grown");
  if (found > 0 || growth > MAX_GROWTH) process.exitCode = 1;
}

function usedHeap(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

function report(finding: Finding): void {
  const { target, failure, command } = finding;
  const text = failure instanceof Error ? failure.stack : String(failure);
  console.log(`\n${target.name}: ${text}\nagain: ${command}`);
  console.log(`kept: ${keep(finding)}`);
}

function progress(campaigns: readonly Campaign[], begin: number): void {
  const seconds = (performance.now() - begin) / 1000;
  const [events, cases, found] = sums(campaigns);
  const line = `${seconds.toFixed(0)} s, ${events} events (${Math.round(events / seconds)}/s), ${cases} cases, ${found} found`;
  process.stdout.write(process.stdout.isTTY ? `\r\x1b[K${line}` : `${line}\n`);
}

function sums(campaigns: readonly Campaign[]): [events: number, cases: number, found: number] {
  const total = (of: (campaign: Campaign) => number): number => campaigns.reduce((sum, one) => sum + of(one), 0);
  return [total(({ events }) => events), total(({ cases }) => cases), total(({ findings }) => findings.length)];
}

function table(campaigns: readonly Campaign[]): void {
  const row = (...cells: readonly (string | number)[]): void => {
    console.log(cells.map((cell, at) => (at === 0 ? String(cell).padEnd(14) : String(cell).padStart(12))).join(""));
  };
  row("target", "cases", "events", "events/s", "slowest ms", "found");
  for (const { target, cases, events, milliseconds, slowest, findings } of campaigns) {
    row(target.name, cases, events, Math.round((1000 * events) / milliseconds), slowest.toFixed(0), findings.length);
  }
  const [events, cases, found] = sums(campaigns);
  row("all", cases, events, "", "", found);
}

function rerun(number: number): void {
  for (const target of targets) {
    const items = makeCase(target, seed, number);
    const failure = failureOf(target, items);
    console.log(
      `${target.name}: ${failure === undefined ? "nothing is wrong" : failure instanceof Error ? failure.stack : failure}`,
    );
    if (failure === undefined) continue;
    console.log(`the smallest input that fails in the same way:\n${printCase(minimize(target, items))}`);
    process.exitCode = 1;
  }
}
