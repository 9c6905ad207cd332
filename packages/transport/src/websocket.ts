import { DecodeError, TunnelError, type TunnelErrorCode } from "@spanduct/protocol";
import { Fifo } from "./fifo.ts";
import type { Frame, FrameKind, MaxPayload } from "./frame.ts";
import { DEFAULT_MAX_IN_FLIGHT_BYTES, MAX_IN_FLIGHT_BATCHES } from "./in-flight.ts";
import { Pump } from "./pump.ts";
import {
  fromGuest,
  fromHost,
  type HostWire,
  type RemoteEnd,
  RemoteGuest,
  RemoteHost,
  type RemoteReceiver,
  type RemoteReceiverOptions,
  type RemoteSender,
  type RemoteSenderOptions,
  type RemoteStats,
} from "./remote.ts";
import type { BatchHandler } from "./transport.ts";

export type {
  Hello,
  RemoteEnd,
  RemoteReceiver,
  RemoteReceiverOptions,
  RemoteSender,
  RemoteSenderOptions,
  RemoteStats,
} from "./remote.ts";

/** The subprotocol that both ends ask for: what a WebSocket has for a version. */
export const WEBSOCKET_PROTOCOL = "spanduct.v1";

/**
 * What is used of a standard `WebSocket`: that of browsers, Node, Deno, Bun and workerd, and that of the package `ws`. It is the
 * transport's own, which closes it in the end.
 */
export interface WebSocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  readonly protocol: string;
  readonly readyState: number;
  addEventListener(
    type: "open" | "message" | "error" | "close",
    listener: (event: {
      readonly type: string;
      readonly data?: unknown;
      readonly code?: number;
      readonly error?: unknown;
    }) => void,
  ): void;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  /** Of `ws`: with these two, a guest that is faster than its host is held back. */
  pause?(): void;
  resume?(): void;
  /** Of `ws`: close without waiting for the other side. */
  terminate?(): void;
}

/** How the host's end of a WebSocket is set up. */
export interface WebSocketReceiverOptions extends RemoteReceiverOptions {
  /** Shares the event loop with the other guests of this thread. Default: a pump of its own. */
  readonly pump?: Pump;
  /**
   * What the guest may have on its way, as its own end was told: where sockets cannot be paused, a guest is cut off that is found to
   * have sent twice that without an answer. Default 16 MiB.
   */
  readonly maxInFlightBytes?: number;
}

/** Host end of a WebSocket. */
export interface WebSocketReceiver extends RemoteReceiver {
  readonly stats: WebSocketStats;
}

/** Counts of a host's end since it was made. */
export interface WebSocketStats extends RemoteStats {
  /** Messages that were text. */
  readonly ignored: number;
}

const CONNECTING = 0;
const OPEN = 1;

/**
 * Send batches over a WebSocket that asks for `WEBSOCKET_PROTOCOL`, one binary message each. It may still be connecting: what is sent
 * before goes out when it is open. Bounded as a stream is: beyond `maxInFlightBytes` that the host has not answered, so also beyond
 * that in the socket's `bufferedAmount`, `send` throws "transport_failed". One batch is always let through when nothing is on its way.
 * Answers are read when the guest yields to its event loop.
 *
 * `send` and `sendLast` do not use `this`.
 */
export function webSocketSender(socket: WebSocketLike, options: RemoteSenderOptions = {}): RemoteSender {
  const post = openSocket(socket);
  let failure: unknown;
  const guest = new RemoteGuest({ post, destroy: () => close(socket, 1000) }, options);
  socket.addEventListener("message", ({ data }) => {
    const message = bytesOf(data);
    if (message === undefined) return;
    try {
      guest.receive(toFrame(message, fromHost));
    } catch (error) {
      guest.broken(error);
    }
  });
  socket.addEventListener("error", (event) => {
    failure = event.error;
  });
  socket.addEventListener("close", ({ code }) =>
    guest.broken(failure ?? new Error(`the WebSocket was closed with code ${code}`)),
  );
  return guest;
}

