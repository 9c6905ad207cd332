import type { Level } from "@spanduct/protocol";
import type { EventCallSite } from "./call-site.ts";
import type { Value } from "./convert.ts";
import type { TracingEventSender } from "./sender.ts";
import type { Span } from "./span.ts";

/** Emit an event without declaring a call site. Any values will do; `message` is the first field. */
export type Log = {
  readonly [level in Level]: (message: string, values?: { readonly [field: string]: Value }, parent?: Span) => void;
};

/** Combinations of level and field names that get a call site of their own; beyond it values are left out. */
const MAX_SITES = 1024;

/**
 * Events by level: `log.info("rendered", { bytes })`. A call site is declared for each level and set of field names, so give the
 * same names at the same place; where speed counts, declare the call site yourself.
 */
export function createLog(sender: TracingEventSender, target?: string): Log {
  const sites = new Map<string, EventCallSite<string>>();
  const at =
    (level: Level): Log[Level] =>
    (message, values, parent) => {
      let fields = values === undefined ? [] : Object.keys(values).filter((field) => field !== "message");
      let key = `${level}\n${fields.join("\n")}`;
      let site = sites.get(key);
      if (site === undefined) {
        if (sites.size >= MAX_SITES) {
          fields = [];
          key = level;
        }
        site =
          sites.get(key) ??
          sender.event({ name: `${level} event`, level, fields: ["message", ...fields], ...(target && { target }) });
        sites.set(key, site);
      }
      site.emit({ ...values, message }, parent);
    };
  return { error: at("error"), warn: at("warn"), info: at("info"), debug: at("debug"), trace: at("trace") };
}
