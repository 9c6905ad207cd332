import { execFileSync } from "node:child_process";
import { resolve } from "node:path";
import { expect, it } from "vitest";

const PACKAGE = resolve(import.meta.dirname, "../..");

it("a Node.js without node:sqlite is told so, when the store is opened and not before", () => {
  // The module that is not there, in a process of its own.
  const script = `
    import { registerHooks } from "node:module";
    registerHooks({
      resolve(specifier, context, next) {
        if (specifier === "node:sqlite") throw new Error("No such built-in module: node:sqlite");
        return next(specifier, context);
      },
    });
    const { sqliteStore } = await import("@spanduct/store/sqlite");
    const store = sqliteStore("never-made.db");
    await store.open().catch((error) => console.log(error.message));
  `;
  const printed = execFileSync(process.execPath, ["--input-type=module", "--no-warnings", "-"], {
    cwd: PACKAGE,
    input: script,
    encoding: "utf8",
  });
  expect(printed).toMatch(/^\[unsupported_version\] node:sqlite needs Node.js 22.13 or later, this is v/);
});
