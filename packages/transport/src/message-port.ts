import { isControlWord, TunnelError } from "@spanduct/protocol";
import { Fifo } from "./fifo.ts";
import { DEFAULT_MAX_IN_FLIGHT_BYTES, InFlight, laterWord, MAX_IN_FLIGHT_BATCHES } from "./in-flight.ts";
import { Pump } from "./pump.ts";
import type { BatchHandler, GuestTransport } from "./transport.ts";

/** Node's kind of port: `MessagePort`, `parentPort` or `Worker` of `node:worker_threads`. */
export interface NodePort {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  on(event: "message" | "messageerror" | "close", listener: (message: unknown) => void): unknown;
  close?(): void;
  unref?(): void;
  hasRef?(): boolean;
}

/** The web's kind of port: `MessagePort`, `Worker`, or the global scope of a worker. */
export interface WebPort {
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  addEventListener(event: "message" | "messageerror" | "close", listener: (event: { readonly data?: unknown }) => void): void;
  close?(): void;
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
  /** Bytes that may be on their way: sent, and not yet answered by the host. Default 16 MiB, in at most 16384 batches. */
  readonly maxInFlightBytes?: number;
  /**
   * With it, what the host answered is read at every `send`, so that a guest that never returns to its event loop learns of it.
   * Without it, answers come in when the guest yields.
   */
  readonly poll?: Poll;
}

/** From the host: how many batches it has handled since it last said so, and the control word. */
type Answer = readonly [batches: number, word: number];

/** Answers that the guest has read before it says so, with their number. */
const READ_ANSWERS = 64;

/** Answers that the host sends without having heard that they are read: those of a guest that never reads are kept for it. */
const MAX_UNREAD_ANSWERS = 256;

/** Guest end of a message port. */
export interface MessagePortSender extends GuestTransport {
  /** Bytes that are on their way. */
  readonly inFlightBytes: number;
}

/**
 * Send batches through a port, each as an `ArrayBuffer` of its own. The host answers with `[batches, word]`: how many it has
 * handled since its last answer, and the control word. That also bounds what is on its way: beyond `maxInFlightBytes`, `send`
 * throws "transport_failed". One batch is always let through when nothing is on its way. The number of answers that were read goes
 * back as a plain number now and then.
 *
 * `send` does not use `this`. On Node the port does not keep the guest's thread alive.
 */
export function messagePortSender(port: PortLike, options: MessagePortSenderOptions = {}): MessagePortSender {
  const { poll } = options;
  const inFlight = new InFlight(options.maxInFlightBytes);
  let closed = false;
  let read = 0;

  const onAnswer = (message: unknown): void => {
    if (!isAnswer(message)) return;
    inFlight.answered(...message);
    if (++read < READ_ANSWERS) return;
    port.postMessage(read, []);
    read = 0;
  };
  const onClose = (): void => {
    closed = true;
  };
  listen(port, { message: onAnswer, close: onClose });
  if ("unref" in port) port.unref?.();

  return {
    get inFlightBytes(): number {
      return inFlight.bytes;
    },
    send(batch: Uint8Array): number | undefined {
      for (let next = poll?.(); next !== undefined; next = poll?.()) onAnswer(next.message);
      if (closed) throw new TunnelError("transport_closed", "the host closed the message port");
      const { length } = batch;
      inFlight.check(length);
      const { buffer } = new Uint8Array(batch);
      try {
        port.postMessage(buffer, [buffer]);
      } catch (cause) {
        throw new TunnelError("transport_failed", "the message port refused a batch", { cause });
      }
      inFlight.sent(length);
      return inFlight.takeWord();
    },
  };
}

function isAnswer(message: unknown): message is Answer {
  return Array.isArray(message) && Number.isSafeInteger(message[0]) && isControlWord(message[1]);
}

/** What the host's end needs of `node:worker_threads` beyond the port: the module itself will do. */
export interface WorkerThreads {
  readonly MessageChannel: new () => { readonly port1: NodePort; readonly port2: NodePort };
  receiveMessageOnPort(port: NodePort): { readonly message: unknown } | undefined;
}