/**
 * Take batches from a WebSocket, hand each to `onBatch`, and answer with the control words that it returns, in turns of the event loop
 * that `pump` keeps short. The bytes of a batch are part of a message. What `onBatch` throws goes to the event loop, and the batch
 * stays unanswered.
 *
 * A guest that is too fast is held back where the socket can be paused (`ws`), and cut off elsewhere. Text is ignored and counted.
 * What is no message of a guest's closes the socket: 1002 for the form, 1009 for the size, 1008 for a flood, or where only codes of
 * one's own may be given 4002, 4009, 4008. A socket that did not ask for `WEBSOCKET_PROTOCOL` is closed with 1002.
 *
 * A message is in memory before it gets here: give a `ws` server a `maxPayload` of `maxBatchBytes + 1`.
 */
export function webSocketReceiver(
  socket: WebSocketLike,
  onBatch: BatchHandler,
  options: WebSocketReceiverOptions = {},
): WebSocketReceiver {
  return new Receiver(socket, onBatch, options);
}

/** What may wait, in bytes and in messages, before the socket is paused. */
const MAX_WAITING_BYTES = 256 * 1024;
const MAX_WAITING = 256;

/** Bytes of answers that may wait for a guest that does not read: more become one. */
const MAX_BUFFERED_BYTES = 64 * 1024;

/** How long until it is seen whether a guest reads its answers again: sockets do not tell. */
const RETRY_MS = 50;

/** How long a guest that is cut off has to learn why. */
const LAST_WORDS_MS = 1000;

class Receiver implements WebSocketReceiver {
  readonly #socket: WebSocketLike;
  readonly #host: RemoteHost;
  readonly #maxPayload: MaxPayload;
  readonly #maxBytes: number;
  readonly #wake: () => void;
  readonly #waiting: Fifo<Uint8Array> = new Fifo();
  #waitingBytes = 0;
  /** Messages since the last step. */
  #events = 0;
  #ignored = 0;
  #paused = false;
  #retrying = false;
  /** Set when nothing comes any more. */
  #cutOff: TunnelError | undefined;

