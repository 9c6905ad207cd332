import { controlWord, DecodeError, isControlWord, TunnelError } from "@spanduct/protocol";
import { type Frame, FrameKind, type MaxPayload, readUint32, writeUint32 } from "./frame.ts";
import { InFlight, laterWord } from "./in-flight.ts";
import { afterIo } from "./pump.ts";
import type { BatchHandler, GuestTransport } from "./transport.ts";

/** Guest end of a connection to a host in another process, on another machine, or otherwise out of reach of shared memory. */
export interface RemoteSender extends GuestTransport {
  /** Bytes that are on their way: sent, and not yet answered by the host. */
  readonly inFlightBytes: number;
  /** Batches that are on their way. When the connection breaks they may be lost, and nobody can know. */
  readonly inFlightBatches: number;
  /** As `send`, whatever is on its way already: for what a guest has batched when it ends. */
  sendLast(batch: Uint8Array): number | undefined;
  /**
   * What the host says first. Until then `send` works and returns nothing; who wants to know the level before it begins waits.
   *
   * Rejects with a TunnelError "transport_closed" when the host is gone, or is no host of spanduct.
   */
  readonly hello: Promise<Hello>;
  /**
   * Resolves when the host has hung up or is gone, with the number of batches that it did not answer: 0 when all is well. Never
   * rejects.
   */
  readonly closed: Promise<number>;
  /**
   * Say that this was all. `send` throws "transport_closed" from now on.
   *
   * @param reason what ended the guest, of any form that the host expects, cut at 64 KiB; without it, it came to its end
   * @returns `closed`
   */
  close(reason?: Uint8Array): Promise<number>;
}

/** Guest end of a connection that never waits. */
export interface DescriptorSender extends RemoteSender {
  /** What the host said first, once it has come. */
  readonly greeting: Hello | undefined;
  /**
   * Read what has come, and write what had no room, as `send` does. To be called now and then while there is something left and
   * nothing else is sent.
   *
   * @returns bytes that still have no room
   */
  flush(): number;
}

/** What a host says first. */
export interface Hello {
  /** Control word to begin with. */
  readonly control: number;
  /** What else the host has to say to this guest, empty if nothing. */
  readonly context: Uint8Array;
}

/** How the guest's end is set up. */
export interface RemoteSenderOptions {
  /** Bytes that may be on their way: sent, and not yet answered by the host. Default 16 MiB, in at most 16384 batches. */
  readonly maxInFlightBytes?: number;
}

/** How the host's end is set up. */
export interface RemoteReceiverOptions {
  /** Control word to begin with: `receiver.control()`. Default: the level `trace`. */
  readonly control?: number;
  /** What else to say to the guest first, at most 65532 bytes. Default nothing. */
  readonly context?: Uint8Array;
  /** Bytes of one batch; a guest that announces more is cut off. Default 4 MiB, as in a receiver's `maxBatchBytes`. */
  readonly maxBatchBytes?: number;
}

/** How a connection ended. */
export type RemoteEnd =
  /** The guest is gone, or the host hung up, before a single byte came. */
  | { readonly kind: "silent" }
  /** The guest said that this was all. */
  | { readonly kind: "finished" }
  /** The guest said what ended it. */
  | { readonly kind: "failed"; readonly reason: Uint8Array }
  /**
   * The guest is gone without a word, or does not keep to the form: "transport_closed" (gone, also in the middle of a batch, which is
   * lost), "transport_failed" (the connection failed), "malformed", "unsupported_version", "limit_exceeded".
   */
  | { readonly kind: "broken"; readonly error: TunnelError };

/** Host end of a connection. */
export interface RemoteReceiver {
  readonly stats: RemoteStats;
  /**
   * Resolves when all that came is handled and no more will be. Never rejects. The connection is closed by then, or once the guest
   * has read its last answer.
   */
  readonly ended: Promise<RemoteEnd>;
  /** Hang up now: `broken`, "transport_closed", or `silent`, unless it has ended. What was not handled is not. */
  close(): void;
}

/** Counts of a host's end since it was made. */
export interface RemoteStats {
  readonly batches: number;
  /** Of those batches. */
  readonly bytes: number;
}

