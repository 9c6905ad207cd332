import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseEvent, parseMetadata, parseSpans, printEvent, printState } from "@spanduct/protocol/json";
import { TracingEventReceiver } from "@spanduct/receiver";
import { describe, expect, it } from "vitest";
import { Harness } from "../conformance/harness.ts";
import { RecordingRelay } from "../conformance/recording-relay.ts";
import { afterRestore, comparable } from "./compare.ts";
import { buildGenuineCrate, type GenuineCrate } from "./genuine-crate.ts";
import { ourEvents, SCENARIOS } from "./scenarios.ts";

const VECTORS = resolve(import.meta.dirname, "../vectors");

const built = buildGenuineCrate();
const unavailable = "unavailable" in built ? built.unavailable : undefined;
const crate = built as GenuineCrate;
if (unavailable !== undefined) process.stderr.write(`SKIPPED: interop with the genuine tracing-tunnel crate, ${unavailable}\n`);

/** What `send` of `rust/src/send.rs` is called with. */
const GENUINE_SCENARIOS = [
  "nested",
  "explicit_parent",
  "follows_from",
  "record",
  "errors",
  "values",
  "clone_drop",
  "interleaved",
  "fib 0",
  "fib 5",
];

/** Ids that only fit 64 bits, on every kind of event. */
const WIDE_IDS = [
  '{"new_call_site":{"id":18446744073709551615,"kind":"span","name":"s","target":"t","level":"info","fields":["a"]}}',
  '{"new_call_site":{"id":9007199254740993,"kind":"event","name":"e","target":"t","level":"info","fields":["a"]}}',
  '{"new_span":{"id":9223372036854775809,"metadata_id":18446744073709551615,"values":{"a":{"int":9007199254740993}}}}',
  '{"new_span":{"id":9007199254740993,"parent_id":9223372036854775809,"metadata_id":18446744073709551615,"values":{}}}',
  '{"span_entered":{"id":9223372036854775809}}',
  '{"span_cloned":{"id":9007199254740993}}',
  '{"follows_from":{"id":9007199254740993,"follows_from":9223372036854775809}}',
  '{"values_recorded":{"id":9007199254740993,"values":{"a":{"u_int":340282366920938463463374607431768211455}}}}',
  '{"new_event":{"metadata_id":9007199254740993,"parent":9007199254740993,"values":{"a":{"float":-0.0}}}}',
  '{"span_exited":{"id":9223372036854775809}}',
  '{"span_dropped":{"id":9007199254740993}}',
];

/** What our receiver dispatches, as the harness prints it. */
function ourReceive(lines: readonly string[]): string[] {
  const printed: string[] = [];
  const harness = new Harness((line) => printed.push(line));
  for (const line of lines) harness.run(Buffer.from(line));
  harness.end();
  return printed;
}

/** Persists with our receiver, with a relay that has something to save: what it stores, as text. */
function ourState(lines: readonly string[]): { metadata: string; spans: string } {
  const relay = Object.assign(new RecordingRelay(() => undefined), {
    saveSpan: (span: number) => ({ span, nested: [null, "text"] }),
  });
  const receiver = new TracingEventReceiver({}, {}, new Map(), { relay });
  for (const line of lines) receiver.receive(parseEvent(line));
  return { metadata: printState(receiver.persistMetadata()), spans: printState(receiver.persist().spans) };
}

