import { styleText } from "node:util";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";
import { printable } from "@spanduct/example-support/printable";
import { traceTree } from "@spanduct/example-support/trace-tree";
import type { TracingEventReceiver } from "@spanduct/receiver";
import type { Outcome } from "@spanduct/sandbox/worker";

/** What one guest came to. */
export interface GuestReport {
  readonly name: string;
  readonly sandbox: string;
  readonly outcome: Outcome<unknown>;
  readonly receiver: TracingEventReceiver;
  /** The file with the bug, for a guest that is meant to fail. */
  readonly onPurpose?: string;
}

/** What a run of the demo came to. */
export interface Report {
  readonly spans: readonly ReadableSpan[];
  readonly guests: readonly GuestReport[];
  /** Paths of the files that were written. */
  readonly perfetto: string;
  readonly otlp: string;
}

/** Where it is printed. */
export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** Print the trace, what the guests came to, and what to do next. */
export function report(output: Output, { spans, guests, perfetto, otlp }: Report): void {
  const color = wantsColor(output);
  const paint = (style: Parameters<typeof styleText>[0], text: string): string =>
    color ? styleText(style, text, { validateStream: false }) : text;
  const width = output.isTTY === true ? (output.columns ?? 80) : Number.POSITIVE_INFINITY;
  const lines = [
    "",
    paint("bold", "One host process, guests in three sandboxes, one trace"),
    "",
    traceTree(spans, { color, maxWidth: width, timelineWidth: width < 120 ? 0 : 20, maxAlike: 4 }),
    "",
  ];

  const traces = new Set(spans.map((span) => span.spanContext().traceId));
  const totals = guests.map(({ receiver }) => receiver.stats);
  const sum = (count: (stats: TracingEventReceiver["stats"]) => number): number =>
    totals.reduce((all, one) => all + count(one), 0);
  lines.push(
    `${spans.length} spans in ${traces.size === 1 ? `the trace ${[...traces][0]}` : `${traces.size} traces`}; through the tunnel went ` +
      `${sum(({ bytes }) => bytes)} bytes in ${sum(({ batches }) => batches)} batches.`,
    "",
  );
  for (const { name, sandbox, outcome, onPurpose } of guests) {
    const committed = outcome.kind === "committed";
    const mark = committed ? paint("green", "✓") : paint("red", "✗");
    const result = committed ? "committed" : paint("red", "rolled back");
    lines.push(`  ${mark} ${name.padEnd(12)} ${paint("dim", sandbox.padEnd(20))} ${result}`);
    if (!committed) lines.push(...reasons(outcome.error).map((reason) => `    ${paint("red", reason)}`));
    if (!committed && onPurpose !== undefined) {
      lines.push(paint("dim", `    On purpose: the bug is in ${onPurpose}. The host and the other guests went on.`));
    }
  }
  lines.push(
    "",
    paint("bold", "Written"),
    `  ${perfetto}        open it in https://ui.perfetto.dev (Open trace file)`,
    `  ${otlp}  OTLP JSON lines, which the OpenTelemetry Collector reads (otlpjsonfile receiver)`,
    "",
    paint("bold", "Next"),
    "  examples/demo/README.md      what is where; repair the bug and run the demo again",
    "  packages/sandbox/README.md   trace a sandbox of your own, in five lines",
    "",
  );
  output.write(`${lines.join("\n")}\n`);
}

/** As most programs do it: FORCE_COLOR, then NO_COLOR, then whether it is a terminal. */
function wantsColor({ isTTY = false }: Output): boolean {
  const { FORCE_COLOR, NO_COLOR } = process.env;
  if (FORCE_COLOR !== undefined) return FORCE_COLOR !== "0" && FORCE_COLOR !== "false";
  return isTTY && (NO_COLOR === undefined || NO_COLOR === "");
}

function reasons(error: unknown): string[] {
  const lines: string[] = [];
  for (let link = error; link instanceof Error; link = link.cause) {
    lines.push(`${lines.length === 0 ? "" : "caused by "}${printable(`${link.name}: ${link.message}`)}`);
  }
  return lines;
}
