// Guest 1: a worker that renders Markdown files to HTML. Told in `workerData` what to read and where to write.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { workerData } from "node:worker_threads";
import { connect } from "@spanduct/sandbox/worker";
import { marked } from "marked";

const { root, documents, outDir } = workerData as { root: string; documents: string[]; outDir: string };

const tracing = connect({ target: "render-docs (worker)", captureConsole: true });
const renderDocs = tracing.span({ name: "render docs", fields: ["documents"] });
const renderDocument = tracing.span({ name: "render document", fields: ["path", "bytes", "html_bytes"] });
const parse = tracing.span({ name: "parse", level: "debug", fields: ["tokens"] });
const print = tracing.span({ name: "print", level: "debug" });
const long = tracing.event({ name: "long document", level: "warn", fields: ["message", "lines"] });

// What runs while something else is awaited names its parent; the rest finds it by itself.
const all = renderDocs.start({ documents: documents.length });
const waiting = [...documents];
await Promise.all([work(), work()]);
all.inScope(() => console.log(`${documents.length} documents rendered`));
all.close();

async function work(): Promise<void> {
  for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
    const span = renderDocument.start({ path }, all);
    const markdown = await readFile(join(root, path), "utf8");
    const html = span.inScope(() => render(markdown));
    span.record({ bytes: Buffer.byteLength(markdown), html_bytes: Buffer.byteLength(html) });
    const file = join(outDir, path.replace(/\.md$/, ".html"));
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, html);
    span.close();
  }
}

function render(markdown: string): string {
  const lines = markdown.split("\n").length;
  if (lines > 150) long.emit({ message: "a long document", lines });
  const tokens = parse.run(undefined, (span) => {
    const tokens = marked.lexer(markdown);
    span.record({ tokens: tokens.length });
    return tokens;
  });
  return print.run(undefined, () => marked.parser(tokens));
}
