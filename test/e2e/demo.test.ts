import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { promisify, stripVTControlCharacters } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runTool } from "../../scripts/tool.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const DEMO = join(ROOT, "examples/demo");
const run = promisify(execFile);

/** Spans of one line of OTLP JSON, as far as they are looked at here. */
interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly KeyValue[];
  readonly events: readonly { readonly timeUnixNano: string; readonly name: string; readonly attributes: readonly KeyValue[] }[];
  readonly status: { readonly code: number; readonly message?: string };
  readonly scope: string;
}

interface KeyValue {
  readonly key: string;
  readonly value: { readonly [kind: string]: unknown };
}

let outDir: string;
let stdout: string;
let spans: OtlpSpan[];

async function runDemo(folder: string, env: { readonly [name: string]: string } = {}): Promise<string> {
  const { FORCE_COLOR: _, NO_COLOR: __, ...rest } = process.env;
  const { stdout, stderr } = await run(process.execPath, [join(DEMO, "main.ts"), folder], {
    cwd: ROOT,
    env: { ...rest, ...env },
    timeout: 60_000,
  });
  expect(stderr).toBe("");
  return stdout;
}

beforeAll(async () => {
  const { scripts } = JSON.parse(readFileSync(join(DEMO, "package.json"), "utf8")) as { scripts: { build: string } };
  const PATH = [join(DEMO, "node_modules/.bin"), process.env["PATH"]].join(delimiter);
  await run("sh", ["-c", scripts.build], { cwd: DEMO, env: { ...process.env, PATH } });
  outDir = mkdtempSync(join(tmpdir(), "demo-"));
  stdout = await runDemo(outDir);
  spans = readFileSync(join(outDir, "trace.otlp.jsonl"), "utf8").trimEnd().split("\n").flatMap(decodeLine);
}, 120_000);

afterAll(() => rmSync(outDir, { recursive: true }));

