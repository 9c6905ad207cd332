import { type Level, LevelNumber } from "@spanduct/protocol";
import type { EventCallSite } from "./call-site.ts";
import type { Value } from "./convert.ts";
import type { TracingEventSender } from "./sender.ts";
import type { Span } from "./span.ts";

/** Emit an event without declaring a call site. Any values will do; `message` is the first field. */
export type Log = {
  readonly [level in Level]: (message: string, values?: LogValues, parent?: Span) => void;
};

type LogValues = { readonly [field: string]: Value };

/** Combinations of level and field names that get a call site of their own; beyond it values are left out. */
const MAX_SITES = 1024;
/** Hosts take no more in one record, and the message is one of them. */
const MAX_FIELDS = 31;

/**
 * Events by level: `log.info("rendered", { bytes })`. A call site is declared for each level and set of field names, so give the
 * same names at the same place; where speed counts, declare the call site yourself. Values beyond 31 are left out.
 */
export function createLog(sender: TracingEventSender, target?: string): Log {
  const sites = new Map<string, EventCallSite<string>>();
  /** A name as Rust's macros make them up for events that have none. */
  const nameOf = (level: Level) => `event ${target ?? "log"}:${LevelNumber[level]}`;

  function siteOf(level: Level, fields: readonly string[]): EventCallSite<string> {
    const key = JSON.stringify([level, ...fields]);
    let site = sites.get(key);
    if (site === undefined) {
      if (sites.size >= MAX_SITES && fields.length > 0) return siteOf(level, []);
      site = sender.event({ name: nameOf(level), level, fields: ["message", ...fields], ...(target && { target }) });
      sites.set(key, site);
    }
    return site;
  }

  function emit(level: Level, message: string, values: LogValues, parent: Span | undefined): void {
    const fields = Object.keys(values).filter((field) => field !== "message");
    siteOf(level, fields.slice(0, MAX_FIELDS)).emit({ ...values, message }, parent);
  }

  const at =
    (level: Level): Log[Level] =>
    (message, values = {}, parent) => {
      if (!sender.emitter.wants(LevelNumber[level])) return;
      try {
        emit(level, message, values, parent);
      } catch {
        // A getter of the values threw.
        emit(level, message, {}, parent);
      }
    };
  return { error: at("error"), warn: at("warn"), info: at("info"), debug: at("debug"), trace: at("trace") };
}
