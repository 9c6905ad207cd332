import { TracingEventSender } from "@spanduct/sender";
import type { ConnectOptions } from "../guest-sender.ts";
import { GuestEnd } from "../web-port/guest-end.ts";
import { Line } from "../web-port/line.ts";
import { type Greeting, typeOf } from "../web-port/messages.ts";

/** How a page connects to its host. */
export interface FrameConnectOptions extends ConnectOptions {
  /** The only origin that gets to know what is traced, as in `https://app.example`. `*` for whoever embeds this page. */
  readonly hostOrigin: string;
  /** The host's window. Default `parent`; `opener` in a window that the host has opened. */
  readonly host?: Window;
}

interface Connection {
  readonly end: GuestEnd;
  readonly welcomed: Promise<void>;
}

/** The global scope of a page. Registered, so that copies of this module share one connection. */
interface PageScope {
  [CONNECTION]?: Connection;
}

const CONNECTION: unique symbol = Symbol.for("@spanduct/sandbox/iframe") as never;

/**
 * The sender of this page; the same one at every call, with the options of the first. Its clock is `performance`. It can be used at
 * once: until a host says that it is there, up to 16 MiB are kept for it. In a page that is nobody's frame, a sender that is off.
 *
 * What nobody catches, be it an error or a promise, ends the guest: the host rolls back, unless a listener of the page's has called
 * `preventDefault()`. So does leaving the page without a `disconnect()`.
 */
export function connect(options: FrameConnectOptions): TracingEventSender {
  const { host = parent } = options;
  if (host === window) return new TracingEventSender(() => undefined, { maxLevel: "off" });
  const scope = globalThis as PageScope;
  scope[CONNECTION] ??= open(host, options);
  return scope[CONNECTION].end.tracing;
}

/**
 * Resolves when the host has answered: from then on the page knows the level that the host wants, and `traceparent` what the host's
 * trace is. Never, in a page that has no host.
 */
export function connected(): Promise<void> {
  return (globalThis as PageScope)[CONNECTION]?.welcomed ?? new Promise(() => undefined);
}

/** The guest has come to its end: what is batched is delivered, the host commits, and what is traced afterwards goes nowhere. */
export function disconnect(): void {
  (globalThis as PageScope)[CONNECTION]?.end.end();
}

function open(host: Window, { hostOrigin, host: _, ...options }: FrameConnectOptions): Connection {
  let welcome: () => void;
  const welcomed = new Promise<void>((resolve) => {
    welcome = resolve;
  });
  const line = new Line({
    offer: (port, again) => host.postMessage({ spanduct: "connect", again } satisfies Greeting, hostOrigin, [port]),
    onWelcome: ({ control, traceContext }) => {
      end.begin(control, traceContext);
      welcome();
    },
  });
  const end = new GuestEnd(line, options);
  addEventListener("message", ({ source, origin, data }) => {
    const isHost = source === host && (hostOrigin === "*" || origin === hostOrigin);
    if (isHost && typeOf(data) === "knock") line.offerAgain();
  });
  addEventListener("pagehide", ({ persisted }) => {
    // What is kept for going back comes alive again, together with its host.
    if (!persisted) end.leave();
  });
  return { end, welcomed };
}