/** Strictly as OpenTelemetry's file exporters write it. */
function decodeLine(line: string): OtlpSpan[] {
  const { resourceSpans, ...more } = JSON.parse(line);
  expect(more).toEqual({});
  const found: OtlpSpan[] = [];
  for (const { resource, scopeSpans } of resourceSpans) {
    checkAttributes(resource.attributes);
    expect(value(resource.attributes, "service.name")).toBe("spanduct-demo");
    for (const { scope, spans } of scopeSpans) {
      for (const span of spans) {
        expect(span.traceId).toMatch(/^[0-9a-f]{32}$/);
        expect(span.spanId).toMatch(/^[0-9a-f]{16}$/);
        if (span.parentSpanId !== undefined) expect(span.parentSpanId).toMatch(/^[0-9a-f]{16}$/);
        expect(span.kind).toBe(1);
        for (const time of [span.startTimeUnixNano, span.endTimeUnixNano, ...span.events.map(timeOf)]) {
          expect(time).toMatch(/^[1-9][0-9]{18}$/);
        }
        expect(BigInt(span.endTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(span.startTimeUnixNano));
        checkAttributes(span.attributes);
        for (const event of span.events) checkAttributes(event.attributes);
        expect([span.droppedAttributesCount, span.droppedEventsCount, span.droppedLinksCount]).toEqual([0, 0, 0]);
        found.push({ ...span, scope: scope.name });
      }
    }
  }
  return found;
}

function checkAttributes(attributes: readonly KeyValue[]): void {
  for (const { key, value } of attributes) {
    expect(key).not.toBe("");
    const [kind, ...more] = Object.keys(value);
    expect(more).toEqual([]);
    if (kind === "intValue") expect(value["intValue"]).toMatch(/^-?\d+$/);
    else expect(kind).toMatch(/^(string|bool|double|array)Value$/);
  }
}

function timeOf({ timeUnixNano }: { readonly timeUnixNano: string }): string {
  return timeUnixNano;
}

function value(attributes: readonly KeyValue[], key: string): unknown {
  return Object.values(attributes.find((attribute) => attribute.key === key)?.value ?? {})[0];
}

function childrenOf(span: OtlpSpan | undefined): OtlpSpan[] {
  return spans.filter(({ parentSpanId }) => parentSpanId === span?.spanId);
}

function named(name: string, among: readonly OtlpSpan[] = spans): OtlpSpan {
  const span = among.find((span) => span.name === name);
  if (span === undefined) throw new Error(`there is no span ${name}`);
  return span;
}

describe("the demo's trace", () => {
  it("is one, with the guests of three sandboxes under the host's span", () => {
    expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(1);
    expect(new Set(spans.map(({ spanId }) => spanId)).size).toBe(spans.length);
    const roots = spans.filter(({ parentSpanId }) => parentSpanId === undefined);
    expect(roots.map(({ name }) => name)).toEqual(["demo"]);
    expect(
      childrenOf(roots[0])
        .map(({ name, scope }) => [name, scope])
        .sort(),
    ).toEqual([
      ["check links", "check-links (QuickJS)"],
      ["hash files", "hash-files (WASM)"],
      ["render docs", "render-docs (worker)"],
    ]);
    const ids = new Set(spans.map(({ spanId }) => spanId));
    for (const { parentSpanId } of spans) expect(parentSpanId === undefined || ids.has(parentSpanId)).toBe(true);
  });

  it("has what the guests did, in the time of their parents", () => {
    const rendered = childrenOf(named("render docs"));
    expect(rendered.length).toBeGreaterThan(3);
    for (const document of rendered) {
      expect(document.name).toBe("render document");
      expect(childrenOf(document).map(({ name }) => name)).toEqual(["parse", "print"]);
      const html = readFileSync(join(outDir, "html", String(value(document.attributes, "path")).replace(/md$/, "html")));
      expect(value(document.attributes, "html_bytes")).toBe(String(html.length));
    }
    expect(childrenOf(named("hash files")).map(({ attributes }) => value(attributes, "path"))).toContain("LICENSE");
    for (const span of spans) {
      for (const child of childrenOf(span)) {
        expect(BigInt(child.startTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(span.startTimeUnixNano));
        expect(BigInt(child.endTimeUnixNano)).toBeLessThanOrEqual(BigInt(span.endTimeUnixNano));
      }
    }
  });

  it("shows where the guest failed, with the cause, and what was rolled back", () => {
    const failed = spans.filter(({ status }) => status.code === 2);
    expect(failed.map(({ name }) => name).sort()).toEqual(["check document", "check link", "check links"]);
    const flag = spans.filter(({ attributes }) => value(attributes, "spanduct.rolled_back") === true);
    expect(flag.map(({ name }) => name)).toEqual(["check links"]);

    const exceptionOf = (span: OtlpSpan): readonly KeyValue[] => span.events.at(-1)?.attributes ?? [];
    const link = exceptionOf(named("check link", failed));
    expect(value(link, "exception.type")).toBe("TypeError");
    expect(value(link, "exception.stacktrace")).toContain("at extensionOf (check-links.js:");
    for (const name of ["check document", "check links"]) {
      const attributes = exceptionOf(named(name, failed));
      expect(value(attributes, "exception.message")).toMatch(/^cannot check the link to \S+ in \S+\.md$/);
      expect(value(attributes, "exception.stacktrace")).toContain("Caused by: TypeError");
    }
    // It had done something before.
    const done = childrenOf(named("check links")).filter(({ status }) => status.code === 0);
    expect(done.length).toBeGreaterThan(0);
  });
});

describe("the demo's output", () => {
  it("is plain in a pipe: a tree with every span where it belongs, and what to do next", () => {
    expect(stdout).toBe(stripVTControlCharacters(stdout));
    const lines = stdout.split("\n");
    const tree = lines.filter((line) => line.startsWith("▏")).map((line) => line.slice("▏".length + 20 + "▕".length + 16));
    const actual = tree.flatMap((line) => {
      const branch = /^(?:[│ ] {2})*(?:[├└]─ )?/.exec(line)?.[0] ?? "";
      const text = line.slice(branch.length);
      const depth = branch.length / 3;
      const more = /^… (\d+) more (.+)$/.exec(text);
      if (more !== null) return new Array<string>(Number(more[1])).fill(`${depth} ${more[2]}`);
      const name = [...new Set(spans.map((span) => span.name))].find((name) => text.replace(/^✗ /, "").match(`^${name}( |$)`));
      return name === undefined || /^✗ \w*Error: /.test(text) ? [] : [`${depth} ${name}`];
    });
    const expected = (span: OtlpSpan, depth: number): string[] => [
      `${depth} ${span.name}`,
      ...childrenOf(span)
        .sort((a, b) => Number(BigInt(a.startTimeUnixNano) - BigInt(b.startTimeUnixNano)))
        .flatMap((child) => expected(child, depth + 1)),
    ];
    expect(actual).toEqual(expected(named("demo"), 0));

    expect(stdout).toMatch(/✗ check links \[check-links \(QuickJS\)\] ↩ rolled back/);
    expect(stdout).toMatch(/ERROR .*✗ TypeError: .*\n.*at extensionOf \(check-links\.js:/);
    expect(stdout).toMatch(/WARN .*● a large file blocks=\d+/);
    expect(stdout).toMatch(/INFO .*● \d+ documents rendered \[console\]/);
    expect(stdout).toContain(`${spans.length} spans in the trace ${spans[0]?.traceId}`);
    expect(stdout).toMatch(/✓ render docs .*committed\n {2}✗ check links .*rolled back\n(.*\n)*.*✓ hash files .*committed/);
    expect(stdout).toContain("On purpose: the bug is in examples/demo/guests/check-links.js");
    for (const file of ["trace.json", "trace.otlp.jsonl"]) expect(stdout).toContain(file);
    expect(stdout).toContain("https://ui.perfetto.dev");
  });

  it("has colours with FORCE_COLOR", async () => {
    const colored = await runDemo(join(outDir, "again"), { FORCE_COLOR: "1" });
    expect(colored).toContain("\x1b[31m✗ TypeError");
    expect(stripVTControlCharacters(colored).split("\n")).toHaveLength(stdout.split("\n").length);
  }, 60_000);
});

it("trace.json: opens in Perfetto without complaint, which finds every span where it is", () => {
  const queries = [
    `select slice.name, slice.ts, slice.dur, thread.name as track, slice.depth,
       (select string_value from args where args.arg_set_id = slice.arg_set_id and args.key = 'args.span_id') as id,
       (select string_value from args where args.arg_set_id = parent.arg_set_id and args.key = 'args.span_id') as parent
     from slice join thread_track on slice.track_id = thread_track.id join thread using (utid)
       left join slice parent on slice.parent_id = parent.id
     where slice.arg_set_id in (select arg_set_id from args where key = 'args.span_id')`,
    "select name, value from stats where value > 0 and severity <> 'info'",
    "select name from process where name is not null",
  ];
  const script = join(import.meta.dirname, "perfetto-query.ts");
  const { status, stdout, stderr } = runTool([process.execPath, script, join(outDir, "trace.json"), ...queries]);
  expect(status, stderr).toBe(0);
  const [slices, complaints, processes] = stdout
    .split("\n")
    .filter((line) => line.startsWith("["))
    .map((line) => JSON.parse(line) as { readonly [column: string]: string | number | null }[]);
  expect(complaints).toEqual([]);
  expect(processes).toEqual([{ name: "spanduct-demo" }]);

  const [begin] = spans.map(({ startTimeUnixNano }) => BigInt(startTimeUnixNano)).sort((a, b) => Number(a - b)) as [bigint];
  expect(slices).toHaveLength(spans.length);
  for (const { name, ts, dur, track, depth, id, parent } of slices ?? []) {
    const span = spans.find(({ spanId }) => spanId === id) as OtlpSpan;
    expect(name).toBe(span.name);
    expect(ts).toBe(Number(BigInt(span.startTimeUnixNano) - begin));
    expect(dur).toBe(Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)));
    expect(String(track).replace(/ \d+$/, "")).toBe(span.scope);
    if (depth !== 0) expect(parent).toBe(span.parentSpanId);
  }
  // The first time installs the package.
}, 120_000);
