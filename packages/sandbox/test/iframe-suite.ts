import { TracingEventReceiver } from "@spanduct/receiver";
import { connect, type TracedFrame, traceIframe } from "@spanduct/sandbox/iframe";
import { describe, expect, it, onTestFinished } from "vitest";
import { sandboxContract } from "../../../test/contract/sandbox.ts";
import { type ProgramName, programSource } from "../../../test/contract/sandbox-programs.ts";
import { errorOf, type RecordedSpan, TraceRecorder } from "../../../test/support/trace-recorder.ts";

interface GuestOptions {
  /** `connect({ hostOrigin })`; default that of this page. */
  readonly hostOrigin?: string;
  readonly opened?: boolean;
}

let guests = 0;

/**
 * A page that runs `code`, which finds `spanduct`, `connect`, `connected` and `disconnect`. Each is a site of its own: frames of one
 * site share a process, and one that is stuck would take the others along.
 */
function guest(code: string, { hostOrigin = location.origin, opened = false }: GuestOptions = {}): URL {
  const url = new URL(`/guest.html?${encodeURIComponent(JSON.stringify({ code, hostOrigin, opened }))}`, location.origin);
  url.hostname = `guest${guests++}.localhost`;
  return url;
}

/** A frame that is not yet in the page. */
function frameOf({ href }: URL, sandbox?: string): HTMLIFrameElement {
  const frame = document.createElement("iframe");
  if (sandbox !== undefined) frame.setAttribute("sandbox", sandbox);
  frame.src = href;
  return frame;
}

/** Programs that wait for a word of the host's. */
const YIELDING: readonly ProgramName[] = ["chatter", "heals"];
const PAUSE = "new Promise((turn) => setTimeout(turn))";

/** A program, and then the end, in turns of their own once the host is there. */
function contractGuest(program: ProgramName): URL {
  const ends = YIELDING.includes(program)
    ? `${programSource(program, PAUSE)}.then(disconnect)`
    : `${programSource(program)}; setTimeout(() => setTimeout(disconnect));`;
  return guest(`connected().then(() => setTimeout(() => { ${ends} }));`);
}

for (const [kind, sandbox] of [
  ["of another origin", undefined],
  ["sandboxed, without an origin", "allow-scripts"],
] as const) {
  sandboxContract(`iframe ${kind}`, {
    run(program, receiver, stop) {
      const url = contractGuest(program);
      const frame = frameOf(url, sandbox);
      document.body.append(frame);
      stop.addEventListener("abort", () => frame.remove());
      return traceIframe(frame, receiver, { origin: sandbox === undefined ? url.origin : "null" }).outcome;
    },
  });
}

interface Run extends TracedFrame<RecordedSpan> {
  readonly trace: TraceRecorder;
  readonly receiver: TracingEventReceiver<RecordedSpan>;
}

function trace(frame: HTMLIFrameElement, origin?: string): Run {
  return traceWindow(frame, origin ?? new URL(frame.src).origin);
}

function traceWindow(frame: HTMLIFrameElement | Window, origin: string): Run {
  const trace = new TraceRecorder();
  const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace });
  return { ...traceIframe(frame, receiver, { origin }), trace, receiver };
}

/** Into the page until the test is over. */
function add(frame: HTMLIFrameElement): HTMLIFrameElement {
  document.body.append(frame);
  onTestFinished(() => frame.remove());
  return frame;
}

/** The next message that the application gets from this window. */
function message(from: HTMLIFrameElement): Promise<MessageEvent> {
  return new Promise((resolve) => {
    const onMessage = (event: MessageEvent): void => {
      if (event.source !== from.contentWindow) return;
      removeEventListener("message", onMessage);
      resolve(event);
    };
    addEventListener("message", onMessage);
  });
}

const OPEN = `spanduct.tracing.span({ name: "open" }).enter(); spanduct.tracing.event({ name: "last words" }).emit();`;
const TELL = `parent.postMessage("ready", "*");`;
const LINES = ["open (open)", "  · last words"];
const ROLLED_BACK = ["open (rolled back)", "  · last words", expect.stringContaining("  · exception")];

