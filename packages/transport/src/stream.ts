import { type DecodeError, TunnelError } from "@spanduct/protocol";
import { type ByteChannel, type ByteStream, openStream } from "./byte-stream.ts";
import { Fifo } from "./fifo.ts";
import { encodeFrame, type Frame, FrameReader, PREFACE } from "./frame.ts";
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

export type { ByteStream, NodeReadable, NodeWritable, WebReadable, WebWritable } from "./byte-stream.ts";
export type {
  Hello,
  RemoteEnd,
  RemoteReceiver,
  RemoteReceiverOptions,
  RemoteSender,
  RemoteSenderOptions,
  RemoteStats,
} from "./remote.ts";

/** How the host's end of a stream is set up. */
export interface StreamReceiverOptions extends RemoteReceiverOptions {
  /** Shares the event loop with the other guests of this thread. Default: a pump of its own. */
  readonly pump?: Pump;
}

/**
 * Send batches over a stream of bytes; framing in `proto/README.md`. What the stream does not take at once is kept and goes out when
 * it does, within `maxInFlightBytes`; beyond that `send` throws "transport_failed". One batch is always let through when nothing is on
 * its way. Answers are read when the guest yields to its event loop.
 *
 * `send` and `sendLast` do not use `this`. The stream keeps the guest's process alive: `close` in the end.
 */
export function streamSender(stream: ByteStream, options: RemoteSenderOptions = {}): RemoteSender {
  const reader = new FrameReader(fromHost);
  /** Frames that the stream has no room for. */
  const queue: Fifo<Uint8Array> = new Fifo();
  const channel: ByteChannel = openStream(stream, {
    chunk(bytes) {
      reader.push(bytes);
      try {
        for (let frame = reader.next(); frame !== undefined; frame = reader.next()) guest.receive(frame);
      } catch (error) {
        guest.broken(error);
      }
    },
    end: (error) => guest.broken(error),
    unwritable: (error) => guest.broken(error),
    ready() {
      while (queue.length > 0 && !channel.busy) channel.write(joined(queue));
    },
  });
  const guest = new RemoteGuest(
    {
      post(kind, payload) {
        const frame = encodeFrame(kind, payload);
        if (channel.busy || queue.length > 0) queue.push(frame);
        else channel.write(frame);
      },
      destroy: channel.destroy,
    },
    options,
  );
  channel.write(PREFACE.slice());
  return guest;
}

/** Frames that wait go out together, up to this many bytes. */
const WRITE_BYTES = 64 * 1024;

/** Take what comes next off the queue. */
function joined(queue: Fifo<Uint8Array>): Uint8Array {
  const frames: Uint8Array[] = [];
  let length = 0;
  do {
    const frame = queue.shift() as Uint8Array;
    frames.push(frame);
    length += frame.length;
  } while (length + (queue.first?.length ?? WRITE_BYTES) <= WRITE_BYTES);
  if (frames.length === 1) return frames[0] as Uint8Array;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const frame of frames) {
    bytes.set(frame, at);
    at += frame.length;
  }
  return bytes;
}

/** Bytes that may have been read and not looked at; beyond, the stream is paused. */
const MAX_WAITING_BYTES = 256 * 1024;

/**
 * Take batches from a stream of bytes, hand each to `onBatch`, and answer with the control words that it returns, in turns of the
 * event loop that `pump` keeps short. The bytes of a batch may be part of a larger piece of memory: copy what you keep for long. What
 * `onBatch` throws goes to the event loop, and the batch stays unanswered.
 *
 * Nothing here grows with what a guest sends or does not read: the stream is paused while the host is behind, lengths are checked
 * before memory is taken, and answers that the guest does not read become one. A guest that sends nothing at all is not noticed:
 * where that matters, give the socket a timeout. It closes the stream when it is over.
 */
export function streamReceiver(stream: ByteStream, onBatch: BatchHandler, options: StreamReceiverOptions = {}): RemoteReceiver {
  return new StreamReceiver(stream, onBatch, options);
}

class StreamReceiver implements RemoteReceiver {
  readonly #channel: ByteChannel;
  readonly #host: RemoteHost;
  readonly #reader: FrameReader;
  readonly #chunks: Fifo<Uint8Array> = new Fifo();
  #waitingBytes = 0;
  #paused = false;
  #heard = false;
  /** Set when nothing comes any more. */
  #cutOff: { readonly error: unknown } | undefined;

  constructor(stream: ByteStream, onBatch: BatchHandler, options: StreamReceiverOptions) {
    this.#reader = new FrameReader(fromGuest(options.maxBatchBytes));
    const wake = (options.pump ?? new Pump()).source(() => this.#step());
    this.#channel = openStream(stream, {
      chunk: (bytes) => {
        this.#heard = true;
        this.#chunks.push(bytes);
        this.#waitingBytes += bytes.length;
        if (this.#waitingBytes > MAX_WAITING_BYTES && !this.#paused) {
          this.#paused = true;
          this.#channel.pause();
        }
        wake();
      },
      end: (error) => {
        this.#cutOff = { error };
        wake();
      },
      // What it has sent is taken in all the same.
      unwritable: () => undefined,
      ready: () => this.#host.answer(),
    });
    this.#channel.write(PREFACE.slice());
    this.#host = new RemoteHost(this.#wire(), onBatch, options);
  }

  get stats(): RemoteStats {
    return this.#host.stats;
  }

  get ended(): Promise<RemoteEnd> {
    return this.#host.ended;
  }

  close(): void {
    this.#host.broken(new TunnelError("transport_closed", "the host closed the stream"));
  }

  /** Handle one frame. */
  #step(): boolean {
    if (this.#host.over) return false;
    let frame: Frame | undefined;
    try {
      frame = this.#reader.next();
    } catch (error) {
      this.#host.broken(error as DecodeError);
      return false;
    }
    if (frame !== undefined) {
      this.#host.receive(frame);
      return true;
    }
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) {
      this.#waitingBytes -= chunk.length;
      this.#reader.push(chunk);
      return true;
    }
    if (this.#cutOff !== undefined) this.#gone(this.#cutOff.error);
    else if (this.#paused) {
      this.#paused = false;
      this.#channel.resume();
      this.#host.answer();
    }
    return false;
  }

  /** The stream ended, and nobody said that it would. */
  #gone(cause: unknown): void {
    const where = this.#reader.atBoundary ? "" : `, after ${this.#reader.progress}`;
    const error =
      cause === undefined
        ? new TunnelError("transport_closed", `the guest is gone without a word${where}`)
        : new TunnelError("transport_failed", `the stream failed${where}`, { cause });
    this.#host.broken(error);
  }

  #wire(): HostWire {
    const channel = this.#channel;
    const heard = (): boolean => this.#heard;
    // What was not read is lost when a write fails.
    const isBehind = (): boolean => this.#paused && !this.#host.over;
    return {
      get heard() {
        return heard();
      },
      get busy() {
        return channel.busy || isBehind();
      },
      post: (kind, payload) => channel.write(encodeFrame(kind, payload)),
      finish: channel.finish,
      destroy: channel.destroy,
    };
  }
}
