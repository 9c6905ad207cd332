import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Done, SCENARIOS } from "./scenarios.ts";

const CHILD = join(import.meta.dirname, "memory-child.ts");
/** MiB of the whole process at its worst moment, with all that the garbage collector has not come to: 50 are its own. */
const MAX_PEAK = 800;
/** MiB of live objects that are left when all is over. */
const MAX_LEFT = 8;

interface Report extends Done {
  readonly kept: number;
  readonly left: number;
  readonly peak: number;
}

describe("memory of a host process stays bounded", () => {
  it.each(SCENARIOS.map((scenario) => [scenario.name, scenario] as const))(
    "%s",
    (name, { maxKept, leaves }) => {
      const { stdout, stderr, status } = spawnSync(process.execPath, ["--expose-gc", CHILD, name], { encoding: "utf8" });
      expect(stderr).toBe("");
      expect(status).toBe(0);
      const { kept, left, peak, stats } = JSON.parse(stdout) as Report;
      expect(stats).toMatchObject(leaves);
      expect(kept).toBeLessThan(maxKept);
      expect(left).toBeLessThan(MAX_LEFT);
      expect(peak).toBeLessThan(MAX_PEAK);
    },
    120_000,
  );
});
