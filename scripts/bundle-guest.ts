/**
 * Bundles the guest half of the sandboxes that load it as one script (`@spanduct/sandbox/quickjs`, `/vm`) into a module that
 * exports it as text. Part of the build, after tsc.
 *
 *     node scripts/bundle-guest.ts
 */
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { build } from "esbuild";

const folder = resolve(import.meta.dirname, "../packages/sandbox/dist");
const { outputFiles } = await build({
  stdin: { contents: 'import { install } from "./guest-script.js"; install(globalThis);', resolveDir: folder },
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2022",
  platform: "neutral",
  write: false,
});
const [bundle] = outputFiles;
if (bundle === undefined) throw new Error("esbuild wrote nothing");
writeFileSync(join(folder, "guest-bundle.js"), `export const GUEST_BUNDLE = ${JSON.stringify(bundle.text)};\n`);
