import { JsonTraceSerializer } from "@opentelemetry/otlp-transformer";
import { anySpans, sampleSpans } from "@spanduct/example-support/sample-spans";
import fc from "fast-check";
import { expect, it } from "vitest";
import { otlpJsonLines } from "./otlp-json-lines.ts";

/** The SDK writes integers as numbers; readers take both. */
function integersAsText(key: string, value: unknown): unknown {
  return key === "intValue" ? String(value) : value;
}

it("otlpJsonLines: says what the SDK's own serializer says", () => {
  fc.assert(
    fc.property(anySpans, (samples) => {
      const spans = sampleSpans(samples);
      fc.pre(spans.length > 0);
      const ours = otlpJsonLines(spans);
      const theirs = new TextDecoder().decode(JsonTraceSerializer.serializeRequest(spans));
      expect(JSON.parse(ours, integersAsText)).toEqual(JSON.parse(theirs, integersAsText));
    }),
  );
});

it("otlpJsonLines: one object a line, of at most 512 spans; 64-bit integers as text", () => {
  const samples = Array.from({ length: 1025 }, (_, i) => ({ name: `span ${i}`, begin: i, end: i + 1, attributes: { i } }));
  const text = otlpJsonLines(sampleSpans(samples));
  expect(text.endsWith("\n")).toBe(true);
  const lines = text.trimEnd().split("\n");
  const names = lines.map((line) =>
    JSON.parse(line).resourceSpans[0].scopeSpans[0].spans.map((span: { name: string }) => span.name),
  );
  expect(names.map((list) => list.length)).toEqual([512, 512, 1]);
  expect(names.flat()).toEqual(samples.map(({ name }) => name));
  expect(lines[2]).toContain('{"key":"i","value":{"intValue":"1024"}}');
});

it("otlpJsonLines: nothing for no spans", () => {
  expect(otlpJsonLines([])).toBe("");
});