describe("traceIframe", () => {
  it("commits a page that disconnects, after what it has batched; the page lives on untraced", async () => {
    const frame = add(
      frameOf(guest(`${OPEN} disconnect(); ${OPEN} onmessage = () => parent.postMessage(spanduct.tracing.maxLevel, "*");`)),
    );
    const { outcome, trace: seen } = trace(frame);
    expect(await outcome).toMatchObject({ kind: "committed", spans: { 1: { ref_count: 1 } } });
    frame.contentWindow?.postMessage("go", "*");
    expect((await message(frame)).data).toBe(0);
    expect(seen.lines()).toEqual(LINES);
  });

  it("takes in all that a page did before it was traced, once", async () => {
    const frame = frameOf(
      guest(`${OPEN} spanduct.tracing.flush(); spanduct.tracing.event({ name: "more" }).emit(); disconnect(); ${TELL}`),
    );
    const ready = new Promise<void>((resolve) => {
      addEventListener("message", ({ source, data }) => source === frame.contentWindow && data === "ready" && resolve());
    });
    add(frame);
    await ready;
    const { outcome, trace: seen, receiver } = trace(frame);
    expect((await outcome).kind).toBe("committed");
    expect(seen.lines()).toEqual([...LINES, "  · more"]);
    expect(receiver.stats).toMatchObject({ refused: {}, lostBatches: 0 });
  });

  it("takes one port of a page that offers two, having been asked when it had offered one", async () => {
    const again = `parent.postMessage({ spanduct: "connect", again: true }, "*", [new MessageChannel().port2]);`;
    const { outcome, trace: seen, receiver } = trace(add(frameOf(guest(`${OPEN} ${again} setTimeout(disconnect, 300);`))));
    expect((await outcome).kind).toBe("committed");
    expect(seen.lines()).toEqual(LINES);
    expect(receiver.stats).toMatchObject({ refused: {}, lostBatches: 0 });
  });

  it.each([
    ["an error nobody catches", `setTimeout(() => { throw new RangeError("late", { cause: new Error("deep") }); });`],
    ["a promise nobody catches", `Promise.reject(new RangeError("late", { cause: new Error("deep") }));`],
  ])("rolls back a page that ends with %s, which is in the trace with its cause", async (_, code) => {
    const { outcome, trace: seen } = trace(add(frameOf(guest(`${OPEN} ${code}`))));
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { name: "RangeError", message: "late" } });
    expect(seen.lines()).toEqual(ROLLED_BACK);
    expect(errorOf(seen.events.at(-1))).toMatchObject({ type: "RangeError", source: { message: "deep" } });
    expect(errorOf(seen.events.at(-1)).stack).toContain("guest.js");
  });

  it.each([
    ["is removed", (frame: HTMLIFrameElement) => frame.remove()],
    ["gets another page", (frame: HTMLIFrameElement) => (frame.src = "about:blank")],
  ])("rolls back a page whose frame %s, after what it has batched", async (_, leave) => {
    const frame = add(frameOf(guest(`connected().then(() => { ${OPEN} ${TELL} });`)));
    const { outcome, trace: seen } = trace(frame);
    await message(frame);
    leave(frame);
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { message: "the guest's page was left" } });
    expect(seen.lines()).toEqual(ROLLED_BACK);
  });

  it("rolls back a page that is stuck when its frame is removed, after what it has sent", async () => {
    const frame = add(frameOf(guest(`${OPEN} spanduct.tracing.flush(); ${TELL} setTimeout(() => { for (;;); });`)));
    const { outcome, trace: seen } = trace(frame);
    await message(frame);
    frame.remove();
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { message: "the frame was removed" } });
    expect(seen.lines()).toEqual(ROLLED_BACK);
  });

  it("rolls back a page whose place another one takes without a word", async () => {
    const frame = add(
      frameOf(
        guest(`${OPEN} spanduct.tracing.flush(); ${TELL}
      parent.postMessage({ spanduct: "connect" }, "*", [new MessageChannel().port2]);`),
      ),
    );
    const { outcome, trace: seen } = trace(frame);
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { message: "another page came into the frame" } });
    expect(seen.lines()).toEqual(ROLLED_BACK);
  });

  it("keeps a page that comes into the frame later out of the run of the one before", async () => {
    const frame = add(frameOf(guest(`${OPEN} disconnect();`)));
    const { outcome, trace: seen, receiver } = trace(frame);
    expect((await outcome).kind).toBe("committed");
    const hello = message(frame);
    frame.src = guest(`spanduct.tracing.event({ name: "of another run" }).emit(); disconnect();`).href;
    // Nobody takes it from the application now.
    expect((await hello).data).toMatchObject({ spanduct: "connect" });
    const again = trace(frame);
    expect((await again.outcome).kind).toBe("committed");
    expect(again.trace.lines()).toEqual(["· of another run"]);
    expect(seen.lines()).toEqual(LINES);
    expect(receiver.stats.refused).toEqual({});
  });

  it("takes nothing from a page of another origin than was said", async () => {
    const frame = add(frameOf(guest(`${OPEN} disconnect();`)));
    const { outcome, stop, trace: seen } = trace(frame, "https://guest.example");
    expect(await message(frame)).toMatchObject({ origin: new URL(frame.src).origin, data: { spanduct: "connect" } });
    stop();
    expect(await outcome).toMatchObject({ kind: "rolled_back", error: { message: "the host stopped listening" } });
    expect(seen.lines()).toEqual([expect.stringContaining("· exception")]);
  });

  it("takes nothing from another frame of the same origin", async () => {
    const url = guest(`${OPEN} disconnect();`);
    const { outcome, stop, trace: seen } = trace(add(frameOf(new URL("/empty.html", url))));
    const other = add(frameOf(url));
    expect((await message(other)).data).toMatchObject({ spanduct: "connect" });
    stop();
    await outcome;
    expect(seen.lines()).toEqual([expect.stringContaining("· exception")]);
  });

  it("leaves the page's own messages alone, and does not show the application those of the tunnel", async () => {
    const own = `for (const data of ["mine", { spanduct: "connect" }, { spanduct: "knock" }]) parent.postMessage(data, "*");`;
    const frame = add(frameOf(guest(`${own} setTimeout(disconnect, 50);`)));
    const seen: unknown[] = [];
    const onMessage = ({ data }: MessageEvent): unknown => seen.push(data);
    const { outcome } = trace(frame);
    addEventListener("message", onMessage);
    onTestFinished(() => removeEventListener("message", onMessage));
    await outcome;
    expect(seen).toEqual(["mine", { spanduct: "connect" }, { spanduct: "knock" }]);
  });

  it("traces a window that this page has opened", async () => {
    const url = guest(`connected().then(() => { ${OPEN} disconnect(); });`, { opened: true });
    const popup = open(url) as Window;
    const { outcome, trace: seen } = traceWindow(popup, url.origin);
    expect((await outcome).kind).toBe("committed");
    popup.close();
    expect(seen.lines()).toEqual(LINES);
  });
});

