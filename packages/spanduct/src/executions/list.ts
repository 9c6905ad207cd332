import type { ExecutionStatus, ExecutionSummary } from "@spanduct/store";
import type { CommandDef } from "citty";
import { command } from "../command.ts";
import { formatDuration } from "../duration.ts";
import { type Column, Table } from "../table.ts";
import { UsageError } from "../usage-error.ts";
import { printJson, STORE_OPTIONS, withExecutions } from "./options.ts";

const OPTIONS = {
  ...STORE_OPTIONS,
  status: { type: "string", description: "Only those that are open, done or parked", valueHint: "status" },
  program: { type: "string", description: "Only those of this program", valueHint: "name" },
  limit: { type: "string", description: "At most so many", valueHint: "count" },
} as const;

const STATUSES: readonly string[] = ["open", "done", "parked"];

/** `spanduct executions list` */
export const list: CommandDef = command({
  meta: { name: "list", description: "What is stored: revision, attempts, open spans, what waits for its export" },
  args: OPTIONS,
  async run({ args }) {
    const { status, program, json } = args;
    if (status !== undefined && !STATUSES.includes(status)) throw new UsageError(`status is open, done or parked, not ${status}`);
    const limit = args.limit === undefined ? Number.POSITIVE_INFINITY : Number(args.limit);
    if (!(limit >= 0)) throw new UsageError(`--limit ${args.limit} is no number`);
    await withExecutions({ args, options: OPTIONS }, async (executions) => {
      const table = new Table(columns(Date.now()), console.log);
      let count = 0;
      const wanted = {
        ...(status !== undefined && { status: status as ExecutionStatus }),
        ...(program !== undefined && { program }),
      };
      for await (const execution of executions.list(wanted)) {
        if (count++ >= limit) break;
        if (json === true) printJson(execution);
        else table.add(execution);
      }
      table.end();
      if (count === 0 && json !== true) console.error("no executions");
    });
  },
});

function columns(nowMs: number): readonly Column<ExecutionSummary>[] {
  return [
    { title: "ID", value: ({ id }) => id },
    { title: "PROGRAM", value: ({ program }) => program },
    {
      title: "STATUS",
      value: ({ status, lease }) => (lease !== undefined && lease.untilMs > nowMs ? `${status} (running)` : status),
    },
    { title: "REVISION", align: "right", value: ({ revision }) => String(revision) },
    { title: "ATTEMPTS", align: "right", value: ({ attempts }) => String(attempts) },
    { title: "OPEN SPANS", align: "right", value: ({ liveSpans }) => String(liveSpans) },
    { title: "OUTBOX", align: "right", value: ({ backlog }) => String(backlog) },
    { title: "SNAPSHOT", align: "right", value: ({ snapshotBytes }) => `${(snapshotBytes / 1024).toFixed(1)} kB` },
    { title: "AGE", align: "right", value: ({ updatedMs }) => formatDuration(Math.max(nowMs - updatedMs, 0)) },
    { title: "REASON", value: ({ reason }) => reason ?? "" },
  ];
}
