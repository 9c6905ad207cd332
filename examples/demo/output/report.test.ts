import { sampleSpans } from "@spanduct/example-support/sample-spans";
import { TracingEventReceiver } from "@spanduct/receiver";
import { afterEach, expect, it, vi } from "vitest";
import { type Output, report } from "./report.ts";

function printed(output: Omit<Output, "write">): string {
  let text = "";
  const relay = { newSpan() {}, record() {}, recordFollowsFrom() {}, enter() {}, exit() {}, tryClose() {}, event() {} };
  const receiver = new TracingEventReceiver({}, {}, [], { relay });
  report(
    { ...output, write: (more) => (text += more) },
    {
      spans: sampleSpans([{ name: "a span with a rather long name", begin: 0, end: 1, attributes: { path: "x".repeat(50) } }]),
      guests: [
        { name: "good", sandbox: "a box", receiver, outcome: { kind: "committed", value: 1, spans: {}, localSpans: [] } },
        {
          name: "bad",
          sandbox: "a box",
          receiver,
          outcome: { kind: "rolled_back", error: new Error("outer\x1b[2J", { cause: new TypeError("inner") }) },
          onPurpose: "bad.js",
        },
      ],
      perfetto: "trace.json",
      otlp: "trace.otlp.jsonl",
    },
  );
  return text;
}

afterEach(() => {
  vi.unstubAllEnvs();
});

it.each([
  ["a pipe", {}, {}, false],
  ["a terminal", { isTTY: true }, {}, true],
  ["a terminal with NO_COLOR", { isTTY: true }, { NO_COLOR: "1" }, false],
  ["a pipe with FORCE_COLOR", {}, { FORCE_COLOR: "1" }, true],
  ["a terminal with FORCE_COLOR=0", { isTTY: true }, { FORCE_COLOR: "0" }, false],
] as const)("report: colours on %s", (_, output, env: { readonly [name: string]: string }, expected) => {
  for (const name of ["FORCE_COLOR", "NO_COLOR"]) vi.stubEnv(name, env[name]);
  expect(printed(output).includes("\x1b[")).toBe(expected);
});

it("report: says how each guest ended and why, with nothing that a terminal obeys", () => {
  const text = printed({});
  expect(text).toContain("  ✓ good         a box                committed\n");
  expect(text).toContain(
    "  ✗ bad          a box                rolled back\n    Error: outer\\u{1b}[2J\n    caused by TypeError: inner\n",
  );
  expect(text).toContain("On purpose: the bug is in bad.js");
});

it("report: lines of the tree fit a terminal", () => {
  vi.stubEnv("NO_COLOR", "1");
  const tree = (columns: number): string | undefined =>
    printed({ isTTY: true, columns })
      .split("\n")
      .find((line) => line.includes("rather long"));
  expect(tree(80)).toBe("     1 ns       a span with a rather long name [host] …");
  expect(tree(160)?.length).toBeGreaterThan(100);
});
