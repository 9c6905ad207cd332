import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TraceContext, TracedError, TracedValueMap } from "@spanduct/protocol";
import { TracingEventReceiver } from "@spanduct/receiver";
import { expect, it } from "vitest";
import { type RecordedEvent, type RecordedSpan, TraceRecorder } from "../../../test/support/trace-recorder.ts";
import { bundle, vmGuest } from "../test/bare-guests.ts";

const README = readFileSync(join(import.meta.dirname, "../README.md"), "utf8");

/** Code of README.md, each with the trace that is shown after it. */
const EXAMPLES = [...README.matchAll(/```ts\n(.*?)```.*?```text\n(.*?)```/gs)].map(
  ([, code, trace]) => [code as string, trace as string] as const,
);

function textOf(values: TracedValueMap): string {
  const texts = Object.entries(values).map(([name, value]) => {
    const [raw] = Object.values(value) as unknown[];
    const { type, message } = raw as TracedError;
    return `${name}=${typeof raw === "object" ? `${type}: ${message}` : raw}`;
  });
  return texts.join(" ");
}

/** The trace as README.md shows it: events by their message. */
function linesOf(list: readonly (RecordedSpan | RecordedEvent)[], indent: string): string[] {
  return list.flatMap((item) => {
    if ("children" in item) return [`${indent}${item.name} ${textOf(item.values)}`, ...linesOf(item.children, `${indent}  `)];
    const { message, ...values } = item.values;
    const name = message === undefined ? item.name : Object.values(message)[0];
    return [`${indent}· ${name} ${textOf(values)}`];
  });
}

/** What a host says to its guest. */
const traceContext: TraceContext = {
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  spanKey: "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
};

it("README.md has three examples", () => {
  expect(EXAMPLES).toHaveLength(3);
});

it.each(EXAMPLES)("README.md shows what its example does: %#", async (code, trace) => {
  const recorder = new TraceRecorder();
  const receiver = new TracingEventReceiver({}, {}, new Map(), { relay: recorder });
  using guest = vmGuest((batch) => receiver.receiveBatch(batch), { performance, traceContext });
  const [imports, body] = code.split(/\n\n(.*)/s);
  const main = `${imports}\nasync function main() {\n${body}}\nmain().catch((error) => { globalThis.failure = String(error?.stack ?? error); });`;
  guest.run(await bundle(main));
  expect(guest.run("globalThis.failure")).toBeUndefined();
  expect(receiver.stats).toMatchObject({ refused: {}, lostBatches: 0, droppedEvents: 0, liveSpans: 0 });
  expect(
    `${linesOf(recorder.roots, "")
      .map((line) => line.trimEnd())
      .join("\n")}\n`,
  ).toBe(trace);
});
