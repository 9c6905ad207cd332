import { Fifo } from "./fifo.ts";
import { encodeFrame, type FrameKind, FrameReader, PREFACE } from "./frame.ts";
import { type DescriptorSender, fromHost, type GuestWire, RemoteGuest, type RemoteSenderOptions } from "./remote.ts";

export type { DescriptorSender, Hello, RemoteSender, RemoteSenderOptions } from "./remote.ts";

/** A connection that is read and written without ever waiting, such as two file descriptors of Node that do not block. */
export interface Descriptor {
  /** @returns how many bytes were taken; 0 when there is no room now. @throws when the other side is gone */
  write(bytes: Uint8Array): number;
  /** @returns how many bytes were put into `bytes`; 0 when there are none now; `undefined` when no more will come */
  read(bytes: Uint8Array): number | undefined;
}

/**
 * Send batches as `streamSender` does, to the same host's end, where reading and writing need no event loop: a guest that never
 * yields follows the host's level, and what it sent is with the operating system when `send` returns, as long as that has room.
 *
 * `send` and `sendLast` do not use `this`.
 */
export function descriptorSender(descriptor: Descriptor, options: RemoteSenderOptions = {}): DescriptorSender {
  const wire = new DescriptorWire(descriptor);
  const guest = new RemoteGuest(wire, options);
  wire.begin(guest);
  return guest;
}

const READ_BYTES = 4096;

/** Reads for one `send`: a host has no reason to say that much. */
const MAX_READS = 16;

class DescriptorWire implements GuestWire {
  readonly #descriptor: Descriptor;
  readonly #reader: FrameReader = new FrameReader(fromHost);
  /** Frames that had no room; of the first, what lies behind `#offset`. */
  readonly #queue: Fifo<Uint8Array> = new Fifo();
  #offset = 0;
  #queuedBytes = 0;
  #guest: RemoteGuest | undefined;

  constructor(descriptor: Descriptor) {
    this.#descriptor = descriptor;
  }

  begin(guest: RemoteGuest): void {
    this.#guest = guest;
    this.#write(PREFACE);
  }

  poll(): number {
    this.#read();
    this.#writeQueued();
    return this.#queuedBytes;
  }

  post(kind: FrameKind, payload: Uint8Array): void {
    this.#write(encodeFrame(kind, payload));
  }

  destroy(): void {
    this.#guest = undefined;
    while (this.#queue.shift() !== undefined);
    this.#queuedBytes = 0;
    this.#offset = 0;
  }

  #write(bytes: Uint8Array): void {
    if (this.#guest === undefined) return;
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
    this.#writeQueued();
  }

  #writeQueued(): void {
    try {
      for (let first = this.#queue.first; first !== undefined; first = this.#queue.first) {
        const taken = this.#descriptor.write(first.subarray(this.#offset));
        this.#queuedBytes -= taken;
        this.#offset += taken;
        if (this.#offset < first.length) return;
        this.#queue.shift();
        this.#offset = 0;
      }
    } catch (error) {
      this.#guest?.broken(error);
    }
  }

  #read(): void {
    try {
      for (let i = 0; i < MAX_READS && this.#guest !== undefined; i++) {
        const bytes = new Uint8Array(READ_BYTES);
        const length = this.#descriptor.read(bytes);
        if (length === 0) return;
        if (length === undefined) return this.#guest.broken();
        this.#reader.push(bytes.subarray(0, length));
        for (let frame = this.#reader.next(); frame !== undefined; frame = this.#reader.next()) this.#guest?.receive(frame);
      }
    } catch (error) {
      this.#guest?.broken(error);
    }
  }
}
