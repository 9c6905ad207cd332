import type { FaultHook, StateStore } from "@spanduct/store";
import { postgresStore } from "@spanduct/store/postgres";
import { sqliteStore } from "@spanduct/store/sqlite";

/** The store at an address: `sqlite:<path>` or `postgres:<schema>:<address of the server>`. */
export function openAddress(address: string, faults?: FaultHook): StateStore {
  const options = faults && { faults };
  const [, kind, rest = ""] = /^(\w+):(.*)$/s.exec(address) ?? [];
  if (kind === "sqlite") return sqliteStore(rest, options);
  const [, schema, server = ""] = /^(\w+):(.*)$/s.exec(rest) ?? [];
  if (kind === "postgres" && schema !== undefined) return postgresStore(server, { schema, ...options });
  throw new Error(`no store at ${address}`);
}
