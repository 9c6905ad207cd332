/**
 * Writes what this build stores, as a fixture that every later build has to load. Run it when the schema or a stored format has a new
 * version, with that version as the name; what is there is never written again.
 *
 *     node test/vectors/store/write.ts 1
 */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { sqliteStore } from "@spanduct/store/sqlite";
import { ScriptedHost, workflow } from "../../support/scripted-executions.ts";

const name = process.argv[2] ?? "";
const sqlPath = join(import.meta.dirname, `${name}.sql`);
if (name === "" || existsSync(sqlPath)) throw new Error(`a name that is not taken, not ${JSON.stringify(name)}`);

const folder = mkdtempSync(join(tmpdir(), "store-vector-"));
const path = join(folder, "state.db");
const host = new ScriptedHost(sqliteStore(path), { traces: "continuous" });
host.exportFailure = new Error("nothing is exported here");
const script = workflow(3);
await host.step("open", script);
await host.step("linked", script, { traces: "linked", pendingSpans: true });
await host.step("linked", script, { traces: "linked" });
await host.step("parked", script);
const parked = Object.assign(new Error("x"), { name: "TunnelError", code: "snapshot_mismatch", reason: "by hand" });
await host.step("parked", script, { fail: parked }).catch(() => undefined);
await host.finish("done", workflow(1));
await host.executions.drain().catch(() => undefined);
await host.executions.close();
writeFileSync(sqlPath, dump(path));

// What comes out of it in the end.
const last = new ScriptedHost(sqliteStore(path), { environment: { nowMs: () => Date.now() + 3_600_000 } });
await last.finish("open", script);
await last.finish("linked", script, { traces: "linked" });
await last.executions.drain();
await last.executions.close();
writeFileSync(join(import.meta.dirname, `${name}.json`), `${JSON.stringify(last.exported, null, 1)}\n`);
rmSync(folder, { recursive: true });

/** Statements that make the database again. */
function dump(path: string): string {
  const database = new DatabaseSync(path);
  const statements = ["begin;"];
  const objects = database
    .prepare("select name, type, sql from sqlite_master where name like 'spanduct%' order by type = 'index', rowid")
    .all() as { name: string; type: string; sql: string | null }[];
  for (const { sql } of objects) if (sql !== null) statements.push(`${sql};`);
  for (const { name, type } of objects) {
    if (type !== "table") continue;
    const columns = (database.prepare(`pragma table_info(${name})`).all() as { name: string }[]).map((column) => column.name);
    const values = columns.map((column) => `quote(${column})`).join(" || ', ' || ");
    const rows = database.prepare(`select ${values} as row from ${name}`).all() as { row: string }[];
    for (const { row } of rows) statements.push(`insert into ${name} (${columns.join(", ")}) values (${row});`);
  }
  database.close();
  return `${[...statements, "commit;"].join("\n")}\n`;
}
