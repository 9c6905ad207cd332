import { describe, expect, it } from "vitest";
import { measure } from "./check-size.ts";

describe("measure", () => {
  const folder = import.meta.dirname;

  it("counts what is used of an entry", async () => {
    const size = await measure({ name: "x", source: "export const a = 1 + 1;", maxGzipBytes: 100 }, folder);
    expect(size).toMatchObject({ name: "x", maxGzipBytes: 100, problems: [] });
    expect(size.minifiedBytes).toBeLessThan(30);
  });

  it("counts only what comes on top of what is there anyway", async () => {
    const there = 'export const there = "something that does not compress: 0123456789 abcdefghijklmnopqrstuvwxyz";';
    const budget = { name: "x", source: `${there} export const a = 1;`, maxGzipBytes: 30 };
    expect(await measure({ ...budget, beyond: there }, folder)).toMatchObject({ problems: [] });
    expect((await measure(budget, folder)).problems).toHaveLength(1);
  });

  it.each([
    ["a size over budget", 'export const a = "0123456789";', 20, /^\d+ bytes over budget$/],
    ["an import that is left", 'export { readFileSync } from "node:fs";', 1000, /^imports node:fs$/],
    ["text that is not ASCII", 'export const a = "…";', 1000, /^is not ASCII$/],
  ])("reports %s", async (_, source, maxGzipBytes, problem) => {
    const { problems } = await measure({ name: "x", source, maxGzipBytes }, folder);
    expect(problems).toEqual([expect.stringMatching(problem)]);
  });
});
