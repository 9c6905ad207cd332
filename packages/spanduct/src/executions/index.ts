import type { CommandDef } from "citty";
import { command } from "../command.ts";
import { exportCommand } from "./export.ts";
import { list } from "./list.ts";
import { prune } from "./prune.ts";
import { show } from "./show.ts";
import { unpark } from "./unpark.ts";

/** `spanduct executions` */
export const executions: CommandDef = command({
  meta: { name: "executions", description: "Durable executions in a store: look at them, export what they left, tidy up" },
  subCommands: { list, show, export: exportCommand, prune, unpark },
});
