import { type Level, LevelNumber } from "@spanduct/protocol";
import { debugText } from "./convert.ts";
import { createLog } from "./log.ts";
import type { TracingEventSender } from "./sender.ts";

/** Methods of `console` that are captured. */
export type ConsoleMethod = "error" | "warn" | "info" | "log" | "debug" | "trace";

/** What `captureConsole` needs of `globalThis.console`. */
export type ConsoleLike = { [method in ConsoleMethod]?: (...args: unknown[]) => void };

const LEVEL: Readonly<Record<ConsoleMethod, Level>> = {
  error: "error",
  warn: "warn",
  info: "info",
  log: "info",
  debug: "debug",
  trace: "trace",
};

/**
 * From now on what guest code writes to `console` is also sent as events of target `console`: the arguments as one message, the
 * first error among them in the field `error`. The console goes on to write as before.
 *
 * @returns a function that puts the console back
 */
export function captureConsole(sender: TracingEventSender, console: ConsoleLike): () => void {
  const log = createLog(sender, "console");
  const originals: ConsoleLike = {};
  for (const method of Object.keys(LEVEL) as ConsoleMethod[]) {
    const original = console[method];
    if (typeof original !== "function") continue;
    originals[method] = original;
    const level = LEVEL[method];
    console[method] = (...args) => {
      if (sender.emitter.wants(LevelNumber[level])) {
        const error = args.find(isError);
        log[level](args.map(text).join(" "), error && { error });
      }
      original.apply(console, args);
    };
  }
  return () => {
    Object.assign(console, originals);
  };
}

function isError(arg: unknown): arg is Error {
  try {
    return arg instanceof Error;
  } catch {
    // A proxy.
    return false;
  }
}

function text(arg: unknown): string {
  try {
    return isError(arg) ? `${arg.name}: ${arg.message}` : debugText(arg);
  } catch {
    return debugText(arg);
  }
}
