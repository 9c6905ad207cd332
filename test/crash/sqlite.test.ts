import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect } from "vitest";
import { openAddress } from "./address.ts";
import { crashMatrix } from "./matrix.ts";

crashMatrix("crash matrix: SQLite", () => {
  const folder = mkdtempSync(join(tmpdir(), "crash-sqlite-"));
  const path = join(folder, "state.db");
  const address = `sqlite:${path}`;
  return {
    address,
    open: () => openAddress(address),
    check() {
      const database = new DatabaseSync(path);
      expect(database.prepare("pragma integrity_check").get()).toEqual({ integrity_check: "ok" });
      database.close();
    },
    dispose: () => rmSync(folder, { recursive: true }),
  };
});
