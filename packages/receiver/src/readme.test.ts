import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { DEFAULT_LIMITS } from "@spanduct/protocol";
import { describe, expect, it } from "vitest";

const PACKAGE = resolve(import.meta.dirname, "..");
const README = readFileSync(resolve(PACKAGE, "README.md"), "utf8");

/** The one block of code in `language`. */
function block(language: string): string {
  const blocks = [...README.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].filter((match) => match[1] === language);
  expect(blocks).toHaveLength(1);
  return blocks[0]?.[2] ?? "";
}

function inUnits(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "none";
  if (value % 1024 ** 2 === 0) return `${value / 1024 ** 2} MiB`;
  return value % 1024 === 0 && value >= 65_536 ? `${value / 1024} KiB` : String(value);
}

describe("README", () => {
  it("shows an example that prints what it says", () => {
    const printed = execFileSync(process.execPath, ["--input-type=module-typescript", "-"], {
      cwd: PACKAGE,
      input: block("ts"),
      encoding: "utf8",
      stdio: ["pipe", "pipe", "pipe"],
    });
    expect(printed).toBe(block("text"));
  });

  it("lists every limit with its default", () => {
    const rows = [...README.matchAll(/^\| `(max\w+)`\s*\| ([^|]*?)\s*\|/gm)].map(([, name, value]) => [name, value] as const);
    expect(Object.fromEntries(rows)).toEqual(
      Object.fromEntries(Object.entries(DEFAULT_LIMITS).map(([name, value]) => [name, inUnits(value as number)])),
    );
  });
});
