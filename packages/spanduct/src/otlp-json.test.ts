import { JsonTraceSerializer } from "@opentelemetry/otlp-transformer";
import { OpenTelemetryRelay, type ReadableSpan } from "@spanduct/opentelemetry";
import { TracingEventReceiver } from "@spanduct/receiver";
import fc from "fast-check";
import { expect, it } from "vitest";
import { program } from "../../../test/contract/opentelemetry/programs.ts";
import { logsRequest, traceRequest } from "./otlp-json.ts";

type Plain = { readonly [key: string]: unknown };

/** With numbers as they are meant. */
function normalized(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(normalized);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, part]) => {
      if (key === "doubleValue" && !Number.isFinite(part)) return [[key, String(part ?? "not a number")]];
      // Beyond 2^53 they print the shortest digits that give the same float, and beyond 2^63 they still say that it is an integer.
      if (key === "intValue") return [[Math.abs(Number(part)) > 2 ** 62 ? "doubleValue" : key, Number(part)]];
      return [[key, normalized(part)]];
    }),
  );
}

it("traceRequest says what OpenTelemetry's own serializer says, of any spans", () => {
  const parent = { traceId: "1".repeat(32), spanId: "2".repeat(16), traceFlags: 1, isRemote: true };
  let compared = 0;
  fc.assert(
    fc.property(program, (events) => {
      const spans: ReadableSpan[] = [];
      const relay = new OpenTelemetryRelay({
        spanProcessors: [
          {
            onStart: () => undefined,
            onEnd: (span) => spans.push(span),
            forceFlush: async () => undefined,
            shutdown: async () => undefined,
          },
        ],
      });
      const receiver = new TracingEventReceiver({}, {}, [], { relay: relay.execution({ parent }) });
      for (const event of events) receiver.tryReceive(event);
      receiver.persist();
      // Of what JSON has no number for, and of lone surrogates, the serializer makes nothing that can be compared.
      const text = JSON.stringify(spans.map(({ attributes, events }) => [attributes, events]));
      if (spans.length === 0 || /\\ud|null/.test(text)) return;
      compared++;
      const theirs = JSON.parse(new TextDecoder().decode(JsonTraceSerializer.serializeRequest(spans as never))) as Plain;
      const ours = JSON.parse(JSON.stringify(traceRequest(spans))) as Plain;
      const scopes = (request: Plain): unknown =>
        (request["resourceSpans"] as Plain[]).flatMap(({ scopeSpans }) =>
          (scopeSpans as Plain[]).map(({ scope, spans }) => normalized([scope, spans])),
        );
      expect(scopes(ours)).toEqual(scopes(theirs));
    }),
    { numRuns: 300 },
  );
  expect(compared).toBeGreaterThan(50);
});

it("numbers that JSON has no word for, and integers of 64 bits, as protobuf's JSON has them", () => {
  const attributes = { nan: Number.NaN, infinite: Number.POSITIVE_INFINITY, whole: 7, half: 0.5, list: ["a", "b"], yes: true };
  const record = { body: "hello", timestamp: [1, 5] as [number, number], severityNumber: 9, severityText: "INFO", attributes };
  const span = { traceId: "1".repeat(32), spanId: "2".repeat(16), traceFlags: 1 };
  expect(logsRequest([{ scope: "guest", record, span }], { "service.name": "x" })).toEqual({
    resourceLogs: [
      {
        resource: { attributes: [{ key: "service.name", value: { stringValue: "x" } }] },
        scopeLogs: [
          {
            scope: { name: "guest" },
            logRecords: [
              {
                timeUnixNano: "1000000005",
                severityNumber: 9,
                severityText: "INFO",
                body: { stringValue: "hello" },
                attributes: [
                  { key: "nan", value: { doubleValue: "NaN" } },
                  { key: "infinite", value: { doubleValue: "Infinity" } },
                  { key: "whole", value: { intValue: "7" } },
                  { key: "half", value: { doubleValue: 0.5 } },
                  { key: "list", value: { arrayValue: { values: [{ stringValue: "a" }, { stringValue: "b" }] } } },
                  { key: "yes", value: { boolValue: true } },
                ],
                droppedAttributesCount: 0,
                traceId: span.traceId,
                spanId: span.spanId,
                flags: 1,
              },
            ],
          },
        ],
      },
    ],
  });
});
