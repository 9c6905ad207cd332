import { TracingEventReceiver } from "@spanduct/receiver";
import { type QuickJSGuest, traceQuickJS } from "@spanduct/sandbox/quickjs";
import { newQuickJSWASMModuleFromVariant, type QuickJSContext, type QuickJSRuntime } from "quickjs-emscripten-core";
import { describe, expect, it, onTestFinished } from "vitest";
import { type RecordedSpan, TraceRecorder } from "../../../../test/support/trace-recorder.ts";

const quickJS = await newQuickJSWASMModuleFromVariant(import("@jitl/quickjs-wasmfile-release-sync"));

interface Vm {
  readonly runtime: QuickJSRuntime;
  readonly context: QuickJSContext;
  readonly guest: QuickJSGuest;
}

function vm(): Vm {
  const runtime = quickJS.newRuntime();
  const context = runtime.newContext();
  onTestFinished(() => {
    context.dispose();
    runtime.dispose();
  });
  return { runtime, context, guest: traceQuickJS(context) };
}

function receiverOf(relay: TraceRecorder): TracingEventReceiver<RecordedSpan> {
  return new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay });
}

/** Opens a span and emits so many events in it, all of them batched. */
const work = (events: number): string => `
  spanduct.tracing.span({ name: "outer" }).enter();
  const note = spanduct.tracing.event({ name: "note", fields: ["n"] });
  for (let n = 0; n < ${events}; n++) note.emit({ n });
`;

function numbers(trace: TraceRecorder): unknown[] {
  return trace.events.filter(({ name }) => name === "note").map(({ values }) => (values["n"] as { int: number }).int);
}

describe("what a guest has batched is in the trace", () => {
  it.each([0, 1, 100, 400, 505])("when it is interrupted in an endless loop, for ever (%d events)", (events) => {
    const { runtime, context, guest } = vm();
    let polls = 0;
    // As a deadline that has passed: once it says stop, it says so at every poll.
    runtime.setInterruptHandler(() => ++polls > 50);
    const trace = new TraceRecorder();
    const outcome = guest.run(receiverOf(trace), () => context.evalCode(`${work(events)} for (;;);`));
    expect(outcome).toMatchObject({ kind: "rolled_back", error: { message: "interrupted" } });
    expect(numbers(trace)).toEqual(Array.from({ length: events }, (_, n) => n));
    expect(trace.spans.map(({ name, state }) => [name, state])).toEqual([["outer", "rolled back"]]);
  });

  it.each([
    ["small objects", `globalThis.all = undefined; for (;;) all = { all };`],
    ["one large buffer", `new ArrayBuffer(1e9);`],
    ["many keys", `globalThis.all = {}; for (let i = 0; ; i++) all["key" + i] = i;`],
  ])("when its memory is used up by %s, and the limit is the same afterwards", (_, code) => {
    for (const events of [1, 100, 400]) {
      const { runtime, context, guest } = vm();
      runtime.setMemoryLimit(3 * 1024 * 1024);
      const trace = new TraceRecorder();
      const outcome = guest.run(receiverOf(trace), () => context.evalCode(`${work(events)} ${code}`));
      expect(outcome.kind).toBe("rolled_back");
      expect(numbers(trace)).toEqual(Array.from({ length: events }, (_, n) => n));
      expect(trace.spans.map(({ name, state }) => [name, state])).toEqual([["outer", "rolled back"]]);
      expect(runtime.dumpMemoryUsage()).toContain("malloc limit: 3145728");
    }
  });

  it("when its stack overflows", () => {
    const { runtime, context, guest } = vm();
    runtime.setMaxStackSize(64 * 1024);
    const trace = new TraceRecorder();
    const code = `${work(100)} (function again() { again(); })();`;
    expect(guest.run(receiverOf(trace), () => context.evalCode(code))).toMatchObject({ error: { name: "InternalError" } });
    expect(numbers(trace)).toHaveLength(100);
  });
});
