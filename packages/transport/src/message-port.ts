import { controlAnnounce, controlLevel, controlWord, isControlWord, TunnelError } from "@spanduct/protocol";
import type { BatchHandler, GuestTransport } from "./transport.ts";

/** Node's kind of port: `MessagePort`, `parentPort` or `Worker` of `node:worker_threads`. */
export interface NodePort {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  on(event: "message" | "messageerror" | "close", listener: (message: unknown) => void): unknown;
  unref?(): void;
}

/** The web's kind of port: `MessagePort`, `Worker`, or the global scope of a worker. */
export interface WebPort {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  addEventListener(event: "message" | "messageerror" | "close", listener: (event: { readonly data?: unknown }) => void): void;
  start?(): void;
}

/**
 * One end of a channel. It has to be the transport's own: on Node the guest's end is `unref`ed, and whoever else listens on it
 * or polls it takes messages away.
 */
export type PortLike = NodePort | WebPort;

/** Takes the next message off a port at once: on Node `() => receiveMessageOnPort(port)`. */
export type Poll = () => { readonly message: unknown } | undefined;

/** How the guest's end is set up. */
export interface MessagePortSenderOptions {
  /** Bytes that may be on their way: sent, and not yet acknowledged by the host. Default 16 MiB. */
  readonly maxInFlightBytes?: number;
  /**
   * With it, what the host answered is read at every `send`, so that a guest that never returns to its event loop learns of it.
   * Without it, answers come in when the guest yields.
   */
  readonly poll?: Poll;
}

/** Guest end of a message port. */
export interface MessagePortSender extends GuestTransport {
  /** Bytes that are on their way. */
  readonly inFlightBytes: number;
}

const DEFAULT_MAX_IN_FLIGHT_BYTES = 16 * 1024 * 1024;

/**
 * Send batches through a port, each as an `ArrayBuffer` of its own. The host answers each with a control word, a plain number;
 * the answers also bound what is on its way: beyond `maxInFlightBytes`, `send` throws "transport_failed". One batch is always
 * let through when nothing is on its way.
 *
 * `send` does not use `this`. On Node the port does not keep the guest's thread alive.
 */
export function messagePortSender(port: PortLike, options: MessagePortSenderOptions = {}): MessagePortSender {
  const { maxInFlightBytes = DEFAULT_MAX_IN_FLIGHT_BYTES, poll } = options;
  /** Of the batches on their way, oldest first; the host answers in order. */
  const sizes: number[] = [];
  let inFlightBytes = 0;
  let word: number | undefined;
  let closed = false;

  const onAnswer = (message: unknown): void => {
    if (!isControlWord(message)) return;
    inFlightBytes -= sizes.shift() ?? 0;
    // A request to announce stands until `send` has passed it on, whatever answers follow.
    const announce = word !== undefined && controlAnnounce(word);
    word = announce ? controlWord(controlLevel(message), true) : message;
  };
  const onClose = (): void => {
    closed = true;
  };
  listen(port, { message: onAnswer, close: onClose });
  if ("unref" in port) port.unref?.();

  return {
    get inFlightBytes(): number {
      return inFlightBytes;
    },
    send(batch: Uint8Array): number | undefined {
      for (let next = poll?.(); next !== undefined; next = poll?.()) onAnswer(next.message);
      if (closed) throw new TunnelError("transport_closed", "the host closed the message port");
      const { length } = batch;
      if (inFlightBytes > 0 && inFlightBytes + length > maxInFlightBytes) {
        throw new TunnelError(
          "transport_failed",
          `${length} bytes refused: ${inFlightBytes} of ${maxInFlightBytes} are on their way and the host has not answered`,
        );
      }
      const { buffer } = new Uint8Array(batch);
      try {
        port.postMessage(buffer, [buffer]);
      } catch (cause) {
        throw new TunnelError("transport_failed", "the message port refused a batch", { cause });
      }
      sizes.push(length);
      inFlightBytes += length;
      const answer = word;
      if (answer !== undefined) word = controlWord(controlLevel(answer), false);
      return answer;
    },
  };
}

/** How the host's end is set up. */
export interface MessagePortReceiverOptions {
  /** With it, `drain` works. */
  readonly poll?: Poll;
}

/** Counts of a host's end since it was made. */
export interface MessagePortStats {
  readonly batches: number;
  readonly bytes: number;
  /** Messages that were no batches, or could not be read. */
  readonly ignored: number;
}

/** Host end of a message port. */
export interface MessagePortReceiver {
  readonly stats: MessagePortStats;
  /**
   * Handle what has arrived, now and not at the next turn of the event loop: before an execution is committed, or when its
   * worker has exited. Needs `poll`, without which it does nothing.
   *
   * @param maxMessages stop after so many, because a guest that is still running may go on posting; default 65536
   * @returns how many messages were taken; less than `maxMessages` when the port is empty
   */
  drain(maxMessages?: number): number;
}

const DEFAULT_MAX_DRAINED_MESSAGES = 65_536;

/**
 * Take batches from a port, hand each to `onBatch`, and answer with the control word that it returns. Messages that are not an
 * `ArrayBuffer` are ignored and counted; in particular, memory that the guest could still write to is never read. What
 * `onBatch` throws goes to the event loop or to the caller of `drain`, and the batch stays unanswered.
 */
export function messagePortReceiver(
  port: PortLike,
  onBatch: BatchHandler,
  options: MessagePortReceiverOptions = {},
): MessagePortReceiver {
  const { poll } = options;
  let batches = 0;
  let bytes = 0;
  let ignored = 0;

  const onIgnored = (): void => {
    ignored++;
  };
  const onMessage = (message: unknown): void => {
    if (!(message instanceof ArrayBuffer)) return onIgnored();
    batches++;
    bytes += message.byteLength;
    port.postMessage(onBatch(new Uint8Array(message)), []);
  };
  listen(port, { message: onMessage, messageerror: onIgnored });

  return {
    get stats(): MessagePortStats {
      return { batches, bytes, ignored };
    },
    drain(maxMessages: number = DEFAULT_MAX_DRAINED_MESSAGES): number {
      if (poll === undefined) return 0;
      let taken = 0;
      while (taken < maxMessages) {
        const next = tryPoll(poll);
        if (next === undefined) break;
        taken++;
        if (next === UNREADABLE) onIgnored();
        else onMessage(next.message);
      }
      return taken;
    },
  };
}

const UNREADABLE = { message: undefined };

function tryPoll(poll: Poll): ReturnType<Poll> {
  try {
    return poll();
  } catch {
    return UNREADABLE;
  }
}

interface Listeners {
  readonly message: (message: unknown) => void;
  readonly messageerror?: () => void;
  readonly close?: () => void;
}

function listen(port: PortLike, listeners: Listeners): void {
  for (const event of ["message", "messageerror", "close"] as const) {
    const listener = listeners[event];
    if (listener === undefined) continue;
    if ("on" in port) port.on(event, listener);
    else port.addEventListener(event, ({ data }) => listener(data));
  }
  if ("start" in port) port.start?.();
}
