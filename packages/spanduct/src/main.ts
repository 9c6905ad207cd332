#!/usr/bin/env node
/** The command `spanduct`. Exit codes: 0 done, 1 it failed, 2 it was called wrongly. */
import { type CommandDef, defineCommand, runCommand, showUsage } from "citty";
import { executions } from "./executions/index.ts";
import { UsageError } from "./usage-error.ts";

// That node:sqlite may change is no news to who looks into a store with it.
process.removeAllListeners("warning");
process.on("warning", (warning) => {
  if (warning.name !== "ExperimentalWarning") console.error(String(warning));
});
// A reader that has seen enough (`| head`) is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exit();
});

const main = defineCommand({
  meta: { name: "spanduct", description: "Tracing out of sandboxes" },
  subCommands: { executions },
});

process.exitCode = await run(process.argv.slice(2));

async function run(rawArgs: readonly string[]): Promise<number> {
  const help = rawArgs.some((arg) => arg === "--help" || arg === "-h");
  const { command, names, rest, isGroup } = find(rawArgs);
  if (help || isGroup) {
    await showUsage(command, defineCommand({ meta: { name: names.slice(0, -1).join(" ") } }));
    if (!help && rest.length > 0) console.error(`error: there is no command ${[...names, rest[0]].join(" ")}`);
    return help || rest.length === 0 ? 0 : 2;
  }
  try {
    await runCommand(main, { rawArgs: [...rawArgs] });
    return 0;
  } catch (error) {
    const isUsage = error instanceof UsageError || (error as { readonly name?: unknown }).name === "CLIError";
    console.error(`error: ${error instanceof Error ? error.message : String(error)}`);
    if (isUsage) console.error(`see: ${names.join(" ")} --help`);
    return isUsage ? 2 : 1;
  }
}

/** The command that is meant, as far as there is one of that name, and what comes after its name. */
function find(rawArgs: readonly string[]): {
  readonly command: CommandDef;
  readonly names: readonly string[];
  readonly rest: readonly string[];
  readonly isGroup: boolean;
} {
  let command: CommandDef = main;
  const names = ["spanduct"];
  const rest = [...rawArgs];
  for (;;) {
    const subCommands = command.subCommands as { readonly [name: string]: CommandDef } | undefined;
    const [name = ""] = rest;
    const next = subCommands !== undefined && Object.hasOwn(subCommands, name) ? subCommands[name] : undefined;
    if (next === undefined) return { command, names, rest, isGroup: subCommands !== undefined };
    command = next;
    names.push(name);
    rest.shift();
  }
}
