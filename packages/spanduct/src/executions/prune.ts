import type { CommandDef } from "citty";
import { command } from "../command.ts";
import { parseDuration } from "../duration.ts";
import { Progress } from "../progress.ts";
import { printJson, STORE_OPTIONS, withExecutions } from "./options.ts";

const OPTIONS = {
  ...STORE_OPTIONS,
  "older-than": {
    type: "string",
    description: "Only those that have been done for so long: 30s, 5m, 12h, 7d",
    default: "0s",
    valueHint: "duration",
  },
} as const;

/** `spanduct executions prune` */
export const prune: CommandDef = command({
  meta: {
    name: "prune",
    description: "Remove executions that are done and exported, and call sites of programs that nobody uses",
  },
  args: OPTIONS,
  async run({ args }) {
    const olderThanMs = parseDuration(args["older-than"]);
    await withExecutions({ args, options: OPTIONS }, async (executions) => {
      const progress = new Progress(process.stderr, "executions removed", undefined);
      try {
        const pruned = await executions.prune({ olderThanMs, onProgress: ({ executions }) => progress.at(executions) });
        progress.end();
        if (args.json === true) return printJson(pruned);
        console.log(`${pruned.executions} executions removed, ${pruned.programs} programs`);
      } finally {
        progress.end();
      }
    });
  },
});
