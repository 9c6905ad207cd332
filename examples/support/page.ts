import { globSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { build } from "esbuild";
import { findChromium, launchChromium, serveSite } from "./chromium.ts";
import { skipExample } from "./index.ts";

/** What a page that is opened by hand shows of its console. */
const PAGE = `<!doctype html>
<meta charset="utf-8">
<pre></pre>
<script>
  const { log } = console;
  console.log = (line) => { log(line); document.querySelector("pre").append(line, "\\n"); };
  onerror = onunhandledrejection = (event) => { console.log(String(event.reason ?? event)); document.title = "failed"; };
</script>
<script type="module" src="/page.js"></script>
`;

/**
 * Run the example whose `page.ts` lies in `folder` in Chromium: prints what the page writes to its console, until that sets its title.
 * With `--serve` on the command line it only serves the page, for any browser. Every other module there is a bundle of its own.
 */
export async function runPage(folder: string, options: { readonly isolated?: boolean } = {}): Promise<void> {
  const files = new Map([["/index.html", PAGE]]);
  for (const [name, code] of await bundles(folder)) files.set(`/${name}`, code);
  const { values } = parseArgs({ options: { serve: { type: "boolean" }, port: { type: "string" } } });
  if (values.serve === true) {
    const { port } = await serveSite(files, { ...options, port: Number(values.port ?? 8080) });
    return console.log(`http://localhost:${port}/`);
  }

  if (findChromium() === undefined) skipExample("there is no Chromium in the PATH");
  await using site = await serveSite(files, options);
  await using browser = await launchChromium();
  const page = await browser.newPage();
  page.on("console", (message) => {
    // Not what frames and workers write.
    if (message.location().url === page.url()) console.log(message.text());
  });
  await page.goto(`http://localhost:${site.port}/`);
  await page.waitForFunction(() => document.title !== "");
  if ((await page.title()) === "failed") process.exitCode = 1;
}

async function bundles(folder: string): Promise<Map<string, string>> {
  const { outputFiles } = await build({
    entryPoints: globSync("*.ts", { cwd: folder, exclude: ["main.ts"] }).map((file) => join(folder, file)),
    bundle: true,
    format: "esm",
    platform: "browser",
    // The printer of traces asks it for colours.
    alias: { "node:util": join(import.meta.dirname, "node-util-in-page.ts") },
    outdir: folder,
    write: false,
  });
  return new Map(outputFiles.map(({ path, text }) => [basename(path), text]));
}
