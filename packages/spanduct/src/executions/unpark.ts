import type { CommandDef } from "citty";
import { command } from "../command.ts";
import { printJson, STORE_OPTIONS, withExecutions } from "./options.ts";

const OPTIONS = {
  id: { type: "positional", description: "Of the execution", required: true },
  ...STORE_OPTIONS,
} as const;

/** `spanduct executions unpark` */
export const unpark: CommandDef = command({
  meta: { name: "unpark", description: "Let a parked execution be run again, from the state that it has" },
  args: OPTIONS,
  async run({ args }) {
    await withExecutions({ args, options: OPTIONS }, async (executions) => {
      if (!(await executions.unpark(args.id))) throw new Error(`${JSON.stringify(args.id)} is not parked`);
      if (args.json === true) printJson({ id: args.id, status: "open" });
      else console.log(`${args.id} is open`);
    });
  },
});
