import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const COMMAND = resolve(import.meta.dirname, "../dist/main.js");
const VECTOR = resolve(import.meta.dirname, "../../../test/vectors/store/1.sql");

let folder: string;
let store: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "spanduct-command-"));
  store = join(folder, "state.db");
  const database = new DatabaseSync(store);
  database.exec(readFileSync(VECTOR, "utf8"));
  database.close();
});
afterEach(() => rmSync(folder, { recursive: true }));

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function spanduct(...args: string[]): Promise<Result> {
  const env = { ...process.env, SPANDUCT_STORE: store, NO_COLOR: "1" };
  return new Promise((resolve) => {
    execFile(process.execPath, [COMMAND, ...args], { env, cwd: folder }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

const json = ({ stdout }: Result): unknown[] =>
  stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

describe("spanduct executions", () => {
  it("list prints what is stored, as a table or as JSON lines", async () => {
    const { stdout, stderr, code } = await spanduct("executions", "list");
    expect([stderr, code]).toEqual(["", 0]);
    const lines = stdout.trimEnd().split("\n");
    expect(lines[0]).toMatch(/^ID +PROGRAM +STATUS +REVISION +ATTEMPTS +OPEN SPANS +OUTBOX +SNAPSHOT +AGE +REASON$/);
    expect(lines.slice(1).map((line) => line.split(/ +/).slice(0, 7))).toEqual([
      ["done", "script@1", "done", "1", "1", "0", "1"],
      ["linked", "script@1", "open", "2", "2", "2", "2"],
      ["open", "script@1", "open", "1", "1", "2", "1"],
      ["parked", "script@1", "parked", "1", "2", "2", "2"],
    ]);
    expect(json(await spanduct("executions", "list", "--status", "parked", "--json"))).toMatchObject([
      { id: "parked", status: "parked", reason: "by hand", revision: 1 },
    ]);
    expect(json(await spanduct("executions", "list", "--limit", "2", "--json"))).toHaveLength(2);
    expect((await spanduct("executions", "list", "--program", "none")).stderr).toBe("no executions\n");
  });

  it("show prints an execution with its open spans as a tree", async () => {
    const { stdout } = await spanduct("executions", "show", "open");
    expect(stdout).toMatch(/^id +open$/m);
    expect(stdout).toMatch(/^revision +1$/m);
    expect(stdout).toMatch(/^ +\d+d {2}[0-9a-f]{32}\/[0-9a-f]{16} {2}workflow \[guest\] \(inside\) a=3$/m);
    expect(stdout).toMatch(/ {4}step \[guest\] a=waits$/m);
    expect(json(await spanduct("executions", "show", "open", "--json"))).toMatchObject([
      { id: "open", liveSpans: 2, spans: [{ name: "workflow", entered: true }, { name: "step" }] },
    ]);
    expect(await spanduct("executions", "show", "none")).toMatchObject({ code: 1, stderr: expect.stringContaining('"none"') });
  });

  it("looking takes nothing out of the outbox", async () => {
    for (const args of [["list"], ["show", "open"], ["unpark", "parked"], ["prune"]]) await spanduct("executions", ...args);
    const left = json(await spanduct("executions", "list", "--json")) as { backlog: number }[];
    expect(left.map(({ backlog }) => backlog)).toEqual([1, 2, 1, 2]);
  });

  it("export appends OTLP JSON lines to a file, each row once", async () => {
    const file = join(folder, "out.jsonl");
    const done = await spanduct("executions", "export", "--file", file, "--service", "shop");
    expect(done).toEqual({ code: 0, stderr: "", stdout: `6 outbox rows exported to ${file}\n` });
    const requests = readFileSync(file, "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    const spans = requests.flatMap(({ resourceSpans: [{ scopeSpans }] }) =>
      scopeSpans.flatMap(({ spans }: { spans: unknown[] }) => spans),
    );
    expect(spans.length).toBeGreaterThan(10);
    expect(requests[0].resourceSpans[0].resource.attributes).toEqual([{ key: "service.name", value: { stringValue: "shop" } }]);
    expect(json(await spanduct("executions", "export", "--file", file, "--json"))).toEqual([{ exported: 0, left: 0, to: file }]);
  });

  it("export sends OTLP to a collector; one that refuses leaves everything where it was", async () => {
    const bodies: { resourceSpans?: unknown }[] = [];
    let status = 503;
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request
        .on("data", (chunk) => chunks.push(chunk))
        .on("end", () => {
          if (status === 200) bodies.push(JSON.parse(Buffer.concat(chunks).toString()));
          response.writeHead(status).end("busy");
        });
      expect(request.url).toBe("/v1/traces");
    });
    await once(server.listen(0), "listening");
    const url = `http://localhost:${(server.address() as AddressInfo).port}`;
    const refused = await spanduct("executions", "export", "--otlp", url);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("503: busy") });
    expect(json(await spanduct("executions", "list", "--json"))).toMatchObject([{ backlog: 1 }, {}, {}, {}]);
    status = 200;
    expect(json(await spanduct("executions", "export", "--otlp", url, "--json"))).toMatchObject([{ exported: 6, left: 0 }]);
    expect(bodies.every(({ resourceSpans }) => resourceSpans !== undefined)).toBe(true);
    expect(bodies.length).toBeGreaterThan(0);
    server.close();
  });

  it("prune removes what is done and exported, unpark lets a parked execution run", async () => {
    expect((await spanduct("executions", "unpark", "parked")).stdout).toBe("parked is open\n");
    expect(await spanduct("executions", "unpark", "parked")).toMatchObject({ code: 1 });
    await spanduct("executions", "export", "--file", "out.jsonl");
    expect((await spanduct("executions", "prune", "--older-than", "99999d")).stdout).toBe("0 executions removed, 0 programs\n");
    expect(json(await spanduct("executions", "prune", "--json"))).toEqual([{ executions: 1, programs: 0 }]);
    const left = json(await spanduct("executions", "list", "--json")) as { id: string }[];
    expect(left.map(({ id }) => id)).toEqual(["linked", "open", "parked"]);
  });

  it("a call that is wrong says how it is right, with exit code 2, and makes no store", async () => {
    for (const [args, reason] of [
      [["executions", "list", "--store", "nowhere.db"], "there is no file nowhere.db"],
      [["executions", "list", "--bogus"], "there is no option --bogus"],
      [["executions", "list", "too", "much"], 'what is "too" for?'],
      [["executions", "list", "--status", "lost"], "status is open, done or parked"],
      [["executions", "show"], "Missing required positional argument"],
      [["executions", "prune", "--older-than", "long"], "long is no duration"],
      [["executions", "export"], "either --otlp <url> or --file <path>"],
      [["executions", "explode"], "there is no command spanduct executions explode"],
      [["explode"], "there is no command spanduct explode"],
    ] as const) {
      const { code, stderr } = await spanduct(...args);
      expect([args, code, stderr]).toEqual([args, 2, expect.stringContaining(reason)]);
    }
    expect(existsSync(join(folder, "nowhere.db"))).toBe(false);
  });

  it("help is there for every command, and names it as it is called", async () => {
    expect(await spanduct()).toMatchObject({ code: 0, stdout: expect.stringContaining("executions") });
    expect((await spanduct("executions")).stdout).toContain("list|show|export|prune|unpark");
    for (const name of ["list", "show", "export", "prune", "unpark"]) {
      const { stdout, code } = await spanduct("executions", name, "--help");
      expect(code).toBe(0);
      expect(stdout).toContain(`spanduct executions ${name}`);
      expect(stdout).toContain("--store");
    }
  });
});
