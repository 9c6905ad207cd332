import { expect, it } from "vitest";
import { formatDuration, parseDuration } from "./duration.ts";
import { Progress } from "./progress.ts";
import { Table } from "./table.ts";

it("Progress draws a bar on a terminal, ten times a second at most, and takes it away", () => {
  const written: string[] = [];
  let now = 0;
  const progress = new Progress({ isTTY: true, write: (text) => written.push(text) }, "rows", 200, () => now);
  for (; now < 1000; now++) progress.at(now / 5);
  progress.end();
  expect(written).toHaveLength(11);
  expect(written[5]).toBe(`\r\u001b[K${"█".repeat(15)}${"░".repeat(15)} 50 % 100/200 rows`);
  expect(written.at(-1)).toBe("\r\u001b[K");
});

it("Progress says only what is done where the end is not known, and nothing where there is no terminal", () => {
  const written: string[] = [];
  const write = (text: string): number => written.push(text);
  new Progress({ isTTY: true, write }, "executions", undefined).at(7);
  new Progress({ write }, "rows", 10).at(5);
  expect(written).toEqual(["\r\u001b[K7 executions"]);
});

it("Table is as wide as its first rows, and prints nothing that a terminal would obey", () => {
  const lines: string[] = [];
  const table = new Table<readonly [string, number]>(
    [
      { title: "ID", value: ([id]) => id },
      { title: "N", align: "right", value: ([, n]) => String(n) },
    ],
    (line) => lines.push(line),
    2,
  );
  for (const row of [
    ["a\u001b[31m", 5],
    ["b", 1234],
    ["longer than before", 1],
  ] as const) {
    table.add(row);
  }
  table.end();
  expect(lines).toEqual(["ID              N", "a\\u{1b}[31m     5", "b            1234", "longer than before     1"]);
});

it("durations are read and said", () => {
  expect(["500ms", "30s", "5m", "12h", "7d", "1.5h"].map(parseDuration)).toEqual([
    500, 30_000, 300_000, 43_200_000, 604_800_000, 5_400_000,
  ]);
  for (const text of ["", "7", "d", "-1d", "7 d"]) expect(() => parseDuration(text)).toThrow("is no duration");
  expect([0, 999, 61_000, 86_400_000 * 7].map(formatDuration)).toEqual(["0ms", "999ms", "1m", "7d"]);
});
