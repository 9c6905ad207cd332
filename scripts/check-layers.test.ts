import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { checkLayers } from "./check-layers.ts";

const TABLE = {
  "@fix/low": { packages: [], others: { lib: ["codec/"] } },
  "@fix/high": { packages: ["@fix/low"], others: { "node:*": ["worker"] } },
};

const roots: string[] = [];
afterEach(() => {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true });
});

/** A workspace in which everything is allowed, with these files put on top. */
function problemsWith(files: { readonly [path: string]: string | object }): string[] {
  const root = mkdtempSync(join(tmpdir(), "layers-"));
  roots.push(root);
  const all = {
    "packages/low/package.json": { name: "@fix/low", peerDependencies: { lib: "1" } },
    "packages/low/src/index.ts": 'export { a } from "./a.ts";\nexport type { B } from "./b.ts";\n',
    "packages/low/src/a.ts": 'import { type B, b } from "./b.ts";\nexport const a: B = b;\n',
    "packages/low/src/b.ts": 'import type { a } from "./a.ts";\nexport const b = 1;\n',
    "packages/low/src/codec/index.ts": 'import { pack } from "lib/pack";\n',
    "packages/low/src/a.test.ts": 'import { it } from "vitest";\nimport { a } from "./index.ts";\n',
    "packages/high/package.json": { name: "@fix/high", dependencies: { "@fix/low": "workspace:^" } },
    "packages/high/src/index.ts": 'import { a } from "@fix/low";\nexport * from "./worker.ts";\n',
    "packages/high/src/worker.ts": 'import { Worker } from "node:worker_threads";\n',
    "packages/bench/package.json": { name: "@fix/bench", private: true },
    "packages/bench/src/index.ts": 'import "anything";\n',
    ...files,
  };
  for (const [path, content] of Object.entries(all)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), typeof content === "string" ? content : JSON.stringify(content));
  }
  return checkLayers(root, TABLE);
}

describe("checkLayers", () => {
  it("accepts what the table allows, type-only cycles, and anything in tests and private packages", () => {
    expect(problemsWith({})).toEqual([]);
  });

  it.each([
    ["a value", 'import { h } from "@fix/high";'],
    ["a type", 'import type { H } from "@fix/high";'],
    ["several lines with a comment", 'import {\n  // what "it" needs\n  h,\n} from "@fix/high";'],
    ["a re-export", 'export { h } from "@fix/high";'],
    ["everything", 'export * from "@fix/high";'],
    ["a side effect", 'import "@fix/high";'],
    ["an import()", 'const h = await import("@fix/high");'],
    ["an import() with a comment", "const h = import(/* lazily */ `@fix/high`);"],
    ["a type by import()", 'let h: import("@fix/high").H;'],
    ["a subpath", 'import { h } from "@fix/high/sub";'],
  ])("refuses a lower layer that imports a higher one: %s", (_, line) => {
    const specifier = line.includes("sub") ? "@fix/high/sub" : "@fix/high";
    expect(problemsWith({ "packages/low/src/b.ts": `${line}\n` })).toEqual([
      `packages/low/src/b.ts: may not import ${specifier}`,
    ]);
  });

  it("refuses a third-party package, a Node module and Node's types outside the places that may use them", () => {
    const source = '/// <reference types="node" />\nimport { pack } from "lib";\nimport { readFileSync } from "node:fs";\n';
    expect(problemsWith({ "packages/low/src/b.ts": source })).toEqual([
      "packages/low/src/b.ts: may not import lib",
      "packages/low/src/b.ts: may not import node:fs",
      "packages/low/src/b.ts: may not import node",
    ]);
  });

  it("refuses an import that package.json does not declare, and a dependency that the table does not allow or nothing uses", () => {
    expect(
      problemsWith({
        "packages/low/package.json": { name: "@fix/low" },
        "packages/high/package.json": { name: "@fix/high", dependencies: { "@fix/low": "workspace:^", lodash: "4" } },
      }),
    ).toEqual([
      "packages/high/package.json: @fix/high may not depend on lodash",
      "packages/high/package.json: depends on lodash, which nothing imports",
      "packages/low/src/codec/index.ts: imports lib/pack, which packages/low/package.json does not declare",
    ]);
  });

  it("refuses cycles, an enclosing index.ts, the own package by name, other packages' files, and import() of a variable", () => {
    expect(problemsWith({ "packages/low/src/b.ts": 'import { a } from "./a.ts";\n' })).toEqual([
      "packages/low: import cycle a.ts → b.ts → a.ts",
    ]);
    expect(problemsWith({ "packages/low/src/codec/x.ts": 'import type { a } from "../index.ts";\n' })).toEqual([
      "packages/low/src/codec/x.ts: imports its own ../index.ts",
    ]);
    expect(problemsWith({ "packages/low/src/b.ts": 'import { a } from "@fix/low";\n' })).toEqual([
      "packages/low/src/b.ts: imports its own package by name (@fix/low)",
    ]);
    expect(problemsWith({ "packages/high/src/b.ts": 'import { a } from "../../low/src/a.ts";\n' })).toEqual([
      "packages/high/src/b.ts: ../../low/src/a.ts leaves the package; import it by name",
    ]);
    expect(problemsWith({ "packages/high/src/b.ts": 'import { a } from "@fix/low/src/a.ts";\n' })).toEqual([
      "packages/high/src/b.ts: @fix/low/src/a.ts goes around the exports of @fix/low",
    ]);
    expect(problemsWith({ "packages/high/src/b.ts": "const x = import(name);\n" })).toEqual([
      "packages/high/src/b.ts: import() of something that is not a literal",
    ]);
  });

  it("refuses a package without a row", () => {
    expect(problemsWith({ "packages/new/package.json": { name: "@fix/new" } })).toEqual([
      "packages/new/package.json: @fix/new has no row in the table of scripts/check-layers.ts",
    ]);
  });
});