  constructor(socket: WebSocketLike, onBatch: BatchHandler, options: WebSocketReceiverOptions) {
    this.#socket = socket;
    this.#maxPayload = fromGuest(options.maxBatchBytes);
    this.#maxBytes = 2 * (options.maxInFlightBytes ?? DEFAULT_MAX_IN_FLIGHT_BYTES);
    this.#wake = (options.pump ?? new Pump()).source(() => this.#step());
    const post = openSocket(socket, () => this.#checkProtocol());
    // What was not read is lost when a write fails.
    const isBehind = (): boolean => this.#paused && !this.#host.over;
    const wire: HostWire = {
      // The guest asked for a socket.
      heard: true,
      get busy() {
        return socket.bufferedAmount > MAX_BUFFERED_BYTES || isBehind();
      },
      post,
      finish: () => close(socket, 1000),
      destroy: (error) => this.#hangUp(error),
    };
    this.#host = new RemoteHost(wire, onBatch, options);
    this.#listen();
    if (socket.readyState !== CONNECTING) this.#checkProtocol();
  }

  get stats(): WebSocketStats {
    return { ...this.#host.stats, ignored: this.#ignored };
  }

  get ended(): Promise<RemoteEnd> {
    return this.#host.ended;
  }

  close(): void {
    this.#host.broken(new TunnelError("transport_closed", "the host closed the WebSocket"));
  }

  #listen(): void {
    let failure: unknown;
    const socket = this.#socket;
    socket.addEventListener("message", ({ data }) => this.#take(bytesOf(data)));
    socket.addEventListener("error", (event) => {
      failure = event.error ?? new Error("the WebSocket failed");
    });
    socket.addEventListener("close", ({ code }) => {
      this.#cutOff =
        failure === undefined
          ? new TunnelError("transport_closed", `the guest is gone without a word, with code ${code}`)
          : new TunnelError("transport_failed", "the WebSocket failed", { cause: failure });
      this.#wake();
    });
  }

  #checkProtocol(): void {
    const { protocol } = this.#socket;
    if (protocol === WEBSOCKET_PROTOCOL) return;
    const reason = `the WebSocket speaks ${JSON.stringify(protocol)}, not ${WEBSOCKET_PROTOCOL}`;
    this.#host.broken(new TunnelError("unsupported_version", reason));
  }

  #take(message: Uint8Array | undefined): void {
    if (this.#host.over) {
      // Leave to who is cut off no more of the event loop than to others.
      if (++this.#events > MAX_WAITING) this.#socket.pause?.();
      return;
    }
    if (message === undefined) {
      this.#ignored++;
    } else {
      this.#waiting.push(message);
      this.#waitingBytes += message.length;
    }
    const { length } = this.#waiting;
    const isMuch = ++this.#events > MAX_WAITING || length > MAX_WAITING || this.#waitingBytes > MAX_WAITING_BYTES;
    if (isMuch && !this.#paused) {
      this.#paused = true;
      this.#socket.pause?.();
    }
    // Whatever its size, a guest may send one when nothing is on its way: the oldest.
    const bytes = this.#waitingBytes - (this.#waiting.first?.length ?? 0);
    if (bytes > this.#maxBytes || length > 2 * MAX_IN_FLIGHT_BATCHES) {
      const reason = `the guest does not wait for answers: ${this.#waitingBytes} bytes in ${length} batches have none`;
      return this.#host.broken(new TunnelError("transport_failed", reason));
    }
    this.#wake();
  }

  /** Handle one message. */
  #step(): boolean {
    this.#events = 0;
    if (this.#host.over) return false;
    const message = this.#waiting.shift();
    if (message !== undefined) {
      this.#waitingBytes -= message.length;
      let frame: Frame;
      try {
        frame = toFrame(message, this.#maxPayload);
      } catch (error) {
        this.#host.broken(error as DecodeError);
        return false;
      }
      this.#host.receive(frame);
      this.#retry();
      return true;
    }
    if (this.#cutOff !== undefined) this.#host.broken(this.#cutOff);
    else if (this.#paused) {
      this.#paused = false;
      this.#socket.resume?.();
      this.#host.answer();
    }
    return false;
  }

  /** See to it that what is owed is answered once the guest reads again. */
  #retry(): void {
    if (this.#retrying || this.#socket.bufferedAmount <= MAX_BUFFERED_BYTES) return;
    this.#retrying = true;
    later(() => {
      this.#retrying = false;
      if (this.#socket.readyState !== OPEN) return;
      this.#host.answer();
      this.#retry();
    }, RETRY_MS);
  }

  #hangUp(error: TunnelError | undefined): void {
    const socket = this.#socket;
    while (this.#waiting.shift() !== undefined);
    close(socket, CLOSE_CODES[error?.code ?? "transport_closed"] ?? 1001);
    later(() => socket.terminate?.(), LAST_WORDS_MS);
  }
}

const CLOSE_CODES: { readonly [code in TunnelErrorCode]?: number } = {
  malformed: 1002,
  unsupported_version: 1002,
  limit_exceeded: 1009,
  transport_failed: 1008,
};

function close(socket: WebSocketLike, code: number): void {
  try {
    socket.close(code);
  } catch {
    // Browsers and Deno let only 1000 and codes of one's own be given.
    socket.close(code + 3000);
  }
}

/** @returns posts frames, those that come before the socket is open once it is */
function openSocket(socket: WebSocketLike, onOpen?: () => void): (kind: FrameKind, payload: Uint8Array) => void {
  const early: Uint8Array<ArrayBuffer>[] = [];
  socket.binaryType = "arraybuffer";
  socket.addEventListener("open", () => {
    onOpen?.();
    for (const message of early.splice(0)) socket.send(message);
  });
  return (kind, payload) => {
    const message = new Uint8Array(1 + payload.length);
    message[0] = kind;
    message.set(payload, 1);
    if (socket.readyState === CONNECTING) early.push(message);
    else if (socket.readyState === OPEN) socket.send(message);
  };
}

/** A frame without the length that a stream needs. */
function toFrame(message: Uint8Array, maxPayload: MaxPayload): Frame {
  const [kind = 0] = message;
  const max = maxPayload(kind);
  if (max === undefined) throw new DecodeError("malformed", `a message of kind ${kind} is not expected`, 0);
  const payload = message.subarray(1);
  if (payload.length > max) {
    throw new DecodeError("limit_exceeded", `a message of kind ${kind} has ${payload.length} bytes, ${max} are allowed`, 1);
  }
  return { kind, payload };
}

function bytesOf(data: unknown): Uint8Array | undefined {
  return data instanceof ArrayBuffer ? new Uint8Array(data) : undefined;
}

interface Timers {
  readonly setTimeout: (run: () => void, ms: number) => unknown;
}

/** After some time, unless nothing else keeps the process alive. */
function later(run: () => void, ms: number): void {
  const timer = (globalThis as unknown as Timers).setTimeout(run, ms) as { unref?: () => void };
  timer.unref?.();
}