/** How the host's end is set up. */
export interface MessagePortReceiverOptions {
  /**
   * `node:worker_threads`, where the port is a `MessagePort` of it. Without it, Node hands over everything that has queued up in
   * one turn of the event loop, and `drain` finds only what it handed over.
   */
  readonly threads?: WorkerThreads;
  /**
   * What the guest may have on its way, as its own end was told. A guest that is found to have sent twice that without an answer
   * does not keep to it, and is cut off. Default 16 MiB.
   */
  readonly maxInFlightBytes?: number;
  /** Shares the event loop with the other guests of this thread. Default: a pump of its own. */
  readonly pump?: Pump;
  /**
   * Told once that the guest was cut off, "transport_failed": what it had queued is lost, and what it goes on to post is dropped,
   * which costs the host time until the guest is terminated.
   */
  readonly onFailure?: (error: TunnelError) => void;
}

/** Counts of a host's end since it was made. */
export interface MessagePortStats {
  readonly batches: number;
  readonly bytes: number;
  /** Messages that were no batches, or could not be read. */
  readonly ignored: number;
  /** Batches that came and were not handled, because the guest was cut off or the port closed. */
  readonly lost: number;
}

/** Host end of a message port. */
export interface MessagePortReceiver {
  readonly stats: MessagePortStats;
  /**
   * Resolves when all that has arrived is handled, or dropped: before an execution is committed, or when its worker has exited. A
   * guest that goes on sending keeps it waiting.
   */
  drain(): Promise<void>;
  /** Close the port. What was not handled is not. */
  close(): void;
}

/** Messages that are taken off the port for each batch that is handled, so that a queue is seen to be too long before it is. */
const INTAKE = 64;

/** Batches that are answered together, unless there is news for the guest or nothing else to do. */
const ANSWERED_TOGETHER = 64;

/** Messages that the port may hand over before the pump comes to its turn. */
const MAX_EVENTS = 256;

/** Messages that are no batches which a guest may send over its life; an honest one sends none. */
const MAX_IGNORED = 65_536;

/**
 * Take batches from a port, hand each to `onBatch`, and answer with the control word that it returns: in turns of the event loop
 * that `pump` keeps short. Messages that are not an `ArrayBuffer` are ignored and counted; in particular, memory
 * that the guest could still write to is never read. What `onBatch` throws goes to the event loop, and the batch stays unanswered.
 *
 * On Node a port hands over all that is queued in one turn, which a guest can make last. There the port is moved, which stops
 * that, and polled until it is empty: the `port` that was given is unusable then, so close the receiver and not the port.
 */
export function messagePortReceiver(
  port: PortLike,
  onBatch: BatchHandler,
  options: MessagePortReceiverOptions = {},
): MessagePortReceiver {
  return new Receiver(port, onBatch, options);
}

class Receiver implements MessagePortReceiver {
  #port: PortLike;
  readonly #onBatch: BatchHandler;
  readonly #threads: WorkerThreads | undefined;
  readonly #maxBytes: number;
  readonly #onFailure: ((error: TunnelError) => void) | undefined;
  readonly #wake: () => void;
  /** Taken off the port, and neither handled nor answered. */
  readonly #waiting: Fifo<ArrayBuffer> = new Fifo();
  #waitingBytes = 0;
  /** Whether the port hands over messages by itself; when not, it is polled. */
  #listening = false;
  /** Messages that the port handed over since the last step. */
  #events = 0;
  /** Batches handled since the last answer, and the word that goes with the next. */
  #owed = 0;
  #word: number | undefined;
  /** The word of the last answer. */
  #told: number | undefined;
  #unread = 0;
  /** Whether the port keeps the thread alive; undefined where nobody can know. */
  #isRef: boolean | undefined;
  #isCut = false;
  #closed = false;
  readonly #drained: (() => void)[] = [];
  #batches = 0;
  #bytes = 0;
  #ignored = 0;
  #lost = 0;

  constructor(port: PortLike, onBatch: BatchHandler, options: MessagePortReceiverOptions) {
    this.#port = port;
    this.#onBatch = onBatch;
    this.#threads = options.threads;
    this.#maxBytes = 2 * (options.maxInFlightBytes ?? DEFAULT_MAX_IN_FLIGHT_BYTES);
    this.#onFailure = options.onFailure;
    this.#wake = (options.pump ?? new Pump()).source(() => this.#step());
    this.#listen();
  }

