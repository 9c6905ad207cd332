import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { StormReport } from "./storm-child.ts";
import type { StormData } from "./storm-guest.ts";

const CHILD = join(import.meta.dirname, "storm-child.ts");
/** Milliseconds of the host's thread that a timer may be late. */
const MAX_LATE = 50;
/** MiB by which one guest may make the process grow before it is cut off. */
const MAX_GROWTH = 512;
const PATIENCE = 120_000;

function host(...guests: readonly StormData[]): StormReport {
  const { stdout, stderr, status } = spawnSync(process.execPath, [CHILD, JSON.stringify(guests)], { encoding: "utf8" });
  expect(stderr).toBe("");
  expect(status).toBe(0);
  return JSON.parse(stdout) as StormReport;
}

/** Of three runs the one in the middle, because machines that are shared stop for a moment now and then. */
function hostThrice(...guests: readonly StormData[]): StormReport {
  const reports = [host(...guests), host(...guests), host(...guests)].sort((a, b) => a.late - b.late);
  return reports[1] as StormReport;
}

describe("while a guest storms at full speed, the host's event loop answers a timer within 50 ms:", () => {
  it.each([
    ["ignores windows", 100],
    ["ignores windows", 16_384],
    ["ignores windows", 4_000_000],
  ] as const)(
    "one that %s, with batches of %i bytes, is cut off",
    (storm, size) => {
      const { late, growth, outcomes } = hostThrice({ storm, size });
      expect(late).toBeLessThan(MAX_LATE);
      expect(growth).toBeLessThan(MAX_GROWTH);
      expect(outcomes[0]).toContain("[transport_failed] the guest does not wait for answers");
    },
    PATIENCE,
  );

  it.each([
    ["keeps to windows", 100],
    ["keeps to windows", 16_384],
    ["keeps to windows", 4_000_000],
    ["fills its ring", 1000],
    ["fills its ring", 500_000],
    ["fills its pipe", 100],
    ["fills its pipe", 4_000_000],
  ] as const)(
    "one that %s, with batches of %i bytes, goes on",
    (storm, size) => {
      const { late, timers, growth, events, outcomes } = hostThrice({ storm, size });
      expect(late).toBeLessThan(MAX_LATE);
      expect(timers).toBeGreaterThan(10);
      expect(growth).toBeLessThan(MAX_GROWTH);
      expect(events[0]).toBeGreaterThan(10_000);
      // Only the end of the measurement ended it.
      const ended = storm === "fills its pipe" ? "the process was ended by SIGTERM" : "the worker ended with exit code 1";
      expect(outcomes).toEqual([`Error: ${ended}`]);
    },
    PATIENCE,
  );
});

describe("guests that storm at the same time", () => {
  it(
    "get the same share of the host each, and leave it its timers",
    () => {
      const { late, batches } = hostThrice(
        ...Array.from({ length: 3 }, (): StormData => ({ storm: "keeps to windows", size: 16_384 })),
      );
      expect(late).toBeLessThan(MAX_LATE);
      expect(Math.max(...batches)).toBeLessThan(1.5 * Math.min(...batches));
    },
    PATIENCE,
  );

  it(
    "do not keep one from its answers that is polite, whatever the size of their batches",
    () => {
      const polite: StormData = { storm: "waits for answers", size: 100 };
      const greedy: StormData = { storm: "keeps to windows", size: 4_000_000 };
      const [alone] = hostThrice(polite).batches as [number];
      const [beside, ...others] = hostThrice(polite, greedy, greedy).batches as [number, number, number];
      // Batches are taken in turn, and it sends none as long as it waits.
      expect(beside).toBeGreaterThanOrEqual(Math.min(alone / 2, Math.max(...others) / 4));
    },
    PATIENCE,
  );
});
