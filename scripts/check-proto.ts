/**
 * Holds the wire contract in `proto/`: its style, that it stays compatible with what was released (`proto/released.binpb`), and
 * that the code the tests generate from it is up to date.
 *
 *     node scripts/check-proto.ts            check
 *     node scripts/check-proto.ts generate   write test/oracle/gen anew
 *     node scripts/check-proto.ts release    take the contract as it is now for the released one
 */
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { runTool } from "./tool.ts";

const root = resolve(import.meta.dirname, "..");

/** @returns what buf complains about; empty when it does not */
function buf(...args: readonly string[]): string {
  const { status, stdout, stderr } = runTool(["buf", ...args]);
  return status === 0 ? "" : `buf ${args[0]}: exit code ${status}\n${stdout}${stderr}`;
}

/** What is wrong with the contract in `folder`, as buf says it. */
export function checkContract(folder: string, released: string): string[] {
  return [
    buf("lint", folder),
    buf("format", folder, "--diff", "--exit-code"),
    buf("breaking", folder, "--against", released),
  ].filter((complaint) => complaint !== "");
}

function generate(proto: string, base: string): string {
  return buf("generate", proto, "--template", join(proto, "buf.gen.yaml"), "--output", base, "--clean");
}

function checkGenerated(proto: string): string[] {
  const scratch = mkdtempSync(join(tmpdir(), "proto-"));
  try {
    const complaint = generate(proto, scratch);
    if (complaint !== "") return [complaint];
    const read = (base: string): string =>
      globSync("test/oracle/gen/**/*.{js,ts}", { cwd: base })
        .sort()
        .map((path) => `${path}\n${readFileSync(join(base, path), "utf8")}`)
        .join("\n");
    return read(scratch) === read(root) ? [] : ["test/oracle/gen is not what the contract generates: run `pnpm proto generate`"];
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

if (import.meta.main) {
  const proto = join(root, "proto");
  const released = join(proto, "released.binpb");
  const [command] = process.argv.slice(2);
  let complaints: string[];
  if (command === "generate") complaints = [generate(proto, root)];
  else if (command === "release") complaints = [buf("build", proto, "--exclude-source-info", "-o", released)];
  else complaints = [...checkContract(proto, released), ...checkGenerated(proto)];
  complaints = complaints.filter((complaint) => complaint !== "");
  for (const complaint of complaints) console.error(complaint);
  if (complaints.length > 0) process.exitCode = 1;
  else console.log(`proto: ${command ?? "check"} ok`);
}
