import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { sqliteStore } from "@spanduct/store/sqlite";
import { describe, expect, it } from "vitest";
import { ScriptedHost, workflow } from "../../../../test/support/scripted-executions.ts";
import { MIGRATIONS } from "./migrations.ts";

const VECTORS = resolve(import.meta.dirname, "../../../../test/vectors/store");
const versions = readdirSync(VECTORS)
  .filter((file) => file.endsWith(".sql"))
  .map((file) => file.slice(0, -".sql".length));

describe("state that released builds have stored", () => {
  it("there is a recording of every version of the schema", () => {
    expect(versions.map(Number).sort()).toEqual(MIGRATIONS.map((_, i) => i + 1));
  });

  it.each(versions)("version %s is loaded, listed, finished and exported as it was then", async (version) => {
    const folder = mkdtempSync(join(tmpdir(), "upgrade-"));
    try {
      const path = join(folder, "state.db");
      const database = new DatabaseSync(path);
      database.exec(readFileSync(join(VECTORS, `${version}.sql`), "utf8"));
      database.close();
      const host = new ScriptedHost(sqliteStore(path), { environment: { nowMs: () => Number.MAX_SAFE_INTEGER / 2 } });
      const script = workflow(3);
      expect(await host.executions.inspect("open")).toMatchObject({
        revision: 1,
        spans: [{ name: "workflow" }, { name: "step" }],
      });
      expect(await host.executions.inspect("parked")).toMatchObject({ status: "parked", reason: "by hand" });
      await host.finish("open", script);
      await host.finish("linked", script, { traces: "linked" });
      await host.executions.drain();
      const byIdentity = (spans: readonly { traceId: string; spanId: string }[]): unknown =>
        Object.fromEntries(spans.map((span) => [`${span.traceId}/${span.spanId}`, span]));
      const recorded = JSON.parse(readFileSync(join(VECTORS, `${version}.json`), "utf8"));
      expect(byIdentity(JSON.parse(JSON.stringify(host.exported)))).toEqual(byIdentity(recorded));
      expect(host.exported).toHaveLength(recorded.length);
      expect(host.errors).toEqual([]);
      await host.executions.close();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
