import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { checkContract } from "./check-proto.ts";

const PROTO = resolve(import.meta.dirname, "../proto");
const RELEASED = join(PROTO, "released.binpb");

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** What is wrong with the contract once `from` in it reads `to`. */
function complaintsAfter(from: string, to: string): string {
  const folder = mkdtempSync(join(tmpdir(), "contract-"));
  folders.push(folder);
  cpSync(PROTO, folder, { recursive: true });
  const file = join(folder, "spanduct/v1/tunnel.proto");
  const text = readFileSync(file, "utf8");
  expect(text).toContain(from);
  writeFileSync(file, text.replace(from, to));
  return checkContract(folder, RELEASED).join("\n");
}

// The first call may have to install buf.
describe("checkContract", { timeout: 120_000 }, () => {
  it("accepts the contract, and a field that is added to it", () => {
    expect(complaintsAfter("syntax", "syntax")).toBe("");
    expect(complaintsAfter("uint32 omitted = 2;", "uint32 omitted = 2;\n  // More.\n  uint32 more = 3;")).toBe("");
  });

  it.each([
    ["a name in another style", "uint64 sequence = 4", "uint64 seqNumber = 4", "buf lint"],
    ["a field without comment", "  // Required.\n  CallSiteKind kind = 2;", "  CallSiteKind kind = 2;", "buf lint"],
    ["indentation", "  uint64 sequence = 4;", " uint64 sequence = 4;", "buf format"],
    ["a field that is gone", "repeated string fields = 9;", "", "buf breaking"],
    ["another number", "uint64 sequence = 4;", "uint64 sequence = 14;", "buf breaking"],
    ["another type", "sint64 int = 4;", "int64 int = 4;", "buf breaking"],
    ["another presence", "optional uint64 parent_id = 2;", "uint64 parent_id = 2;", "buf breaking"],
    ["another name", "uint64 dropped_events = 5;", "uint64 lost_events = 5;", "buf breaking"],
    ["a level that is gone", "  // Everything.\n  LEVEL_TRACE = 5;\n", "", "buf breaking"],
  ])("refuses %s", (_, from, to, command) => {
    expect(complaintsAfter(from, to)).toContain(`${command}: exit code`);
  });
});
