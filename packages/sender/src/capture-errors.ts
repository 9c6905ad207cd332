import { thrown } from "./convert.ts";
import type { TracingEventSender } from "./sender.ts";

/** What an event says of something that was thrown. */
export interface ThrownEvent {
  readonly type: string;
  readonly error?: unknown;
  readonly message?: unknown;
  readonly reason?: unknown;
}

/** A global scope of the web's kind: of a page, a Web Worker, Deno, workerd. */
export interface WebScope {
  addEventListener(event: "error" | "unhandledrejection", listener: (event: ThrownEvent) => void): void;
  removeEventListener(event: "error" | "unhandledrejection", listener: (event: ThrownEvent) => void): void;
}

/** The `process` of Node or Bun. */
export interface NodeProcess {
  on(event: "uncaughtExceptionMonitor", listener: (error: Error) => void): unknown;
  off(event: "uncaughtExceptionMonitor", listener: (error: Error) => void): unknown;
}

/**
 * From now on errors and rejections that nobody catches are also sent, see `uncaughtErrors`. What the runtime does about them stays
 * as it is. On Node rejections are seen where they end the process, which is the default; Bun tells of errors only, workerd of
 * rejections only. Where the host sees for itself what ends the guest (`SenderOptions.isWatched`), this does nothing.
 *
 * @param scope `globalThis`, or on Node and Bun `process`
 * @returns a function that ends it
 */
export function captureErrors(sender: TracingEventSender, scope: WebScope | NodeProcess): () => void {
  if (sender.isWatched) return () => undefined;
  const report = uncaughtErrors(sender);
  if ("addEventListener" in scope) {
    const onError = ({ error, message }: ThrownEvent): void => report(error ?? message);
    const onRejection = ({ reason }: ThrownEvent): void => report(reason);
    scope.addEventListener("error", onError);
    scope.addEventListener("unhandledrejection", onRejection);
    return () => {
      scope.removeEventListener("error", onError);
      scope.removeEventListener("unhandledrejection", onRejection);
    };
  }
  scope.on("uncaughtExceptionMonitor", report);
  return () => {
    scope.off("uncaughtExceptionMonitor", report);
  };
}

/**
 * For runtimes that tell of uncaught errors in a way of their own: each call sends an event `exception` of level error, with the
 * stack and the causes of what was thrown, and delivers what is batched, for the guest may be about to end.
 */
export function uncaughtErrors(sender: TracingEventSender): (error: unknown) => void {
  const exception = sender.event({ name: "exception", level: "error", fields: ["error"] });
  return (error) => {
    exception.emit({ error: thrown(error) });
    sender.flush();
  };
}
