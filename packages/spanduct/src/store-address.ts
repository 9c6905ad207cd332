import { existsSync } from "node:fs";
import type { StateStore } from "@spanduct/store";
import { postgresStore } from "@spanduct/store/postgres";
import { sqliteStore } from "@spanduct/store/sqlite";
import { UsageError } from "./usage-error.ts";

/**
 * The store at an address: `postgresql://user@host/database` (with `?schema=name`, default `spanduct`), or the path of an SQLite file,
 * which has to be there: nobody wants a new store for a typing error.
 *
 * @throws UsageError there is none
 */
export function openStore(address: string | undefined): StateStore {
  if (address === undefined || address === "") {
    throw new UsageError("which store? give --store <path or postgresql://…>, or set SPANDUCT_STORE");
  }
  if (/^postgres(ql)?:/.test(address)) {
    const url = new URL(address);
    const schema = url.searchParams.get("schema");
    url.searchParams.delete("schema");
    return postgresStore(url.href, schema === null ? {} : { schema });
  }
  const path = address.replace(/^sqlite:/, "");
  if (!existsSync(path)) throw new UsageError(`there is no file ${path}`);
  return sqliteStore(path);
}
