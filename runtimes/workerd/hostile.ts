// A Worker that speaks to its host as it likes.
import type { TracedCall } from "@spanduct/sandbox/workerd";

interface Context {
  waitUntil(promise: Promise<unknown>): void;
}

interface Stub {
  (message: unknown): Promise<unknown>;
  dup(): Stub;
}

declare const scheduler: { wait(ms: number): Promise<void> };

const ANSWERS: { readonly [name: string]: (call: TracedCall, ctx: Context) => unknown } = {
  nothing: () => undefined,
  text: () => "what?",
  "no batches": () => ({ value: 1 }),
  "batches that are none": () => ({
    value: 1,
    batches: [1, "two", null, {}, [3], new Uint8Array([1, 2, 3]), new Float64Array(1)],
  }),
  "batches without a list": () => ({ value: 1, batches: "all of them" }),
  "functions for batches": () => ({ value: 1, batches: [() => 1] }),
  "an end that never comes": () => ({ value: 1, batches: [], end: () => new Promise(() => undefined) }),
  "an end that is none": () => ({ value: 1, batches: [], end: 7 }),
  "an end that brings nothing": () => ({ value: 1, batches: [], end: () => undefined }),
  "something odd thrown": () => Promise.reject({ odd: true }),
  "an error that is none": async ({ tell }) => {
    for (const error of [null, 1, "text", [], { name: 1, message: () => 1, cause: { cause: {} } }]) await tell(error as never);
    throw new Error("in the end");
  },
  "a million causes": async ({ tell }) => {
    let cause: unknown;
    for (let i = 0; i < 5000; i++) cause = { name: "Error", message: "deeper", stack: "", cause };
    await tell(cause as never);
    throw new Error("in the end");
  },
  "words after the end": ({ tell }, ctx) => {
    const kept = (tell as unknown as Stub).dup();
    ctx.waitUntil(scheduler.wait(20).then(() => kept(new Uint8Array([1]))));
    return { value: 1, batches: [] };
  },
};

export default {
  async spanduct(call: TracedCall, _env: unknown, ctx: Context): Promise<unknown> {
    return ANSWERS[call.method]?.(call, ctx);
  },
};
