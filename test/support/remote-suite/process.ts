import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import type { RemoteRun, RemoteRuntime } from "./remote-suite.ts";
import type { RemoteResult } from "./stand-in.ts";

/** In front of lines that are results; guests write to the standard output as well. */
const MARK = "\u0001result ";

const RUNNER = `
import process from "node:process";
import { createInterface } from "node:readline";
import { run } from "./suite.js";

for await (const line of createInterface({ input: process.stdin })) {
  const index = Number(line);
  // Not awaited: one that hangs is no reason for the others to.
  run(index).then((result) => process.stdout.write("\\n" + ${JSON.stringify(MARK)} + JSON.stringify({ index, result }) + "\\n"));
}
`;

/**
 * A process of another runtime, started as `command ...args runner.js`.
 *
 * @param command path of its binary
 */
export function runtimeProcess(command: string, args: readonly string[], missing: string | undefined): RemoteRuntime {
  return {
    missing: missing ?? (existsSync(command) ? undefined : `${basename(command)} was not installed for this machine`),
    async load(modules) {
      const folder = mkdtempSync(join(tmpdir(), "remote-suite-"));
      writeFileSync(join(folder, "package.json"), `{ "type": "module" }`);
      for (const [name, code] of [...modules, ["runner.js", RUNNER] as const]) writeFileSync(join(folder, name), code);
      const child = spawn(command, [...args, join(folder, "runner.js")], { cwd: folder, stdio: ["pipe", "pipe", "pipe"] });
      return new ProcessRun(child, folder);
    },
  };
}

class ProcessRun implements RemoteRun {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #folder: string;
  readonly #asked = new Map<number, { done(result: RemoteResult): void; failed(error: Error): void }>();
  /** What it wrote besides results. */
  #output = "";
  /** Why it answers no more. */
  #end: Error | undefined;

  constructor(child: ChildProcessByStdio<Writable, Readable, Readable>, folder: string) {
    this.#child = child;
    this.#folder = folder;
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (!line.startsWith(MARK)) this.#output += `${line}\n`;
      else {
        const { index, result } = JSON.parse(line.slice(MARK.length)) as {
          readonly index: number;
          readonly result: RemoteResult;
        };
        this.#asked.get(index)?.done(result);
      }
    });
    child.stderr.setEncoding("utf8").on("data", (text) => (this.#output += text));
    child.on("error", (error) => this.#ended(error));
    child.on("exit", (exitCode) => this.#ended(new Error(`the runtime ended with exit code ${exitCode}: ${this.#output}`)));
  }

  #ended(error: Error): void {
    this.#end = error;
    for (const { failed } of this.#asked.values()) failed(error);
  }

  async run(index: number): Promise<RemoteResult> {
    if (this.#end !== undefined) throw this.#end;
    const result = new Promise<RemoteResult>((done, failed) => {
      this.#asked.set(index, { done, failed });
    });
    this.#child.stdin.write(`${index}\n`);
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#end === undefined) {
      const exit = once(this.#child, "exit");
      this.#child.kill("SIGKILL");
      await exit;
    }
    rmSync(this.#folder, { recursive: true });
  }
}
