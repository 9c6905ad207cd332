// For runtimes with the events of the web's.
import type { TracedError, TracingEvent } from "@spanduct/protocol";
import { captureErrors, TracingEventSender, type WebScope } from "@spanduct/sender";

const scope = globalThis as unknown as WebScope;

/** An error that an event carries, once it is sent. */
export function nextError(provoke: () => void): Promise<TracedError> {
  return new Promise((resolve) => {
    const sender = new TracingEventSender((event: TracingEvent) => {
      if (!("new_event" in event)) return;
      stop();
      const value = event.new_event.values["error"];
      if (value !== undefined && "error" in value) resolve(value.error);
    });
    const stop = captureErrors(sender, scope);
    provoke();
  });
}

/** Without it the runtime may end, as it would without us. Resolves when the application's own listener was told. */
export function handled(event: "error" | "unhandledrejection"): Promise<unknown> {
  return new Promise((resolve) => {
    const listener = (thrown: object): void => {
      (thrown as Event).preventDefault();
      scope.removeEventListener(event, listener);
      resolve(thrown);
    };
    scope.addEventListener(event, listener);
  });
}
