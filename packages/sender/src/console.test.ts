import { controlWord, type TracingEvent } from "@spanduct/protocol";
import { describe, expect, it } from "vitest";
import { type ConsoleLike, captureConsole } from "./console.ts";
import { TracingEventSender } from "./sender.ts";

/** A console that keeps what it writes, as `method: arguments`. */
function recordingConsole(): { console: Required<ConsoleLike>; written: unknown[][] } {
  const written: unknown[][] = [];
  const method =
    (name: string) =>
    (...args: unknown[]) => {
      written.push([name, ...args]);
    };
  const console = {
    error: method("error"),
    warn: method("warn"),
    info: method("info"),
    log: method("log"),
    debug: method("debug"),
    trace: method("trace"),
  };
  return { console, written };
}

function record(): { sender: TracingEventSender; messages: () => unknown[]; events: TracingEvent[] } {
  const events: TracingEvent[] = [];
  const sender = new TracingEventSender((event) => {
    events.push(event);
  });
  const messages = () =>
    events.flatMap((event) => ("new_event" in event ? [Object.values(event.new_event.values["message"] ?? {})[0]] : []));
  return { sender, messages, events };
}

describe("captureConsole", () => {
  it("sends what is written, by level, and lets it be written as before", () => {
    const { sender, events } = record();
    const { console, written } = recordingConsole();
    captureConsole(sender, console);
    for (const method of ["error", "warn", "info", "log", "debug", "trace"] as const) console[method]("text", 1);
    expect(written).toEqual(["error", "warn", "info", "log", "debug", "trace"].map((method) => [method, "text", 1]));
    const sites = events.flatMap((event) => ("new_call_site" in event ? [event.new_call_site] : []));
    expect(sites.map(({ level, target }) => [level, target])).toEqual(
      ["error", "warn", "info", "debug", "trace"].map((level) => [level, "console"]),
    );
    expect(events.filter((event) => "new_event" in event)).toHaveLength(6);
  });

  it("joins the arguments, objects as JSON, and carries the first error with its stack", () => {
    const { sender, events } = record();
    const { console } = recordingConsole();
    captureConsole(sender, console);
    const error = new RangeError("too much");
    console.log("a", 1, null, { b: [true] }, error, new Error("second"));
    expect(events.at(-1)).toEqual({
      new_event: {
        metadata_id: 1,
        values: {
          message: { string: 'a 1 null {"b":[true]} RangeError: too much Error: second' },
          error: { error: { message: "too much", type: "RangeError", stack: error.stack, source: null } },
        },
      },
    });
  });

  it("puts the console back", () => {
    const { sender, messages } = record();
    const { console } = recordingConsole();
    const before = { ...console };
    const restore = captureConsole(sender, console);
    expect(console.log).not.toBe(before.log);
    restore();
    expect(console).toEqual(before);
    console.log("unseen");
    expect(messages()).toEqual([]);
  });

  it("captures what a console has, be it little", () => {
    const { sender, messages } = record();
    const written: unknown[] = [];
    const console: ConsoleLike = { log: (...args) => written.push(args) };
    const restore = captureConsole(sender, console);
    console.log?.("x");
    expect([Object.keys(console), messages(), written]).toEqual([["log"], ["x"], [["x"]]]);
    restore();
    captureConsole(sender, {});
  });

  it("writes whatever it is given, and never throws for its sake", () => {
    const { sender, messages } = record();
    const { console, written } = recordingConsole();
    captureConsole(sender, console);
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    const unreadable = Object.defineProperty(new Error("e"), "message", {
      get() {
        throw new Error("in the getter");
      },
    });
    console.log(proxy);
    console.log(Symbol("s"), undefined, 1n);
    console.error(unreadable);
    expect(written).toHaveLength(3);
    expect(messages().slice(0, 2)).toEqual(["[unreadable]", "Symbol(s) undefined 1"]);
    expect(messages()).toHaveLength(3);
  });

  it("looks at nothing that the host does not want", () => {
    const { sender, events } = record();
    sender.control(controlWord(1, false));
    const { console, written } = recordingConsole();
    captureConsole(sender, console);
    let reads = 0;
    console.log({
      toJSON() {
        reads++;
      },
    });
    expect([reads, events, written.length]).toEqual([0, [], 1]);
  });

  it("does not run in circles when the hook writes to the same console", () => {
    const { console, written } = recordingConsole();
    let calls = 0;
    const sender = new TracingEventSender(() => {
      calls++;
      console.log("sent", calls);
    });
    captureConsole(sender, console);
    console.log("once");
    expect(calls).toBe(2);
    expect(written).toEqual([
      ["log", "sent", 1],
      ["log", "sent", 2],
      ["log", "once"],
    ]);
    expect(sender.droppedEvents).toBe(2);
  });
});