describe("connect", () => {
  it("tells nothing to a host of another origin than was said", async () => {
    const frame = add(frameOf(guest(`${OPEN} spanduct.tracing.flush(); ${TELL}`, { hostOrigin: "https://host.example" })));
    const { outcome, stop, trace: seen } = trace(frame);
    expect((await message(frame)).data).toBe("ready");
    // Answers to this would have come before.
    frame.contentWindow?.postMessage({ spanduct: "knock" }, "*");
    stop();
    await outcome;
    expect(seen.lines()).toEqual([expect.stringContaining("· exception")]);
  });

  it("tells whoever embeds the page when that was said", async () => {
    const { outcome, trace: seen } = trace(add(frameOf(guest(`${OPEN} disconnect();`, { hostOrigin: "*" }))));
    expect((await outcome).kind).toBe("committed");
    expect(seen.lines()).toEqual(LINES);
  });

  it("gives the same sender at every call", async () => {
    const { outcome } = trace(
      add(frameOf(guest(`if (connect({ hostOrigin: "*" }) !== spanduct.tracing) throw new Error("another"); disconnect();`))),
    );
    expect((await outcome).kind).toBe("committed");
  });

  it("gives a sender that is off in a page that is nobody's frame", () => {
    const tracing = connect({ hostOrigin: "*" });
    expect(tracing.maxLevel).toBe(0);
    expect(tracing.span({ name: "nowhere" }).run(undefined, () => 42)).toBe(42);
  });
});
