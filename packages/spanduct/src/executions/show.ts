import type { LiveSpan } from "@spanduct/opentelemetry";
import type { CommandDef } from "citty";
import { command } from "../command.ts";
import { formatDuration } from "../duration.ts";
import { printable } from "../table.ts";
import { printJson, STORE_OPTIONS, withExecutions } from "./options.ts";

const OPTIONS = {
  id: { type: "positional", description: "Of the execution", required: true },
  ...STORE_OPTIONS,
} as const;

/** `spanduct executions show` */
export const show: CommandDef = command({
  meta: { name: "show", description: "One execution, and the spans that are open in it" },
  args: OPTIONS,
  async run({ args }) {
    await withExecutions({ args, options: OPTIONS }, async (executions) => {
      const details = await executions.inspect(args.id);
      if (details === undefined) throw new Error(`there is no execution ${JSON.stringify(args.id)}`);
      if (args.json === true) return printJson(details);
      const { spans, lease, reason } = details;
      const lines: { readonly [name: string]: unknown } = {
        id: details.id,
        program: details.program,
        status: details.status,
        ...(reason !== undefined && { reason }),
        ...(lease !== undefined && { lease: `${lease.holder} until ${new Date(lease.untilMs).toISOString()}` }),
        revision: details.revision,
        attempts: details.attempts,
        outbox: details.backlog,
        snapshot: `${details.snapshotBytes} bytes`,
        created: new Date(details.createdMs).toISOString(),
        updated: new Date(details.updatedMs).toISOString(),
        "open spans": spans.length,
      };
      for (const [name, value] of Object.entries(lines)) console.log(`${name.padEnd(10)}  ${printable(String(value))}`);
      for (const line of spanTree(spans, Date.now())) console.log(line);
    });
  },
});

/** Open spans under those that they are in, the oldest first. */
function spanTree(spans: readonly LiveSpan[], nowMs: number): string[] {
  const known = new Set(spans.map(({ spanId }) => spanId));
  const isRoot = ({ spanId, parentSpanId }: LiveSpan): boolean =>
    spanId === undefined || parentSpanId === undefined || !known.has(parentSpanId);
  const lines: string[] = [];
  const waiting = spans.filter(isRoot).map((span) => ({ span, depth: 0 }));
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const { span, depth } = next;
    const age = span.startTime === undefined ? "" : formatDuration(Math.max(nowMs - span.startTime[0] * 1000, 0));
    const attributes = Object.entries(span.attributes ?? {})
      .filter(([name]) => name !== "level" && !name.startsWith("code."))
      .map(([name, value]) => `${name}=${String(value)}`);
    const where = span.traceId === undefined ? "" : `${span.traceId}/${span.spanId}`;
    const text = [span.name, `[${span.scope}]`, ...(span.entered ? ["(inside)"] : []), ...attributes].join(" ");
    lines.push(`${age.padStart(6)}  ${where}  ${"  ".repeat(depth)}${printable(text)}`);
    const { spanId } = span;
    if (spanId === undefined) continue;
    waiting.unshift(...spans.filter(({ parentSpanId }) => parentSpanId === spanId).map((span) => ({ span, depth: depth + 1 })));
  }
  return lines;
}
