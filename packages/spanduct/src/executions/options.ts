import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { Executions, type ExecutionsOptions } from "@spanduct/store";
import type { ArgsDef } from "citty";
import { openStore } from "../store-address.ts";
import { UsageError } from "../usage-error.ts";

/** What every command of `executions` takes. */
export const STORE_OPTIONS = {
  store: {
    type: "string",
    description: "SQLite file, or postgresql://user@host/database[?schema=name]. Default: SPANDUCT_STORE",
    valueHint: "store",
  },
  json: { type: "boolean", description: "Print JSON, one object a line" },
} as const;

/** What was given on the command line. */
interface Args {
  readonly _: readonly string[];
  readonly [name: string]: unknown;
}

/**
 * Do something with the executions of a store. Nothing is exported by itself.
 *
 * @throws UsageError for an option that the command does not have
 */
export async function withExecutions(
  { args, options }: { readonly args: Args; readonly options: ArgsDef },
  action: (executions: Executions) => Promise<void>,
  more: Partial<ExecutionsOptions> = {},
): Promise<void> {
  const positional = Object.values(options).filter(({ type }) => type === "positional").length;
  for (const name of Object.keys(args)) {
    // Options of several words are there in camel case too.
    const dashed = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    if (name !== "_" && !Object.hasOwn(options, dashed)) throw new UsageError(`there is no option --${dashed}`);
  }
  if (args._.length > positional) throw new UsageError(`what is ${JSON.stringify(args._[positional])} for?`);
  const store = openStore((args["store"] as string | undefined) ?? process.env["SPANDUCT_STORE"]);
  const executions = new Executions({
    store,
    relay: new OpenTelemetryRelay({ spanProcessors: [] }),
    exports: "drain",
    ...more,
  });
  try {
    await action(executions);
  } finally {
    await executions.close();
  }
}

/** Plain data as one line of JSON. Big integers, which ids may be, are digits in a text. */
export function printJson(value: unknown): void {
  console.log(JSON.stringify(value, (_key, part: unknown) => (typeof part === "bigint" ? String(part) : part)));
}
