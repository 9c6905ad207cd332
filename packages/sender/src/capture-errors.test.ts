import { spawnSync } from "node:child_process";
import { resolve } from "node:path";
import type { TracedError } from "@spanduct/protocol";
import { describe, expect, it } from "vitest";
import { RecordingHost } from "../../../test/support/recording-host.ts";
import { chromiumPage } from "../../../test/support/remote-suite/chromium.ts";
import { remoteSuite } from "../../../test/support/remote-suite/remote-suite.ts";
import { batches } from "./batches.ts";
import { captureErrors, type NodeProcess, type ThrownEvent, uncaughtErrors, type WebScope } from "./capture-errors.ts";
import { TracingEventSender } from "./sender.ts";

await remoteSuite("Chromium", chromiumPage(), {
  suite: resolve(import.meta.dirname, "../test/capture-errors-suite.ts"),
  platform: "browser",
});

function guest(options: { readonly isWatched?: boolean } = {}) {
  const host = new RecordingHost();
  const sender = new TracingEventSender(
    batches((batch) => host.send(batch)),
    options,
  );
  /** What arrived without a flush of the test's. */
  const errors = (): TracedError[] =>
    host.events.flatMap((event) => {
      if (!("new_event" in event)) return [];
      const value = event.new_event.values["error"];
      return value !== undefined && "error" in value ? [value.error] : [];
    });
  return { sender, host, errors };
}

/** A scope with the events of the web's. */
class Scope implements WebScope {
  readonly #listeners = new Map<string, Set<(event: ThrownEvent) => void>>();

  addEventListener(event: string, listener: (event: ThrownEvent) => void): void {
    this.#listeners.set(event, (this.#listeners.get(event) ?? new Set()).add(listener));
  }

  removeEventListener(event: string, listener: (event: ThrownEvent) => void): void {
    this.#listeners.get(event)?.delete(listener);
  }

  dispatch(type: string, event: Omit<ThrownEvent, "type">): void {
    for (const listener of this.#listeners.get(type) ?? []) listener({ type, ...event });
  }
}

/** The real thing: a process of its own that runs `code` with a sender whose batches it prints as it ends. */
function run(code: string): { readonly status: number | null; readonly stderr: string; readonly errors: readonly TracedError[] } {
  const program = `
    import { captureErrors, TracingEventSender } from ${JSON.stringify(resolve(import.meta.dirname, "../dist/index.js"))};
    const errors = [];
    process.on("exit", () => process.stdout.write(JSON.stringify(errors)));
    const sender = new TracingEventSender((event) => { if (event.new_event) errors.push(event.new_event.values.error.error); });
    const stop = captureErrors(sender, process);
    ${code}
  `;
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
  return { status, stderr, errors: JSON.parse(stdout) as TracedError[] };
}

describe("captureErrors", () => {
  it("of a scope of the web's sends errors and rejections with their stack and causes, at once, until it is stopped", () => {
    const { sender, host, errors } = guest();
    const scope = new Scope();
    const stop = captureErrors(sender, scope);
    function breakDown(): Error {
      return new RangeError("too far", { cause: new TypeError("because") });
    }
    scope.dispatch("error", { error: breakDown(), message: "Uncaught RangeError: too far" });
    scope.dispatch("error", { error: null, message: "Script error." });
    scope.dispatch("unhandledrejection", { reason: new Error("rejected") });
    scope.dispatch("unhandledrejection", { reason: 5 });
    scope.dispatch("unhandledrejection", {});
    expect(errors()).toMatchObject([
      { type: "RangeError", message: "too far", stack: expect.stringContaining("breakDown"), source: { message: "because" } },
      { message: "Script error." },
      { message: "rejected" },
      { message: "5" },
      { message: "undefined" },
    ]);
    expect(host.events[0]).toMatchObject({ new_call_site: { name: "exception", level: "error", target: "guest" } });
    stop();
    scope.dispatch("error", { error: new Error("later") });
    expect(errors()).toHaveLength(5);
  });

  it.each([
    ["an error", `setTimeout(function timer() { throw new RangeError("late", { cause: new Error("deep") }); });`],
    ["a rejection", `(async function timer() { throw new RangeError("late", { cause: new Error("deep") }); })();`],
  ])("of Node's process sends %s, and the process ends as it would have", (_, code) => {
    const { status, stderr, errors } = run(code);
    expect(errors).toMatchObject([
      { type: "RangeError", message: "late", stack: expect.stringContaining("timer"), source: { message: "deep" } },
    ]);
    expect(status).toBe(1);
    expect(stderr).toContain("RangeError: late");
  });

  it("of Node's process sends what a listener of the application's takes care of, and it goes on", () => {
    const { status, errors } = run(`
      process.on("uncaughtException", () => undefined);
      setTimeout(() => { throw new Error("first"); });
      setTimeout(() => { stop(); }, 5);
      setTimeout(() => { throw new Error("second"); }, 10);
    `);
    expect(errors).toMatchObject([{ message: "first" }]);
    expect(status).toBe(0);
  });

  it("leaves it to a host that sees for itself", () => {
    const { sender, errors } = guest({ isWatched: true });
    const scope = new Scope();
    captureErrors(sender, scope)();
    captureErrors(sender, scope);
    scope.dispatch("error", { error: new Error("seen by the host") });
    sender.flush();
    expect(errors()).toEqual([]);
  });

  it("takes the scopes that there are", () => {
    process satisfies NodeProcess;
    new EventTarget() satisfies WebScope;
  });
});

it("uncaughtErrors: takes anything that can be thrown, and throws nothing", () => {
  const { sender, errors } = guest();
  const report = uncaughtErrors(sender);
  const hostile = new Proxy(new Error("hidden"), {
    get() {
      throw new Error("not readable");
    },
  });
  for (const error of [undefined, null, "text", Symbol("s"), hostile, Object.create(null)]) report(error);
  expect(errors()).toHaveLength(6);
  expect(sender.droppedEvents).toBe(0);
});
