import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { delimiter, join } from "node:path";
import { type Browser, chromium } from "playwright-core";

const COMMANDS = ["chromium", "chromium-browser", "google-chrome"];
const ARGUMENTS =
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync";

/** Where Chromium is installed; `undefined` when it is not. */
export function findChromium(): string | undefined {
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  return COMMANDS.flatMap((command) => folders.map((folder) => join(folder, command))).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** A new Chromium with a profile of its own, without a window. @throws Error when there is none */
export async function launchChromium(): Promise<Browser> {
  const executablePath = findChromium();
  if (executablePath === undefined) throw new Error(`none of ${COMMANDS.join(", ")} is in the PATH`);
  return chromium.launch({ executablePath, args: ARGUMENTS.split(" ") });
}

/** A web server on this machine. */
export interface Site extends AsyncDisposable {
  /** It answers as `localhost` and as `127.0.0.1`, which are different origins. */
  readonly port: number;
}

/**
 * Serve pages and modules: contents by path, `/index.html`, `/guest.js`. Each module is also a page, `/guest.html`, that loads it.
 *
 * @param isolated whether to send the headers without which pages get no `SharedArrayBuffer`
 */
export async function serveSite(
  files: ReadonlyMap<string, string>,
  { isolated = false, port = 0 }: { readonly isolated?: boolean; readonly port?: number } = {},
): Promise<Site> {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    response.setHeader("Content-Type", `${pathname.endsWith(".js") ? "text/javascript" : "text/html"}; charset=utf-8`);
    // Frames without an origin load modules too.
    response.setHeader("Access-Control-Allow-Origin", "*");
    if (isolated) {
      response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
      response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
      response.setHeader("Cross-Origin-Resource-Policy", "cross-origin");
    }
    response.end(files.get(pathname === "/" ? "/index.html" : pathname) ?? pageOf(pathname.replace(/html$/, "js")));
  });
  await once(server.listen(port), "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

function pageOf(module: string): string {
  return `<!doctype html><meta charset="utf-8"><body><script type="module" src="${module}"></script>`;
}