const MAX_SMALL_PAYLOAD = 64 * 1024;
const ANSWER_BYTES = 8;

/** What a host reads. */
export function fromGuest(maxBatchBytes: number = 4 * 1024 * 1024): MaxPayload {
  return (kind) => (kind === FrameKind.batch ? maxBatchBytes : kind === FrameKind.end ? MAX_SMALL_PAYLOAD : undefined);
}

/** What a guest reads. */
export const fromHost: MaxPayload = (kind) =>
  kind === FrameKind.answer ? ANSWER_BYTES : kind === FrameKind.hello ? MAX_SMALL_PAYLOAD : undefined;

/** What carries the frames of a guest. */
export interface GuestWire {
  /** Where that can be done at once: read what has come, write what had no room. @returns bytes that still have none */
  poll?(): number;
  /** @param payload copied */
  post(kind: FrameKind, payload: Uint8Array): void;
  /** Close it now. */
  destroy(): void;
}

/** The guest's end of a conversation, whatever carries the frames. */
export class RemoteGuest implements DescriptorSender {
  readonly hello: Promise<Hello>;
  readonly send: (batch: Uint8Array) => number | undefined;
  readonly sendLast: (batch: Uint8Array) => number | undefined;
  readonly #inFlight: InFlight;
  readonly #wire: GuestWire;
  readonly #greeting = withResolvers<Hello>();
  readonly #closed = withResolvers<number>();
  /** Why nothing is sent any more. */
  #gone: TunnelError | undefined;
  #hello: Hello | undefined;

  constructor(wire: GuestWire, options: RemoteSenderOptions) {
    this.#wire = wire;
    this.#inFlight = new InFlight(options.maxInFlightBytes);
    this.hello = this.#greeting.promise;
    // Those who want to know wait for it.
    this.hello.catch(() => undefined);
    this.send = (batch) => this.#send(batch, false);
    this.sendLast = (batch) => this.#send(batch, true);
  }

  get greeting(): Hello | undefined {
    return this.#hello;
  }

  get closed(): Promise<number> {
    return this.#closed.promise;
  }

  get inFlightBytes(): number {
    return this.#inFlight.bytes;
  }

  get inFlightBatches(): number {
    return this.#inFlight.batches;
  }

  flush(): number {
    return this.#wire.poll?.() ?? 0;
  }

  #send(batch: Uint8Array, isLast: boolean): number | undefined {
    this.flush();
    if (this.#gone !== undefined) throw this.#gone;
    if (!isLast) this.#inFlight.check(batch.length);
    try {
      this.#wire.post(FrameKind.batch, batch);
    } catch (cause) {
      throw new TunnelError("transport_failed", "the connection refused a batch", { cause });
    }
    this.#inFlight.sent(batch.length);
    return this.#inFlight.takeWord();
  }

  close(reason: Uint8Array = new Uint8Array()): Promise<number> {
    if (this.#gone === undefined) {
      this.#gone = new TunnelError("transport_closed", "this end was closed");
      this.#wire.post(FrameKind.end, reason.subarray(0, MAX_SMALL_PAYLOAD));
    }
    return this.#closed.promise;
  }

