import type { Attributes } from "@opentelemetry/api";
import type { CommandDef } from "citty";
import { command } from "../command.ts";
import { Progress } from "../progress.ts";
import { fileSink, httpSink, type Sink } from "../sink.ts";
import { sinkRelay } from "../sink-relay.ts";
import { UsageError } from "../usage-error.ts";
import { printJson, STORE_OPTIONS, withExecutions } from "./options.ts";

const OPTIONS = {
  ...STORE_OPTIONS,
  otlp: { type: "string", description: "To a collector, as OTLP over HTTP: http://localhost:4318", valueHint: "url" },
  file: { type: "string", description: "To a file, appended as OTLP JSON lines", valueHint: "path" },
  service: {
    type: "string",
    description: "service.name of what is exported. Default: OTEL_SERVICE_NAME, else unknown_service",
    valueHint: "name",
  },
} as const;

/** `spanduct executions export` */
export const exportCommand: CommandDef = command({
  meta: {
    name: "export",
    description: "Export what is committed and not yet exported, for hosts that are gone. It is removed from the outbox then",
  },
  args: OPTIONS,
  async run({ args }) {
    const sink = sinkOf(args);
    const attributes = {
      "service.name": args.service ?? process.env["OTEL_SERVICE_NAME"] ?? "unknown_service",
      ...environment(),
    };
    const relay = sinkRelay(sink, attributes);
    await withExecutions(
      { args, options: OPTIONS },
      async (executions) => {
        const count = async (): Promise<number> => {
          let rows = 0;
          for await (const { backlog } of executions.list()) rows += backlog;
          return rows;
        };
        const total = await count();
        const progress = new Progress(process.stderr, "outbox rows", total);
        let exported = 0;
        try {
          await executions.drain({
            onProgress: (rows) => {
              exported = rows;
              progress.at(rows);
            },
          });
        } finally {
          progress.end();
        }
        const left = await count();
        if (args.json === true) return printJson({ exported, left, to: sink.name });
        console.log(`${exported} outbox rows exported to ${sink.name}`);
        if (left > 0) console.log(`${left} rows left: other hosts are exporting them, or they are of a later build`);
      },
      { relay, onError: (error) => console.error(String(error)) },
    );
  },
});

function sinkOf({ otlp, file }: { readonly otlp?: string | undefined; readonly file?: string | undefined }): Sink {
  if ((otlp === undefined) === (file === undefined)) throw new UsageError("where to? give either --otlp <url> or --file <path>");
  return file === undefined ? httpSink(otlp as string) : fileSink(file);
}

/** `OTEL_RESOURCE_ATTRIBUTES`: `key=value,key=value`, values percent-encoded. */
function environment(): Attributes {
  const pairs = (process.env["OTEL_RESOURCE_ATTRIBUTES"] ?? "").split(",").filter((pair) => pair.includes("="));
  return Object.fromEntries(
    pairs.map((pair) => {
      const [key = "", value = ""] = pair.split("=");
      return [key.trim(), decodeURIComponent(value.trim())];
    }),
  );
}