/** Persists with the genuine receiver: what it stores, as text. */
function genuineState(lines: readonly string[]): { metadata: string; spans: string } {
  const persisted = crate.receive([...lines, '{"$control":"persist"}']).find((line) => line.includes('"persisted":'));
  const found = /"persisted":\{"metadata":(\{.*\}),"spans":(\{.*\}),"local":/s.exec(persisted ?? "");
  return { metadata: found?.[1] as string, spans: found?.[2] as string };
}

const restore = ({ metadata, spans }: { metadata: string; spans: string }): string =>
  `{"$control":"restore","metadata":${metadata},"spans":${spans}}`;

/** Runs of both receivers on the same lines are the same, and nothing was refused. */
function expectSameRun(lines: readonly string[]): void {
  const genuine = crate.receive(lines);
  expect(genuine.filter((line) => /"(?:error|panic)":"/.test(line))).toEqual([]);
  expect(genuine.length).toBeGreaterThan(0);
  expect(comparable(ourReceive(lines))).toEqual(comparable(genuine));
}

function expectStateMoves(lines: readonly string[]): void {
  for (let k = 0; k <= lines.length; k++) {
    const [before, after] = [lines.slice(0, k), lines.slice(k)];
    const inPlace = ['{"$control":"persist"}', '{"$control":"reset_local"}', '{"$control":"restore"}'];
    const expected = afterRestore(crate.receive([...before, ...inPlace, ...after]));
    const ours = ourState(before);
    expect(afterRestore(crate.receive([restore(ours), ...after])), `ours to genuine, after event ${k}`).toEqual(expected);
    const genuine = genuineState(before);
    expect(afterRestore(ourReceive([restore(genuine), ...after])), `genuine to ours, after event ${k}`).toEqual(expected);
  }
}

const title = unavailable === undefined ? "" : ` (SKIPPED: ${unavailable})`;

describe.skipIf(unavailable !== undefined)(`interop with the genuine tracing-tunnel crate${title}`, () => {
  describe("the crate as it is built here: its receiver prints the recorded runs", () => {
    it.each(["streams", "semantics"])("%s", (folder) => {
      const files = readdirSync(join(VECTORS, folder)).filter((file) => file.endsWith(".jsonl"));
      expect(files.length).toBeGreaterThan(10);
      const read = (file: string): string[] =>
        readFileSync(join(VECTORS, folder, file), "utf8")
          .split("\n")
          .slice(0, -1);
      for (const file of files) {
        const expected = read(file.replace(/\.jsonl$/, ".expected"));
        expect(comparable(crate.receive(read(file))), file).toEqual(comparable(expected));
      }
    });
  });

  describe("our sender into the genuine receiver: accepted, and dispatched as by our receiver", () => {
    it.each(Object.entries(SCENARIOS))("%s", (_name, scenario) => {
      expectSameRun(ourEvents(scenario).map(printEvent));
    });

    it("ids beyond 2^53", () => expectSameRun(WIDE_IDS));
  });

  describe("the genuine sender into our receiver: dispatched as by the genuine receiver", () => {
    it.each(GENUINE_SCENARIOS)("%s", (scenario) => {
      expectSameRun(crate.send(scenario));
    });

    it("non-finite floats: the crate refuses what its own sender writes, ours reads NaN", () => {
      const lines = crate.send("non_finite");
      expect(crate.receive(lines)[1]).toContain('"error":"parse"');
      const [, event, ...rest] = ourReceive(lines);
      expect(event).toContain('"values":{"nan":{"object":"NaN"},"inf":{"object":"NaN"},"neg_inf":{"object":"NaN"}}');
      expect(comparable(rest)).toEqual(comparable(crate.receive(lines).slice(2)));
    });
  });

  describe("state moves both ways: persisted after each event by one, restored and finished by the other", () => {
    it.each(Object.entries(SCENARIOS))("our sender, %s", (_name, scenario) => {
      expectStateMoves(ourEvents(scenario).map(printEvent));
    });

    it.each(GENUINE_SCENARIOS)("the genuine sender, %s", (scenario) => {
      expectStateMoves(crate.send(scenario));
    });

    it("ids beyond 2^53", () => expectStateMoves(WIDE_IDS));

    it("what ours adds, the guest's stack and the relay's own, is stored by ours and ignored by the crate", () => {
      const ours = ourState(ourEvents(SCENARIOS.unfinished).map(printEvent));
      expect(ours.spans).toContain('"entered":1');
      expect(ours.spans).toContain('"relay":{"span":1,"nested":[null,"text"]}');
      expect(ours.spans).toContain('"wide":{"int":1237940039285380274899124224}');
      const genuine = genuineState([restore(ours)]);
      expect(parseMetadata(genuine.metadata)).toEqual(parseMetadata(ours.metadata));
      const known = Object.entries(parseSpans(ours.spans)).map(([id, { entered, relay, ...span }]) => [id, span]);
      expect(Object.entries(parseSpans(genuine.spans))).toEqual(known);
    });
  });
});
