/**
 * Holds the layers of ARCHITECTURE.md: what each package may import, by value or by type, and declare in its package.json. Also
 * refuses cycles between the files of a package and imports of an enclosing `index.ts`. Tests are free.
 *
 *     node scripts/check-layers.ts [root]
 */
import { globSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, resolve, sep } from "node:path";

export interface Layer {
  /** Packages of this workspace that it may import. */
  readonly packages: readonly string[];
  /** Third-party packages and Node modules, and the parts of `src/` that may import them ("" for all of it). */
  readonly others?: { readonly [name: string]: readonly string[] };
}

/** Top row first. A package that is not private and not listed is refused. */
export const LAYERS: { readonly [name: string]: Layer } = {
  "@spanduct/protocol": { packages: [] },
  "@spanduct/transport": { packages: ["@spanduct/protocol"], others: { ws: ["websocket"] } },
  "@spanduct/sender": {
    packages: ["@spanduct/protocol", "@spanduct/transport"],
    others: { "@opentelemetry/api": ["otel"], "@opentelemetry/api-logs": ["otel"] },
  },
  "@spanduct/receiver": { packages: ["@spanduct/protocol"] },
  "@spanduct/opentelemetry": {
    packages: ["@spanduct/protocol", "@spanduct/receiver"],
    others: { "@opentelemetry/api": [""], "@opentelemetry/api-logs": [""] },
  },
  "@spanduct/sandbox": {
    packages: ["@spanduct/protocol", "@spanduct/transport", "@spanduct/sender", "@spanduct/receiver"],
    others: {
      "node:*": ["worker", "vm", "process", "temporal"],
      "@extism/extism": [],
      "@temporalio/workflow": ["temporal"],
      "quickjs-emscripten-core": ["quickjs"],
      "quickjs-wasi": ["quickjs-wasi"],
    },
  },
  "@spanduct/store": {
    packages: ["@spanduct/protocol", "@spanduct/receiver", "@spanduct/opentelemetry"],
    others: { "@opentelemetry/api": [""], "node:*": [""], pg: ["postgres"] },
  },
  spanduct: {
    packages: ["@spanduct/opentelemetry", "@spanduct/store"],
    others: { "@opentelemetry/api": [""], "node:*": [""], citty: [""], pg: [] },
  },
  // In AssemblyScript: its sources have no imports but their own.
  "@spanduct/guest-assemblyscript": { packages: [], others: { assemblyscript: [] } },
  "@spanduct/guest-c": { packages: [] },
};

interface Import {
  readonly specifier: string;
  /** Loaded together with the file that imports it: neither a type nor an `import()`. */
  readonly eager: boolean;
}

// The formatter puts every declaration at the start of a line, so these need not parse.
const COMMENT = String.raw`\/\/[^\n]*\n|\/\*[\s\S]*?\*\/`;
const DECLARATION = new RegExp(
  String.raw`^[ \t]*(?:import|export)\s+((?:[\w$\s{},*]|${COMMENT})+?\bfrom\s*)?["']([^"'\n]+)["']`,
  "gm",
);
const DYNAMIC = new RegExp(String.raw`\bimport\s*\((?!\s*\))\s*(?:(?:${COMMENT})\s*)*(?:(["'\x60])([^"'\x60$]*)\1)?`, "g");
const REFERENCE = /^\/\/\/\s*<reference\s+(?:types|path)=["']([^"']+)["']/gm;

/** Everything that a source file imports; `undefined` stands for an `import()` of something that is not a literal. */
function importsOf(source: string): (Import | undefined)[] {
  const found: (Import | undefined)[] = [];
  for (const [, clause, specifier] of source.matchAll(DECLARATION)) {
    found.push({ specifier: specifier as string, eager: clause?.startsWith("type ") !== true });
  }
  for (const [, , specifier] of source.matchAll(DYNAMIC)) {
    found.push(specifier === undefined ? undefined : { specifier, eager: false });
  }
  for (const [, specifier] of source.matchAll(REFERENCE)) found.push({ specifier: specifier as string, eager: false });
  return found;
}

/** What breaks the layers under `root`, one line each; empty when nothing does. */
export function checkLayers(root: string, layers: typeof LAYERS): string[] {
  const problems: string[] = [];
  for (const manifestPath of globSync("packages/**/package.json", {
    cwd: root,
    exclude: ["**/node_modules", "**/dist"],
  }).sort()) {
    const manifest = JSON.parse(readFileSync(join(root, manifestPath), "utf8")) as Manifest;
    if (manifest.private === true) continue;
    const layer = layers[manifest.name];
    if (layer === undefined)
      problems.push(`${manifestPath}: ${manifest.name} has no row in the table of scripts/check-layers.ts`);
    else checkPackage(root, dirname(manifestPath), manifest, layer, layers, problems);
  }
  return problems;
}

