// A Worker that does what the contract's guests do, and some things that only Workers do.
import { AsyncLocalStorage } from "node:async_hooks";
import { type CallScope, traced } from "@spanduct/sandbox/workerd";
import * as api from "@spanduct/sender";
import { PROGRAMS } from "../../test/contract/sandbox-programs.ts";

type Tracing = api.TracingEventSender;
type Method = (argument: unknown, env: unknown, ctx: Context, tracing: Tracing) => unknown;

interface Context {
  waitUntil(promise: Promise<unknown>): void;
  readonly props: unknown;
}

declare const scheduler: { wait(ms: number): Promise<void> };

/** Requests to a host outside of workerd that it has not answered. */
const requests = new Set<Promise<unknown>>();

/** Until the host has had time to say something. */
async function pause(): Promise<void> {
  await Promise.all(requests);
  await scheduler.wait(0);
}

/** Methods that RPC calls, and `fetch` by their path. */
const methods: { readonly [name: string]: Method } = {
  ...Object.fromEntries(
    Object.entries(PROGRAMS).map(([name, program]) => [
      name,
      async (_argument: unknown, _env: unknown, _ctx: unknown, tracing: Tracing): Promise<void> => {
        for (const _ of program({ ...api, tracing }) ?? []) await pause();
      },
    ]),
  ),

  /** Says that it is stuck, and waits for something that never comes. */
  async waiting(_argument, _env, _ctx, tracing) {
    tracing.span({ name: "endless" }).enter();
    tracing.event({ name: "stuck" }).emit();
    tracing.flush();
    await scheduler.wait(3_600_000);
  },

  /** The same, in a way that the runtime finds out. */
  async hung(_argument, _env, _ctx, tracing) {
    tracing.span({ name: "endless" }).enter();
    tracing.flush();
    await new Promise(() => undefined);
  },

  /** Goes on when it has returned. */
  background(argument, _env, ctx, tracing) {
    const { span } = { span: tracing.span({ name: "background" }) };
    const work = async (rounds: number): Promise<void> => {
      using _ = span.start();
      await scheduler.wait(5);
      if (rounds > 1) ctx.waitUntil(work(rounds - 1));
    };
    ctx.waitUntil(work(3));
    tracing.event({ name: "returns" }).emit();
    return argument;
  },

  /** Fails when it has returned. */
  failingBackground(_argument, _env, ctx, tracing) {
    const work = async (): Promise<void> => {
      await scheduler.wait(5);
      tracing.event({ name: "fails" }).emit();
      throw new RangeError("too late", { cause: new Error("on purpose") });
    };
    ctx.waitUntil(work());
    return "early";
  },

  /** Spans that are open across awaits, closed in the order in which they were opened. */
  async slow(argument, _env, _ctx, tracing) {
    const outer = tracing.span({ name: `outer ${argument}` }).enter();
    await scheduler.wait(10);
    const inner = tracing.span({ name: `inner ${argument}` }).enter();
    await scheduler.wait(10);
    tracing.event({ name: `note ${argument}` }).emit();
    inner.close();
    outer.close();
  },

  /** Much more at once than may be on its way. */
  storm(argument, _env, _ctx, tracing) {
    const note = tracing.event({ name: "note", fields: ["text"] });
    const text = "x".repeat(10_000);
    for (let i = 0; i < (argument as number); i++) note.emit({ text });
  },

  /** Reads its clock. */
  async clock(_argument, _env, _ctx, tracing) {
    const tick = tracing.event({ name: "tick", fields: ["at"] });
    tick.emit({ at: Date.now() });
    tracing.flush();
    await scheduler.wait(20);
    tick.emit({ at: Date.now() });
  },

  /** Whether it is traced, and what its `ctx` is like. */
  look: (argument, env, ctx, tracing) => ({
    argument,
    level: tracing.maxLevel,
    traceparent: tracing.traceparent(),
    members: [typeof env, typeof ctx.waitUntil, typeof ctx.props],
  }),
};

const worker = traced(
  {
    ...methods,
    async fetch(request: Request, env: unknown, ctx: Context, tracing: Tracing): Promise<Response> {
      const name = new URL(request.url).pathname.slice(1);
      if (name === "stream") {
        tracing.event({ name: "streaming" }).emit();
        return new Response(request.body);
      }
      return Response.json({ value: await methods[name]?.(await request.text(), env, ctx, tracing) });
    },
  },
  { storage: new AsyncLocalStorage<CallScope>(), maxInFlightBytes: 2 ** 20 },
);

interface Binding {
  fetch(url: string, init: RequestInit): Promise<Response>;
}

export default {
  ...worker,
  fetch: (request: Request, { SPANDUCT, ...env }: { readonly SPANDUCT?: Binding }, ctx: Context): Promise<Response> => {
    const ask = async (url: string, init: RequestInit): Promise<Response> => {
      const response = await (SPANDUCT as Binding).fetch(url, init);
      return new Response(await response.text());
    };
    const fetch: Binding["fetch"] = (url, init) => {
      const answer = ask(url, init).finally(() => requests.delete(answer));
      requests.add(answer);
      return answer;
    };
    return worker.fetch(request, { ...env, ...(SPANDUCT && { SPANDUCT: { fetch } }) }, ctx);
  },
};
