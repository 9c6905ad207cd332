import type { TraceContext } from "@spanduct/protocol";
import * as api from "@spanduct/sender";

/** The global `spanduct` of a traced context: all of `@spanduct/sender`, and a sender that is connected. */
export type SpanductGlobal = typeof api & { readonly tracing: api.TracingEventSender };

/** What a context has in common with its host. */
interface Realm {
  /** The narrow function. Copies the batch. @returns the control word */
  readonly __spanduct_send: (batch: ArrayBuffer) => number;
  /** Milliseconds since the Unix epoch, with fractions. */
  readonly __spanduct_now: () => number;
  console?: api.ConsoleLike;
}

/** Connect the context that this runs in. */
export function install(realm: Realm): void {
  // Not all of QuickJS refuses to define a property anew.
  if ("spanduct" in realm) throw new Error("there is a global spanduct already");
  const { __spanduct_send: send, __spanduct_now: now } = realm;
  const output = api.batches((batch) => send(batch.slice().buffer as ArrayBuffer));
  const tracing = new api.TracingEventSender(output, { clock: api.millisecondClock(now) });

  const silent = (): void => undefined;
  realm.console ??= { error: silent, warn: silent, info: silent, log: silent, debug: silent, trace: silent };
  api.captureConsole(tracing, realm.console);

  const spanduct: SpanductGlobal = { ...api, tracing };
  Object.defineProperty(realm, "spanduct", { value: Object.freeze(spanduct) });
  // Called by the host.
  const define = (name: string, value: (...args: never[]) => void) => Object.defineProperty(realm, name, { value });
  define("__spanduct_begin", (word: number, traceContext?: string) => {
    // A deadline may have ended the last run anywhere.
    tracing.emitter.recover();
    tracing.control(word);
    api.propagate(tracing, traceContext === undefined ? undefined : (JSON.parse(traceContext) as TraceContext));
  });
  const uncaught = api.uncaughtErrors(tracing);
  const rejections = new Map<object, unknown>();
  define("__spanduct_rejected", (promise: object, reason: unknown, isHandled: boolean) => {
    if (isHandled) rejections.delete(promise);
    else rejections.set(promise, reason);
  });
  define("__spanduct_flush", () => {
    for (const reason of rejections.values()) uncaught(reason);
    rejections.clear();
    tracing.flush();
  });
}