  get stats(): MessagePortStats {
    return { batches: this.#batches, bytes: this.#bytes, ignored: this.#ignored, lost: this.#lost };
  }

  drain(): Promise<void> {
    return new Promise((resolve) => {
      this.#drained.push(resolve);
      this.#wake();
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#port.close?.();
    this.#drop();
    this.#wake();
  }

  #listen(): void {
    this.#listening = true;
    const port = this.#port;
    listen(port, {
      message: (message) => {
        // Events that were under way when the port was moved.
        if (this.#closed || port !== this.#port) return;
        this.#take(message);
        if (++this.#events > MAX_EVENTS) this.#move();
        this.#wake();
      },
      messageerror: () => {
        this.#ignore();
        if (++this.#events > MAX_EVENTS) this.#move();
        this.#wake();
      },
    });
    if (this.#isRef === false) (port as NodePort).unref?.();
  }

  /** Have the port no longer hand over messages, also not those of this turn. */
  #move(): void {
    const threads = this.#threads;
    if (threads === undefined) return;
    const port = this.#port as NodePort;
    this.#isRef = port.hasRef?.();
    const { port1, port2 } = new threads.MessageChannel();
    try {
      port1.postMessage(port, [port as unknown as ArrayBuffer]);
      this.#port = threads.receiveMessageOnPort(port2)?.message as NodePort;
      this.#listening = false;
    } catch {
      // Closed by someone else, with all that it had.
    }
    port1.close?.();
  }

  /** Handle one batch. */
  #step(): boolean {
    this.#events = 0;
    const mayHaveMore = !this.#closed && this.#intake();
    const batch = this.#waiting.shift();
    if (batch !== undefined) {
      this.#waitingBytes -= batch.byteLength;
      this.#batches++;
      this.#bytes += batch.byteLength;
      const word = this.#onBatch(new Uint8Array(batch));
      this.#owed++;
      this.#word = this.#word === undefined ? word : laterWord(this.#word, word);
      if (this.#owed >= ANSWERED_TOGETHER || this.#word !== this.#told) this.#answer();
      return true;
    }
    if (mayHaveMore) return true;
    this.#answer();
    if (!this.#closed && !this.#listening) this.#listen();
    for (const resolve of this.#drained.splice(0)) resolve();
    return false;
  }

  #answer(): void {
    if (this.#closed || this.#isCut || this.#word === undefined || this.#unread >= MAX_UNREAD_ANSWERS) return;
    const answer: Answer = [this.#owed, this.#word];
    this.#owed = 0;
    this.#told = this.#word;
    this.#word = undefined;
    this.#unread++;
    this.#port.postMessage(answer, []);
  }

  /** @returns whether the port may have more */
  #intake(): boolean {
    for (let i = 0; i < INTAKE && !this.#closed; i++) {
      let next: { readonly message: unknown } | undefined;
      try {
        next = this.#threads?.receiveMessageOnPort(this.#port as NodePort);
      } catch {
        this.#ignore();
        continue;
      }
      if (next === undefined) return false;
      this.#take(next.message);
    }
    return true;
  }

  #take(message: unknown): void {
    if (typeof message === "number" && message > 0 && message <= this.#unread) {
      this.#unread -= message;
      return;
    }
    if (!(message instanceof ArrayBuffer)) return this.#ignore();
    if (this.#isCut) {
      this.#lost++;
      return;
    }
    this.#waiting.push(message);
    this.#waitingBytes += message.byteLength;
    // Whatever its size, a guest may send one when nothing is on its way: the oldest.
    const bytes = this.#waitingBytes - (this.#waiting.first as ArrayBuffer).byteLength;
    const { length } = this.#waiting;
    if (bytes > this.#maxBytes || length > 2 * MAX_IN_FLIGHT_BATCHES) {
      this.#fail(`the guest does not wait for answers: ${this.#waitingBytes} bytes in ${length} batches have none`);
    }
  }

  #ignore(): void {
    if (++this.#ignored > MAX_IGNORED) this.#fail(`the guest sent ${this.#ignored} messages that are no batches`);
  }

  /** The port stays open, because closing it would free all that is queued there at once, which takes its time too. */
  #fail(reason: string): void {
    if (this.#isCut) return;
    this.#isCut = true;
    this.#drop();
    this.#onFailure?.(new TunnelError("transport_failed", reason));
  }

  #drop(): void {
    while (this.#waiting.shift() !== undefined) this.#lost++;
    this.#waitingBytes = 0;
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
