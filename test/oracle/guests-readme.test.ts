import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { controlWord, type TracedError } from "@spanduct/protocol";
import { TracingEventReceiver } from "@spanduct/receiver";
import { expect, it } from "vitest";
import { errorOf, TraceRecorder } from "../support/trace-recorder.ts";
import { decodeWithBoth } from "./decode-with-both.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const README = readFileSync(join(ROOT, "packages/guests/README.md"), "utf8");
const WORD = controlWord(3, true);

function blocks(language: string): string[] {
  return [...README.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map(([, text]) => text as string);
}

/** Bytes in front of the comments. */
function bytesOf(block: string): Uint8Array {
  const hex = block.replace(/#.*$/gm, "").replace(/\s/g, "");
  expect(hex).toMatch(/^([0-9a-f]{2})+$/);
  return Buffer.from(hex, "hex");
}

const BATCHES = blocks("protobuf").map(bytesOf);

it("packages/guests/README.md: its bytes are those that the sender makes of its example", () => {
  const out = join(ROOT, "test/out");
  mkdirSync(out, { recursive: true });
  const folder = mkdtempSync(join(out, "guests-readme-"));
  try {
    writeFileSync(join(folder, "example.ts"), blocks("ts")[0] as string);
    const host = `export const send = (batch) => (console.log(Buffer.from(batch).toString("hex")), 0x${WORD.toString(16)});\n`;
    writeFileSync(join(folder, "host.ts"), host);
    const printed = execFileSync(process.execPath, ["example.ts"], { cwd: folder, encoding: "utf8" });
    expect(printed.trim().split("\n")).toEqual(BATCHES.map((batch) => Buffer.from(batch).toString("hex")));
    expect(README).toContain(`\`0x${WORD.toString(16)}\``);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it("packages/guests/README.md: its bytes are understood, and how many they are is right", () => {
  expect(BATCHES).toHaveLength(2);
  for (const batch of BATCHES) {
    decodeWithBoth(batch);
    expect(README).toContain(`batch, ${batch.length} bytes`);
  }
  // A tag, the length, and in the comment the length again.
  const lengths = blocks("protobuf").flatMap((block) => [
    ...block.matchAll(/^ *([0-9a-f]{2}) ([0-9a-f]{2}) +# .*: (\d+) bytes/gm),
  ]);
  expect(lengths.length).toBeGreaterThan(20);
  for (const [line, , length, said] of lengths) expect(Number.parseInt(length as string, 16), line).toBe(Number(said));
});

it("packages/guests/README.md: the host makes of its bytes what it says", () => {
  const trace = new TraceRecorder();
  const receiver = new TracingEventReceiver({}, {}, [], { relay: trace });
  for (const batch of BATCHES) receiver.receiveBatch(batch);
  receiver.persist();
  const say = ({ type, message, source }: TracedError): string => `${type}: ${message}${source ? ` (${say(source)})` : ""}`;
  const lines = trace.lines().map((line) => line.replace("[object Object]", say(errorOf(trace.events[0]))));
  expect(`${lines.join("\n")}\n`).toBe(blocks("text")[0]);
  expect(receiver.stats).toMatchObject({ refused: {}, lostBatches: 0, liveSpans: 0 });
});

it("packages/guests/README.md: the conformance command takes batches as it says", () => {
  const [shell] = blocks("sh");
  expect(shell).toContain("pnpm@12.21.0 --silent conformance --codec protobuf");
  const line = /echo '(.*)'/.exec(shell as string)?.[1] as string;
  const input = BATCHES.map((batch) => line.replace("0801…", Buffer.from(batch).toString("hex"))).join("\n");
  const harness = join(ROOT, "test/conformance/harness.ts");
  const { stdout, stderr } = spawnSync(process.execPath, [harness, "--codec", "protobuf"], { input, encoding: "utf8" });
  expect(stderr).toBe("");
  const output = stdout
    .trim()
    .split("\n")
    .map((text) => JSON.parse(text));
  const answers = [1, 2].map((line) => ({ in: line, during: "control", batch: controlWord(5, false) }));
  expect(output.filter((entry) => "batch" in entry)).toEqual(answers);
  const calls = output.filter(({ in: from, call }) => from === 1 && call !== undefined).map(({ call }) => call);
  expect(calls).toEqual(["register_callsite", "new_span", "enter", "register_callsite", "event", "record", "exit", "try_close"]);
  expect(output.filter((entry) => "error" in entry)).toEqual([]);
});
