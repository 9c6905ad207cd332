import { parseEvent, parseMetadata, parseSpans, printState } from "@spanduct/protocol/json";
import { memoryStore } from "@spanduct/store/memory";
import { describe, expect, it } from "vitest";
import { ScriptedHost } from "../support/scripted-executions.ts";
import { buildGenuineCrate, type GenuineCrate } from "./genuine-crate.ts";

const built = buildGenuineCrate();
const unavailable = "unavailable" in built ? built.unavailable : undefined;
const crate = built as GenuineCrate;
if (unavailable !== undefined) process.stderr.write(`SKIPPED: stored executions of the genuine crate, ${unavailable}\n`);

const PERSIST = '{"$control":"persist"}';

/** What the genuine receiver stores after these lines. */
function genuineState(lines: readonly string[]): { metadata: string; spans: string } {
  const persisted = crate.receive([...lines, PERSIST]).find((line) => line.includes('"persisted":'));
  const found = /"persisted":\{"metadata":(\{.*\}),"spans":(\{.*\}),"local":/s.exec(persisted ?? "");
  return { metadata: found?.[1] as string, spans: found?.[2] as string };
}

/** Where in a run of the genuine sender a span is open and will be entered again. */
function cutOf(lines: readonly string[]): number {
  const entered = lines.findLastIndex((line) => line.includes('"span_entered"'));
  expect(entered).toBeGreaterThan(0);
  return entered;
}

const title = unavailable === undefined ? "" : ` (SKIPPED: ${unavailable})`;

describe.skipIf(unavailable !== undefined)(`executions of the genuine tracing-tunnel crate${title}`, () => {
  it.each(["nested", "interleaved", "fib 5"])("%s: adopted where the crate persisted it, and finished here", async (scenario) => {
    const lines = crate.send(scenario);
    const cut = cutOf(lines);
    const { metadata, spans } = genuineState(lines.slice(0, cut));
    const open = Object.keys(parseSpans(spans)).length;
    expect(open).toBeGreaterThan(0);

    const host = new ScriptedHost(memoryStore());
    await host.executions.adopt("x", "guest@1", { metadata: parseMetadata(metadata), spans: parseSpans(spans) });
    expect(await host.executions.inspect("x")).toMatchObject({
      liveSpans: open,
      spans: Array.from({ length: open }, () => ({})),
    });
    const rest = lines.slice(cut).map((line) => parseEvent(line));
    await host.step("x", [rest], { program: "guest@1" });
    await host.executions.drain();
    const opened = rest.filter((event) => "new_span" in event).length;
    const reopened = new Set(rest.flatMap((event) => ("span_entered" in event ? [String(event.span_entered.id)] : [])));
    const adopted = Object.keys(parseSpans(spans)).filter((id) => reopened.has(id)).length;
    expect(host.exported).toHaveLength(opened + adopted);
    await host.executions.close();
  });

  it("what an execution here has stored is restored and finished by the genuine receiver", async () => {
    const lines = crate.send("fib 5");
    const cut = cutOf(lines);
    const host = new ScriptedHost(memoryStore());
    await host.step("x", [lines.slice(0, cut).map((line) => parseEvent(line)), []], { program: "guest@1" });
    const state = await host.executions.state("x");
    const restore = `{"$control":"restore","metadata":${printState(state?.metadata ?? {})},"spans":${printState(state?.spans ?? {})}}`;
    const printed = crate.receive([restore, ...lines.slice(cut), PERSIST]);
    expect(printed.filter((line) => /"(?:error|panic)":"/.test(line))).toEqual([]);
    expect(printed.at(-1)).toMatch(/"spans":\{\}/);
    await host.executions.close();
  });
});
