import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { type Codec, controlAnnounce, controlLevel, DEFAULT_LIMITS, dispatchEvent, isControlWord } from "@spanduct/protocol";
import { msgpack } from "@spanduct/protocol/msgpack";
import { protobuf } from "@spanduct/protocol/protobuf";
import { describe, expect, it } from "vitest";
import { plain, replay, type SinkCall, sinkTo } from "../support/sink-calls.ts";
import { indexing, parseJson } from "../support/vector-streams.ts";

const README = readFileSync(resolve(import.meta.dirname, "../../proto/README.md"), "utf8");

function block(language: string): string {
  const text = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "m").exec(README)?.[1];
  if (text === undefined) throw new Error(`no block of ${language} in proto/README.md`);
  return text;
}

/** Bytes in front of the comments. */
function bytesOf(language: string): Uint8Array {
  const hex = block(language).replace(/#.*$/gm, "").replace(/\s/g, "");
  expect(hex).toMatch(/^([0-9a-f]{2})+$/);
  return Buffer.from(hex, "hex");
}

function exampleCalls(): SinkCall[] {
  const [header, ...events] = block("json").trim().split("\n").map(parseJson) as [Record<string, never>, ...unknown[]];
  const { version, clock, base_time_unix_nano: base, sequence, dropped_events: droppedEvents } = header;
  const calls: SinkCall[] = [
    ["batch", { version, clock, baseTimeUnixNano: BigInt(base as never), sequence, droppedEvents } as never],
  ];
  const sink = sinkTo(indexing((call) => calls.push(call)));
  for (const event of events) dispatchEvent(event, sink, DEFAULT_LIMITS);
  return calls;
}

describe("proto/README.md", () => {
  it.each<[language: string, codec: Codec]>([
    ["protobuf", protobuf],
    ["msgpack", msgpack],
  ])("shows the bytes of its example in %s", (language, codec) => {
    const bytes = bytesOf(language);
    const encoder = codec.createEncoder();
    replay(exampleCalls(), encoder);
    expect(Buffer.from(encoder.finish()).toString("hex")).toBe(Buffer.from(bytes).toString("hex"));

    const calls: SinkCall[] = [];
    const sink = sinkTo((call) => calls.push(call));
    codec.createDecoder(DEFAULT_LIMITS).decode(bytes, sink, (error) => expect.unreachable(error.message));
    expect(plain(calls)).toEqual(plain(exampleCalls()));
    expect(README.toLowerCase()).toContain(`in ${language === "msgpack" ? "messagepack" : language}, ${bytes.length} bytes`);
  });

  it("says what the control words of its example ask for", () => {
    const words = [...README.matchAll(/`(0x5350[0-9a-f]{4})`/g)].map(([, word]) => Number(word));
    expect(words.map((word) => [isControlWord(word), controlLevel(word), controlAnnounce(word)])).toEqual([
      [true, 5, false],
      [true, 0, false],
      [true, 3, true],
    ]);
  });
});
