import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { sqliteStore } from "@spanduct/store/sqlite";
import { storeContract } from "../../../../test/contract/store.ts";

storeContract("sqliteStore", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sqlite-store-"));
  const path = join(folder, "state.db");
  const change = async (sql: string, ...values: string[]): Promise<void> => {
    const database = new DatabaseSync(path);
    database.prepare(sql).run(...values);
    database.close();
  };
  return {
    host: (faults) => sqliteStore(path, { busyTimeoutMs: 10_000, ...(faults && { faults }) }),
    damage: (id) => change("update spanduct_states set snapshot = x'ff' where id = ?", id),
    age: () => change("update spanduct_schema set version = 99"),
    dispose: async () => rmSync(folder, { recursive: true }),
  };
});