interface Manifest {
  readonly name: string;
  readonly private?: boolean;
  readonly dependencies?: { readonly [name: string]: string };
  readonly peerDependencies?: { readonly [name: string]: string };
}

function checkPackage(
  root: string,
  folder: string,
  manifest: Manifest,
  layer: Layer,
  layers: typeof LAYERS,
  problems: string[],
): void {
  const { name, dependencies = {}, peerDependencies = {} } = manifest;
  const declared = new Set([...Object.keys(dependencies), ...Object.keys(peerDependencies)]);
  for (const dependency of declared) {
    if (!layer.packages.includes(dependency) && layer.others?.[dependency] === undefined) {
      problems.push(`${folder}/package.json: ${name} may not depend on ${dependency}`);
    }
  }

  const source = resolve(root, folder, "src") + sep;
  const used = new Set<string>();
  const graph = new Map<string, string[]>();
  for (const path of globSync("**/*.{ts,tsx,mts,cts,js,mjs,cjs}", { cwd: source, exclude: ["**/*.test.ts"] }).sort()) {
    const file = join(source, path);
    const where = `${folder}/src/${path}`;
    const neighbours: string[] = [];
    graph.set(file, neighbours);
    for (const found of importsOf(readFileSync(file, "utf8"))) {
      if (found === undefined) {
        problems.push(`${where}: import() of something that is not a literal`);
        continue;
      }
      const { specifier, eager } = found;
      if (specifier.startsWith(".")) {
        const target = resolve(dirname(file), specifier);
        if (!target.startsWith(source)) problems.push(`${where}: ${specifier} leaves the package; import it by name`);
        else if (isEnclosingIndex(target, file)) problems.push(`${where}: imports its own ${specifier}`);
        else if (eager) neighbours.push(target);
        continue;
      }
      const dependency = packageOf(specifier);
      used.add(dependency);
      if (dependency === name) problems.push(`${where}: imports its own package by name (${specifier})`);
      else if (!mayImport(layer, dependency, path)) problems.push(`${where}: may not import ${specifier}`);
      else if (!isBuiltin(specifier) && !declared.has(dependency)) {
        problems.push(`${where}: imports ${specifier}, which ${folder}/package.json does not declare`);
      }
      if (layers[dependency] !== undefined && specifier.startsWith(`${dependency}/src`)) {
        problems.push(`${where}: ${specifier} goes around the exports of ${dependency}`);
      }
    }
  }
  for (const dependency of Object.keys(dependencies)) {
    // What may be imported nowhere is there for another package, whose optional peer it is.
    if (!used.has(dependency) && layer.others?.[dependency]?.length !== 0)
      problems.push(`${folder}/package.json: depends on ${dependency}, which nothing imports`);
  }
  for (const cycle of cyclesOf(graph)) {
    problems.push(`${folder}: import cycle ${cycle.map((file) => file.slice(source.length)).join(" → ")}`);
  }
}

/** Whether `target` is the `index.ts` of the folder of `file` or of one above it. */
function isEnclosingIndex(target: string, file: string): boolean {
  return target !== file && /[\\/]index\.\w+$/.test(target) && file.startsWith(dirname(target) + sep);
}

function packageOf(specifier: string): string {
  if (specifier.startsWith("node:")) return specifier;
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

function mayImport(layer: Layer, dependency: string, path: string): boolean {
  if (layer.packages.includes(dependency)) return true;
  const parts = layer.others?.[dependency] ?? (isBuiltin(dependency) ? layer.others?.["node:*"] : undefined);
  return parts?.some((part) => path.startsWith(part)) === true;
}

/** Each cycle once, as the files along it with the first one repeated at the end. */
function cyclesOf(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const cycles: string[][] = [];
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): void => {
    const at = path.indexOf(file);
    if (at >= 0) {
      cycles.push([...path.slice(at), file]);
      return;
    }
    if (done.has(file)) return;
    path.push(file);
    for (const neighbour of graph.get(file) ?? []) visit(neighbour);
    path.pop();
    done.add(file);
  };
  for (const file of graph.keys()) visit(file);
  return cycles;
}

if (import.meta.main) {
  const problems = checkLayers(process.argv[2] ?? resolve(import.meta.dirname, ".."), LAYERS);
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) process.exitCode = 1;
  else console.log(`layers: ${Object.keys(LAYERS).length} rows hold`);
}
