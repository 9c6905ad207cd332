import type { TracingEventReceiver } from "@spanduct/receiver";
import type { Pump } from "@spanduct/transport";
import type { Outcome } from "../outcome.ts";
import { type Greeting, typeOf, type Welcome } from "../web-port/messages.ts";
import { PortRun } from "../web-port/port-run.ts";

/** How a frame is traced. */
export interface TraceIframeOptions {
  /** Origin of the page in it, as in `https://guest.example`; `null` (the text) of a frame that is sandboxed without one. */
  readonly origin: string;
  /** Shares the event loop with the other guests of this page. Default: a pump of its own. */
  readonly pump?: Pump;
}

/** A frame that is traced. */
export interface TracedFrame<Span = unknown> {
  /** Resolves when the guest has ended, and never rejects. */
  readonly outcome: Promise<Outcome<void, Span>>;
  /** Roll back, unless the guest has come to its end: for guests that do not answer, and for windows, which nobody sees closing. */
  stop(): void;
}

/**
 * Trace the page that is in a frame or comes into it, if it is of the given origin and calls `connect()`, and settle the receiver when
 * the guest has ended and all that it sent has been taken in: `disconnect()` in the guest commits; what nobody catches there, another
 * page in its place and a frame that is removed roll back. One receiver is for one page: whoever comes after it into the frame
 * needs another.
 *
 * @param frame or a window, such as one that this page has opened
 */
export function traceIframe<Span>(
  frame: HTMLIFrameElement | Window,
  receiver: TracingEventReceiver<Span>,
  { origin, pump }: TraceIframeOptions,
): TracedFrame<Span> {
  const run = new PortRun(receiver, pump);
  const windowOf = (): Window | null => (isWindow(frame) ? frame : frame.contentWindow);

  const onMessage = (event: MessageEvent): void => {
    if (event.source === null || event.source !== windowOf() || event.origin !== origin) return;
    const [port] = event.ports;
    if (typeOf(event.data) !== "connect" || port === undefined) return;
    event.stopImmediatePropagation();
    if (!run.isConnected) {
      const welcome: Welcome = { spanduct: "welcome", control: receiver.control(), traceContext: receiver.traceContext };
      port.postMessage(welcome);
    } else if ((event.data as Greeting & { readonly again?: unknown }).again !== true) {
      run.failSoon(new Error("another page came into the frame"));
    }
    run.connect(port);
  };
  addEventListener("message", onMessage);
  const unwatch = isWindow(frame) ? undefined : onRemoved(frame, () => run.failSoon(new Error("the frame was removed")));
  run.outcome.then(() => {
    removeEventListener("message", onMessage);
    unwatch?.();
  });

  // For a page that was there first. It says nothing, so it may be read by whoever is there.
  windowOf()?.postMessage({ spanduct: "knock" } satisfies Greeting, "*");
  return { outcome: run.outcome, stop: () => void run.failSoon(new Error("the host stopped listening")) };
}

/** Not `instanceof` and no other property: it may be of another origin. */
function isWindow(frame: HTMLIFrameElement | Window): frame is Window {
  return "postMessage" in frame;
}

/** @returns to be called when that is no longer of interest */
function onRemoved(frame: HTMLIFrameElement, removed: () => void): () => void {
  let wasThere = frame.isConnected;
  const observer = new MutationObserver(() => {
    if (wasThere && !frame.isConnected) removed();
    wasThere = frame.isConnected;
  });
  observer.observe(frame.ownerDocument, { childList: true, subtree: true });
  return () => observer.disconnect();
}
