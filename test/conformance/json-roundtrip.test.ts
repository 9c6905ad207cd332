import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { DecodeError } from "@spanduct/protocol";
import { parseEvent, printEvent } from "@spanduct/protocol/json";
import { describe, expect, it } from "vitest";
import { roundtrip } from "./json-roundtrip.ts";
import { DIFFERENCES, quirks } from "./vectors.ts";

const COMMAND = join(import.meta.dirname, "json-roundtrip.ts");

describe("JSON reads and writes what the crate does:", () => {
  it.each(quirks().filter(({ out }) => out !== undefined))("$in", ({ in: text, out = "" }) => {
    expect(roundtrip(Buffer.from(text))).toBe(out);
    expect(roundtrip(Buffer.from(out))).toBe(out);
    expect(printEvent(parseEvent(text))).toBe(out);
  });
});

describe("JSON refuses what the crate does:", () => {
  it.each(quirks().filter(({ out }) => out === undefined))("$in", ({ in: text, error, ours }) => {
    expect(() => parseEvent(text)).toThrow(DecodeError);
    const refused = JSON.parse(roundtrip(Buffer.from(text))) as { error: string };
    expect(refused.error).toContain(ours ? error : "[malformed]");
  });
});

describe("json-roundtrip command", () => {
  it("prints a line for a line, whatever is in it", () => {
    const lines = ['{"span_entered": {"id": 1, "x": []}}', "", "nonsense", '{"span_exited":{"id":2}}'];
    const input = Buffer.concat([Buffer.from(lines.join("\n")), Buffer.from("\n\xff\n{}", "latin1")]);
    const { stdout, stderr, status } = spawnSync(process.execPath, [COMMAND], { input });
    expect(stderr.toString()).toBe("");
    expect(status).toBe(0);
    const output = stdout.toString().trimEnd().split("\n");
    expect([output[0], output[3]]).toEqual(['{"span_entered":{"id":1}}', '{"span_exited":{"id":2}}']);
    for (const at of [1, 2, 4, 5])
      expect(JSON.parse(output[at] ?? "")).toEqual({ error: expect.stringContaining("[malformed]") });
    expect(output).toHaveLength(6);
  });
});

describe("differences.json", () => {
  it("gives every difference a name of its own and a reason", () => {
    expect(new Set(DIFFERENCES.map(({ name }) => name)).size).toBe(DIFFERENCES.length);
    for (const { reason } of DIFFERENCES) expect(reason).toMatch(/\.$/);
  });
});
