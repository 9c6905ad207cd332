import { context, createContextKey, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import type { TracingEvent } from "@spanduct/protocol";
import { afterEach, describe, expect, it } from "vitest";
import { bodyOf, kindOf } from "../../../../test/support/recording-host.ts";
import { TracingEventSender } from "../sender.ts";
import { StackContextManager } from "./stack-context-manager.ts";
import { TunnelTracerProvider } from "./tunnel-tracer-provider.ts";

const KEY = createContextKey("test");

/** A tracer on a manager, and what happened to its spans. */
function guest() {
  const events: TracingEvent[] = [];
  const sender = new TracingEventSender((event) => {
    events.push(event);
  });
  const manager = new StackContextManager();
  const tracer = new TunnelTracerProvider(sender, { contextManager: manager }).getTracer("lib");
  const moves = () =>
    events.flatMap((event) =>
      /entered|exited|dropped/.test(kindOf(event)) ? [`${kindOf(event).slice(5)} ${bodyOf(event)["id"]}`] : [],
    );
  return { manager, tracer, moves };
}

describe("StackContextManager", () => {
  it("starts with an empty context, which works like those of the API", () => {
    const root = new StackContextManager().active();
    expect(root.getValue(KEY)).toBeUndefined();
    const one = root.setValue(KEY, 1);
    const two = one.setValue(KEY, 2);
    expect([root, one, two, two.deleteValue(KEY), one.deleteValue(Symbol())].map((each) => each.getValue(KEY))).toEqual([
      undefined,
      1,
      2,
      undefined,
      1,
    ]);
  });

  it("with: calls in the context, hands on `this`, arguments, result and error, and goes back", () => {
    const manager = new StackContextManager();
    const before = manager.active();
    const inner = ROOT_CONTEXT.setValue(KEY, "x");
    const result = manager.with(
      inner,
      function (this: { base: number }, a: number, b: number) {
        expect(manager.active()).toBe(inner);
        return this.base + a + b;
      },
      { base: 1 },
      2,
      3,
    );
    expect(result).toBe(6);
    expect(() =>
      manager.with(inner, () => {
        throw new Error("on purpose");
      }),
    ).toThrow("on purpose");
    expect(manager.active()).toBe(before);
  });

  it("with: enters the span of the context, once, and exits it at the end", () => {
    const { manager, tracer, moves } = guest();
    const span = tracer.startSpan("s");
    const active = trace.setSpan(ROOT_CONTEXT, span);
    manager.with(active, () => {
      manager.with(active.setValue(KEY, 1), () => undefined);
      manager.with(ROOT_CONTEXT, () => undefined);
    });
    span.end();
    expect(moves()).toEqual(["entered 1", "exited 1", "dropped 1"]);
  });

  it("with: exits a span that ends meanwhile when it ends, not later", () => {
    const { manager, tracer, moves } = guest();
    const [outer, inner] = [tracer.startSpan("outer"), tracer.startSpan("inner")];
    manager.with(trace.setSpan(ROOT_CONTEXT, outer), () =>
      manager.with(trace.setSpan(ROOT_CONTEXT, inner), () => {
        outer.end();
        inner.end();
      }),
    );
    expect(moves()).toEqual(["entered 1", "entered 2", "exited 1", "dropped 1", "exited 2", "dropped 2"]);
  });

  it("attach: until the token is disposed of, be it more than once", () => {
    const { manager, tracer, moves } = guest();
    const before = manager.active();
    const span = tracer.startSpan("s");
    const token = manager.attach(trace.setSpan(ROOT_CONTEXT, span));
    expect(trace.getSpan(manager.active())).toBe(span);
    token.dispose();
    token.dispose();
    expect(manager.active()).toBe(before);
    expect(moves()).toEqual(["entered 1", "exited 1"]);
  });

  it("bind: gives a function a context, whoever calls it, and leaves other things alone", () => {
    const manager = new StackContextManager();
    const bound = ROOT_CONTEXT.setValue(KEY, "bound");
    const read = manager.bind(bound, function (this: unknown, suffix: string) {
      return [this, `${manager.active().getValue(KEY)}${suffix}`];
    });
    const self = {};
    expect(read.call(self, "!")).toEqual([self, "bound!"]);
    const target = { not: "a function" };
    expect(manager.bind(bound, target)).toBe(target);
  });

  it("disable: goes back to the root and exits what is entered", () => {
    const { manager, tracer, moves } = guest();
    manager.attach(trace.setSpan(ROOT_CONTEXT, tracer.startSpan("s")));
    expect(manager.disable()).toBe(manager);
    expect(trace.getSpan(manager.active())).toBeUndefined();
    expect(manager.enable()).toBe(manager);
    expect(moves()).toEqual(["entered 1", "exited 1"]);
  });

  it("does not follow promises", async () => {
    const { manager, tracer, moves } = guest();
    const active = trace.setSpan(ROOT_CONTEXT, tracer.startSpan("s"));
    const [before, after] = await manager.with(active, async () => {
      const before = manager.active();
      await Promise.resolve();
      return [before, manager.active()] as const;
    });
    expect(before).toBe(active);
    expect(after).not.toBe(active);
    expect(moves()).toEqual(["entered 1", "exited 1"]);
  });
});

describe("the providers, registered with the API", () => {
  afterEach(() => {
    trace.disable();
    context.disable();
  });

  it("are what `trace` and `context` use", () => {
    const events: TracingEvent[] = [];
    const sender = new TracingEventSender((event) => {
      events.push(event);
    });
    const provider = new TunnelTracerProvider(sender);
    // As a library does it, before anything is registered.
    const tracer = trace.getTracer("early");
    expect(trace.setGlobalTracerProvider(provider)).toBe(true);
    expect(context.setGlobalContextManager(provider.contextManager)).toBe(true);
    tracer.startActiveSpan("outer", (outer) => {
      expect(trace.getActiveSpan()).toBe(outer);
      tracer.startSpan("inner").end();
      outer.end();
    });
    const opened = events.flatMap((event) => ("new_span" in event ? [event.new_span.parent_id] : []));
    expect(opened).toEqual([undefined, 1]);
  });
});
