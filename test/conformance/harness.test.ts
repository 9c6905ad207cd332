import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { type Codec, dispatchEvent, recordEvents } from "@spanduct/protocol";
import { json } from "@spanduct/protocol/json";
import { describe, expect, it } from "vitest";
import { CODECS, Harness } from "./harness.ts";
import { comparable, vectors } from "./vectors.ts";

const HARNESS = join(import.meta.dirname, "harness.ts");

/** No bytes of its own: events become objects and are taken apart again, as between `onEvent` and `receive`. */
const objects: Codec = {
  name: "objects",
  createEncoder: json.createEncoder,
  createDecoder: (limits) => ({
    decode(bytes, sink, onError) {
      const objectsTo = recordEvents((event) => dispatchEvent(event, sink, limits));
      json.createDecoder(limits).decode(bytes, objectsTo, onError);
    },
  }),
};

function run(input: Uint8Array, codec?: Codec): string[] {
  const output: string[] = [];
  const harness = new Harness((line) => output.push(line), codec);
  for (const line of Buffer.from(input).toString().trimEnd().split("\n")) harness.run(Buffer.from(line));
  harness.end();
  return output;
}

function outputOf(...lines: string[]): unknown[] {
  return run(Buffer.from(lines.join("\n"))).map((line) => JSON.parse(line) as unknown);
}

const SITE = '{"new_call_site":{"id":1,"kind":"span","name":"s","target":"t","level":"info","fields":["a","b"]}}';
const control = (name: string, more = ""): string => `{"$control":"${name}"${more}}`;

describe.each([undefined, ...CODECS, objects].map((codec) => ({ name: codec?.name ?? "none", codec })))(
  "receiver behind codec $name: does what the crate's did",
  ({ codec }) => {
    it.each(vectors())("for $name", ({ input, expected }) => {
      expect(comparable(run(input, codec))).toEqual(comparable(expected));
    });
  },
);

describe("conformance command", () => {
  it.each([[], ...CODECS.map(({ name }) => ["--codec", name])].map((options) => ({ options })))(
    "prints the protocol's lines and nothing else, with options $options",
    ({ options }) => {
      const [vector] = vectors().filter(({ name }) => name === "streams/values");
      if (vector === undefined) throw new Error("no such vector");
      const { stdout, stderr, status } = spawnSync(process.execPath, [HARNESS, ...options], { input: vector.input });
      expect(stderr.toString()).toBe("");
      expect(status).toBe(0);
      expect(comparable(stdout.toString().trimEnd().split("\n"))).toEqual(comparable(vector.expected));
    },
  );

  it("refuses a codec that it does not know", () => {
    const { stderr, status } = spawnSync(process.execPath, [HARNESS, "--codec", "morse"], { input: "" });
    expect(stderr.toString()).toContain("unknown codec morse");
    expect(status).toBe(2);
  });
});

describe("harness", () => {
  it("starts anew, but knows the call sites it has seen", () => {
    expect(outputOf(SITE, '{"new_span":{"id":1,"metadata_id":1,"values":{}}}', control("new"), SITE)).toMatchObject([
      { call: "register_callsite", metadata: 0 },
      { call: "new_span", id: 1 },
      { in: 3, during: "new", call: "try_close", id: 1 },
      { in: 3, during: "new", new: true },
    ]);
  });

  it("has no receiver between drop and new, or persist and restore, and says so", () => {
    const none = { error: "no_receiver" };
    expect(
      outputOf(control("drop"), '{"span_entered":{"id":1}}', control("drop"), control("persist"), control("persist_metadata")),
    ).toMatchObject([{ dropped: true }, none, none, none, none]);
    expect(outputOf(control("drop"), '{"span_entered":{"id":-1}}')[1]).toMatchObject({ error: "parse" });
  });

  it("takes batches of bytes, prints all that is wrong with one, and the control word", () => {
    const hex = (text: string): string => control("batch", `,"hex":"${Buffer.from(text).toString("hex")}"`);
    const batch = `${SITE}\n{"span_entered":{"id":7}}\n{"new_span":{"id":1,"metadata_id":1,"values":{}}}\n{"span_exited":{"id":8}}`;
    expect(outputOf(hex(batch), hex("nonsense"), control("batch"), control("drop"), hex(SITE))).toMatchObject([
      { in: 1, during: "control", call: "register_callsite" },
      { call: "new_span", id: 1 },
      { in: 1, error: "unknown_span_id", id: 7 },
      { in: 1, error: "unknown_span_id", id: 8 },
      { in: 1, during: "control", batch: 0x53500005 },
      { in: 2, error: "parse" },
      { in: 2, batch: 0x53500005 },
      { in: 3, batch: 0x53500005 },
      { call: "try_close" },
      { dropped: true },
      { in: 5, error: "no_receiver" },
    ]);
  });

  it("prints call sites without an end to the receiver", () => {
    expect(outputOf(SITE, control("persist_metadata"), '{"new_span":{"id":1,"metadata_id":1,"values":{}}}')).toMatchObject([
      {},
      { during: "control", persisted_metadata: { 1: { name: "s" } } },
      { call: "new_span" },
      { in: 4, during: "eof", call: "try_close", id: 1 },
    ]);
  });

  it("restores what it is given, to the last digit, and refuses what is no state", () => {
    const id = 2n ** 64n - 1n;
    const lines = run(
      Buffer.from(
        [
          control("restore", `,"spans":{"${id}":{"metadata_id":1,"ref_count":1,"values":{"a":{"float":-0.0}}}}`),
          control("persist"),
          control("restore", ',"spans":{"1":{"metadata_id":1,"ref_count":0,"values":{}}}'),
          control("restore", ',"metadata":[]'),
          control("restore"),
          control("persist"),
        ].join("\n"),
      ),
    );
    const persisted = `"spans":{"${id}":{"metadata_id":1,"ref_count":1,"values":{"a":{"float":-0.0}}}}`;
    expect(lines).toHaveLength(6);
    expect(lines[1]).toContain(persisted);
    expect(lines[2]).toContain('"in":3,"during":"restore","error":"parse"');
    expect(lines[3]).toContain('"in":4,"during":"restore","error":"parse"');
    expect(lines[5]).toContain(persisted);
  });

  it.each([undefined, ...CODECS])("prints an event as it was parsed, with codec %o", (codec) => {
    const event =
      '{"new_event":{"metadata_id":1,"values":{"b":{"float":5.0},"1":{"u_int":340282366920938463463374607431768211455}}}}';
    const timed = '{"span_entered":{"id":18446744073709551615,"time_unix_nano":1700000000000000001}}';
    const lines = [event, timed, '{"span_entered":{}}'].map((text) => control("roundtrip", `,"event": ${text}`));
    const output = run(Buffer.from([...lines, control("roundtrip")].join("\n")), codec);
    expect(output.slice(0, 2)).toEqual([
      `{"in":1,"during":"control","event":${event}}`,
      `{"in":2,"during":"control","event":${timed}}`,
    ]);
    expect(output[2]).toContain('"error":"parse"');
    expect(output[3]).toContain('"error":"parse"');
  });

  it("counts blank lines, and takes what is no control for an event", () => {
    expect(outputOf("", " \t\r", "nonsense", control("wait"), '{"$control":"new"} x')).toMatchObject([
      { in: 3, during: "event", error: "parse" },
      { in: 4, during: "control", error: "parse", message: "unknown control" },
      { in: 5, during: "event", error: "parse" },
    ]);
  });
});