  /** A frame of a kind that `fromHost` lets through. */
  receive({ kind, payload }: Frame): void {
    if (kind === FrameKind.hello) {
      if (this.#hello !== undefined || payload.length < 4) return this.broken(malformed("hello"));
      const control = readUint32(payload, 0);
      if (!isControlWord(control)) return this.broken(malformed("hello"));
      this.#hello = { control, context: payload.slice(4) };
      this.#inFlight.told(control);
      this.#greeting.resolve(this.#hello);
    } else {
      const word = payload.length === ANSWER_BYTES ? readUint32(payload, 4) : 0;
      if (this.#hello === undefined || !isControlWord(word)) return this.broken(malformed("answer"));
      this.#inFlight.answered(readUint32(payload, 0), word);
    }
  }

  /** The host hung up, or the connection broke, or what comes is not from a host. */
  broken(cause?: unknown): void {
    const error = new TunnelError("transport_closed", "the host is gone", { cause });
    this.#gone ??= error;
    this.#wire.destroy();
    this.#greeting.reject(error);
    this.#closed.resolve(this.#inFlight.batches);
  }
}

/** What carries the frames of a host. */
export interface HostWire {
  /** Whether anything has come from the guest. */
  readonly heard: boolean;
  /** Whether the guest is behind with reading: post no more before `RemoteHost.answer` is called. */
  readonly busy: boolean;
  /** @param payload copied */
  post(kind: FrameKind, payload: Uint8Array): void;
  /** Close it when what was posted has gone out. */
  finish(): void;
  /** Close it now. @param error what the guest did wrong, if it was that */
  destroy(error?: TunnelError): void;
}

/** The host's end of a conversation, whatever carries the frames. */
export class RemoteHost {
  readonly ended: Promise<RemoteEnd>;
  readonly #end = withResolvers<RemoteEnd>();
  readonly #wire: HostWire;
  readonly #onBatch: BatchHandler;
  #over = false;
  /** Whether the guest waits for its last answer. */
  #leaving = false;
  #batches = 0;
  #bytes = 0;
  /** Batches handled since the last answer, and the word that goes with the next. */
  #owed = 0;
  #word: number | undefined;
  #isAnswering = false;

  /** Says hello. */
  constructor(wire: HostWire, onBatch: BatchHandler, options: RemoteReceiverOptions) {
    this.#wire = wire;
    this.#onBatch = onBatch;
    this.ended = this.#end.promise;
    const { control = controlWord(5, false), context = new Uint8Array() } = options;
    const hello = new Uint8Array(4 + context.length);
    writeUint32(hello, 0, control);
    hello.set(context, 4);
    wire.post(FrameKind.hello, hello);
  }

  get stats(): RemoteStats {
    return { batches: this.#batches, bytes: this.#bytes };
  }

  /** Whether no more frames are to be handled. */
  get over(): boolean {
    return this.#over;
  }

  /** Handle a frame of a kind that `fromGuest` lets through. */
  receive({ kind, payload }: Frame): void {
    if (this.#over) return;
    if (kind === FrameKind.end) {
      this.#leaving = true;
      this.#settle(payload.length === 0 ? { kind: "finished" } : { kind: "failed", reason: payload.slice() });
      return this.answer();
    }
    this.#batches++;
    this.#bytes += payload.length;
    const word = this.#onBatch(payload);
    this.#owed++;
    this.#word = this.#word === undefined ? word : laterWord(this.#word, word);
    this.#answerSoon();
  }

  /**
   * Answer what was handled, once for all of a turn, and after what has come meanwhile is read: writing to a guest that is gone makes
   * an end of a socket, with all in it that was not read.
   */
  #answerSoon(): void {
    if (this.#isAnswering) return;
    this.#isAnswering = true;
    afterIo(() => {
      this.#isAnswering = false;
      this.answer();
    });
  }

  /** Answer what was handled; when the guest is behind with reading, together with what will be handled until it is not. */
  answer(): void {
    if (this.#wire.busy) return;
    if (this.#word !== undefined) {
      const answer = new Uint8Array(ANSWER_BYTES);
      writeUint32(answer, 0, this.#owed);
      writeUint32(answer, 4, this.#word);
      this.#owed = 0;
      this.#word = undefined;
      this.#wire.post(FrameKind.answer, answer);
    }
    if (!this.#leaving) return;
    this.#leaving = false;
    this.#wire.finish();
  }

  /** Hang up. @param error why, unless it is over already */
  broken(error: TunnelError): void {
    const isSilent = error.code === "transport_closed" && !this.#wire.heard;
    if (!this.#over) this.#settle(isSilent ? { kind: "silent" } : { kind: "broken", error });
    this.#leaving = false;
    this.#wire.destroy(error);
  }

  #settle(end: RemoteEnd): void {
    this.#over = true;
    this.#end.resolve(end);
  }
}

function malformed(what: string): DecodeError {
  return new DecodeError("malformed", `what the host sent is no ${what}`, 0);
}

interface Resolvers<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** As `Promise.withResolvers`, which Node 20 does not have. */
function withResolvers<T>(): Resolvers<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
