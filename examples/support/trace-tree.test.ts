import { stripVTControlCharacters } from "node:util";
import fc from "fast-check";
import { expect, it } from "vitest";
import { anySpans, type SampleSpan, sampleSpans } from "./sample-spans.ts";
import { type TreeOptions, traceTree } from "./trace-tree.ts";

const PLAIN: TreeOptions = { color: false, timelineWidth: 10, maxWidth: Number.POSITIVE_INFINITY, maxAlike: 3 };
const MS = 1e6;

function tree(samples: readonly SampleSpan[], options: Partial<TreeOptions> = {}): string[] {
  return traceTree(sampleSpans(samples), { ...PLAIN, ...options }).split("\n");
}

it("traceTree: spans and events by time, with timeline, duration, level and attributes", () => {
  const lines = tree([
    {
      name: "root",
      begin: 0,
      end: 100 * MS,
      children: [
        {
          name: "second",
          begin: 50 * MS,
          end: 99.5 * MS,
          scope: "guest",
          attributes: { level: "INFO", path: "a.md", busy_ns: 1, "code.line.number": 7 },
          events: [{ name: "said", time: 75 * MS, attributes: { level: "WARN", target: "console", n: 3 } }],
          children: [{ name: "in second", begin: 60 * MS, end: 60 * MS + 1500, scope: "guest", attributes: { level: "DEBUG" } }],
        },
        { name: "first", begin: 1 * MS, end: 2 * MS },
      ],
    },
  ]);
  expect(lines).toEqual([
    "▏━━━━━━━━━━▕   100 ms       root [host]",
    "▏━         ▕  1.00 ms       ├─ first",
    "▏     ━━━━━▕  49.5 ms INFO  └─ second [guest] path=a.md",
    "▏      ━   ▕  1.50 µs DEBUG    ├─ in second",
    "▏       ◆  ▕ +75.0 ms WARN     └─ ● said [console] n=3",
  ]);
});

it("traceTree: a span that failed, its error with its causes once, and what was rolled back", () => {
  const stack =
    "Error: outer\n    at inner (a.js:1)\n    at middle (a.js:2)\n    at run (a.js:3)\n    at top (a.js:4)\nCaused by: TypeError: deep";
  const exception = (time: number, target = "guest"): { name: string; time: number; attributes: object } => ({
    name: "exception",
    time,
    attributes: {
      level: "ERROR",
      target,
      "exception.type": "Error",
      "exception.message": "outer",
      "exception.stacktrace": stack,
    },
  });
  const lines = tree(
    [
      {
        name: "job",
        begin: 0,
        end: 9,
        scope: "guest",
        error: "outer",
        attributes: { "spanduct.rolled_back": true, "error.type": "Error" },
        events: [exception(8, "@spanduct/sandbox")] as never,
        children: [{ name: "step", begin: 1, end: 7, scope: "guest", error: "outer", events: [exception(6)] as never }],
      },
    ],
    { timelineWidth: 0 },
  );
  expect(lines).toEqual([
    "     9 ns       ✗ job [guest] ↩ rolled back",
    "     6 ns       ├─ ✗ step",
    "    +6 ns ERROR │  └─ ✗ Error: outer",
    "                │       at inner (a.js:1)",
    "                │       at middle (a.js:2)",
    "                │       at run (a.js:3)",
    "                │       Caused by: TypeError: deep",
    "    +8 ns ERROR └─ ✗ Error: outer [@spanduct/sandbox]",
  ]);
});

it("traceTree: many neighbours that are alike share a line, those with something to see do not", () => {
  const item = (i: number, error?: string): SampleSpan => ({ name: "item", begin: i, end: i + 1, ...(error && { error }) });
  const names = (children: SampleSpan[]): string[] =>
    tree([{ name: "root", begin: 0, end: 99, children }], { timelineWidth: 0 }).map((line) => line.slice(16));
  expect(names([0, 1, 2].map((i) => item(i)))).toEqual(["root [host]", "├─ item", "├─ item", "└─ item"]);
  expect(names([0, 1, 2, 3, 4].map((i) => item(i, i === 4 ? "bad" : undefined)))).toEqual([
    "root [host]",
    "├─ item",
    "├─ item",
    "├─ … 2 more item",
    "└─ ✗ item",
  ]);
});

it("traceTree: attributes that do not fit are left out", () => {
  const [line] = tree([{ name: "root", begin: 0, end: 1, attributes: { first: "1234567890", second: "1234567890" } }], {
    timelineWidth: 0,
    maxWidth: 50,
  });
  expect(line).toBe("     1 ns       root [host] first=1234567890 …");
});

it("traceTree: a span whose parent is not there is a root; no spans are no lines", () => {
  const spans = sampleSpans([{ name: "gone", begin: 0, end: 2, children: [{ name: "left", begin: 0, end: 1 }] }]);
  expect(traceTree(spans.slice(0, 1), { ...PLAIN, timelineWidth: 0 })).toBe("     1 ns       left [host]");
  expect(traceTree([], PLAIN)).toBe("");
});

it("traceTree: what a guest calls its things does not reach the terminal as it is", () => {
  const evil = "a\nb\x1b[31mc\x9bd\r\u2028";
  const lines = tree([{ name: evil, begin: 0, end: 1, scope: evil, attributes: { x: evil } }], { timelineWidth: 0 });
  expect(lines).toHaveLength(1);
  expect(lines[0]).not.toMatch(/[\p{Cc}\u2028]/u);
  expect(lines[0]).toContain("a\\nb\\u{1b}[31mc");
});

it("traceTree: colours change nothing else, and every span has its line", () => {
  fc.assert(
    fc.property(anySpans, (samples) => {
      const spans = sampleSpans(samples);
      const all = { ...PLAIN, maxAlike: Number.POSITIVE_INFINITY };
      const plain = traceTree(spans, all);
      expect(stripVTControlCharacters(traceTree(spans, { ...all, color: true }))).toBe(plain);
      const events = spans.reduce((count, span) => count + span.events.length, 0);
      if (spans.length > 0) expect(plain.split("\n").length).toBeGreaterThanOrEqual(spans.length + events);
    }),
  );
});
