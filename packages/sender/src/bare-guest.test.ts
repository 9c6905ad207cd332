import { controlWord } from "@spanduct/protocol";
import { TracingEventReceiver } from "@spanduct/receiver";
import { describe, expect, it } from "vitest";
import { TraceRecorder } from "../../../test/support/trace-recorder.ts";
import { type BareGuest, bundle, type HostSend, quickJSGuest, vmGuest } from "../test/bare-guests.ts";

const EVERYTHING = 'export * from "@spanduct/sender"; export * as otel from "@spanduct/sender/otel";';

/** What makes a program depend on when and where it runs. A clock or a console is given to the sender, or it has none. */
const IMPURE = [
  "Date",
  "Math.random",
  "performance",
  "setTimeout",
  "setInterval",
  "setImmediate",
  "queueMicrotask",
  "TextEncoder",
  "TextDecoder",
  "structuredClone",
  "crypto",
  "console",
  "process",
  "Buffer",
  "require",
  "window",
  "self",
  "navigator",
  "globalThis",
];

describe("the bundled sender", () => {
  it("is one script in plain ASCII that imports nothing", async () => {
    const script = await bundle(EVERYTHING, { charset: "utf8", minify: true });
    expect(script).toMatch(/^[\t\n\x20-\x7e]+$/);
  });

  it("refers to nothing that differs from run to run or from host to host", async () => {
    // esbuild replaces references to globals only: neither properties nor variables of the same name.
    const define = Object.fromEntries(IMPURE.map((name) => [name, `IMPURE_${name.replace(".", "_")}`]));
    const script = await bundle(EVERYTHING, { define });
    expect([...script.matchAll(/IMPURE_\w+/g)].map(([name]) => name)).toEqual([]);
    const impure = await bundle("export const now = () => Date.now() + Math.random() + performance.now();", { define });
    expect(impure.match(/IMPURE_\w+/g)).toEqual(["IMPURE_Date", "IMPURE_Math_random", "IMPURE_performance"]);
  });
});

const PROGRAM = `
  const { TracingEventSender, batches, millisecondClock, createLog, captureConsole } = guest;
  let ticks = 0;
  const sender = new TracingEventSender(batches(send), {
    clock: millisecondClock(() => 1700000000000 + ticks++, "logical"),
    target: "bare",
  });
  const site = sender.span({ name: "render", fields: ["page", "\\u00e9\\u{1f980}"] });
  const double = sender.span({ name: "double", fields: ["n"] }).instrument(async (n) => n * 2, (n) => ({ n }));
  const log = createLog(sender);
  const span = site.enter({ page: "index", "\\u00e9\\u{1f980}": 2n ** 100n });
  log.info("rendering", { bytes: 1.5 });
  try {
    site.run({ page: "broken" }, () => { throw new TypeError("on purpose", { cause: "the test" }); });
  } catch (error) {
    log.error("failed", { error });
  }
  const console = {};
  captureConsole(sender, console);
  double(21).then((result) => {
    log.warn("doubled", { result });
    span.close();
    sender.flush();
  });
  sender.maxLevel
`;

const TREE = [
  "render page=index é🦀=1267650600228229401496703205376",
  "  · event log:3 message=rendering bytes=1.5",
  "  render page=broken",
  "    · exception error=[object Object]",
  "  · event log:1 message=failed error=[object Object]",
  "  double n=21",
  "  · event log:2 message=doubled result=42",
];

describe.each<[string, (send: HostSend) => BareGuest | Promise<BareGuest>]>([
  ["bare QuickJS", quickJSGuest],
  ["an empty vm context", vmGuest],
])("in %s", (_, open) => {
  it("the sender loads, and the host sees what the guest traces", async () => {
    const recorder = new TraceRecorder();
    const receiver = new TracingEventReceiver({}, {}, new Map(), { relay: recorder });
    using guest = await open((batch) => receiver.receiveBatch(batch));
    guest.run(`${await bundle(EVERYTHING)}; undefined`);
    expect(guest.run(PROGRAM)).toBe(5);
    expect(recorder.lines()).toEqual(TREE);
    expect(receiver.stats).toMatchObject({ refused: {}, lostBatches: 0, droppedEvents: 0, liveSpans: 0 });
    const error = recorder.events.find(({ name }) => name === "exception")?.values["error"];
    expect(error).toMatchObject({ error: { message: "on purpose", type: "TypeError", source: { message: "the test" } } });
  });

  it("the host's word reaches the guest", async () => {
    using guest = await open(() => controlWord(2, false));
    guest.run(`${await bundle(EVERYTHING)}; undefined`);
    expect(guest.run(PROGRAM)).toBe(5);
    expect(guest.run("sender.maxLevel")).toBe(2);
  });

  it("two runs send the same bytes", async () => {
    const sent: string[] = [];
    // In a loop, because stacks of errors reach out of a vm context.
    for (let i = 0; i < 2; i++) {
      using guest = await open((batch) => {
        sent.push(Buffer.from(batch).toString("hex"));
        return undefined;
      });
      guest.run(`${await bundle(EVERYTHING)}; undefined`);
      guest.run(PROGRAM);
    }
    expect(sent).toHaveLength(2);
    expect(sent[1]).toBe(sent[0]);
  });
});
