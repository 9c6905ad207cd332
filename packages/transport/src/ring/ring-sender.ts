import { controlLevel, controlWord, isControlWord, TunnelError } from "@spanduct/protocol";
import type { GuestTransport } from "../transport.ts";
import { HEADER_BYTES, LONG, recordSize, viewRing, Word } from "./layout.ts";

/** How the guest's end is set up. */
export interface RingSenderOptions {
  /**
   * What happens when the ring is full. 0, the default: the batch is refused at once. Above 0: the guest's thread sleeps until there
   * is room, for as long as the host goes on reading; when the host has read nothing for so many milliseconds, it is taken for
   * dead, and batches are refused at once until it reads again. So a host that hangs costs a guest this time once. Where threads
   * must not sleep (the main thread of a web page), as 0.
   */
  readonly waitMs?: number;
}

/** Guest end of a ring. */
export interface RingSender extends GuestTransport {
  /**
   * Let the batch that was sent last grow, by the bytes `from` to `to` (default: the end) of `memory`: more of its events. What is
   * written is visible to the host at once.
   *
   * @returns `false`: nothing was written, because the host has taken the batch or there is no room; else as `send`
   */
  grow(memory: Uint8Array, from: number, to?: number): number | undefined | false;
  /** The control word as of now, without anything being sent. */
  control(): number | undefined;
  /** As in `RingSenderOptions`. Can be changed: a guest's last words are worth waiting for. */
  waitMs: number;
}

/**
 * Write batches into a ring. Each is visible to the host when `send` returns, also if the guest is killed the next moment.
 *
 * `send` throws "transport_failed" when the ring is full, or can never hold the batch; "transport_closed" when the host has
 * closed the ring. None of the methods uses `this`.
 *
 * @param ring made by `createRing`, and never given to a sender before
 * @throws DecodeError "malformed": `ring` is none
 */
export function ringSender(ring: Uint8Array, options: RingSenderOptions = {}): RingSender {
  const writer = new RingWriter(ring, options.waitMs ?? 0);
  return {
    send: (batch) => writer.send(batch),
    grow: (memory, from, to) => writer.grow(memory, from, to),
    control: () => writer.control(),
    get waitMs(): number {
      return writer.waitMs;
    },
    set waitMs(ms: number) {
      writer.waitMs = ms;
    },
  };
}

const TOO_LARGE = "the batch is larger than the ring";
const FULL = "the ring is full, and the host does not read";

/** Bytes of most events: views, and calls that copy, would cost more than these. */
const SHORT = 96;

class RingWriter {
  readonly #words: Int32Array;
  readonly #data: Uint8Array;
  waitMs: number;
  /** Where the newest record begins, its length, and where it ends. */
  #start = 0;
  #length: number;
  #end: number;
  /** Requests to announce that were passed on. */
  #announced = 0;
  /** Where the host was when it was waited for in vain. */
  #stuckAt: number | undefined;
  #scratch = new Uint8Array();
  /** Thrown again and again: making an error costs more than tracing an event. */
  readonly #errors = new Map<string, TunnelError>();

  constructor(ring: Uint8Array, waitMs: number) {
    const { words, data } = viewRing(ring);
    this.#words = words;
    this.#data = data;
    this.waitMs = waitMs;
    // There is no record yet that could grow.
    this.#length = data.length;
    this.#end = Atomics.load(words, Word.written);
  }

  send(batch: Uint8Array): number | undefined {
    const words = this.#words;
    if (Atomics.load(words, Word.closed) !== 0) throw new TunnelError("transport_closed", "the host has closed the ring");
    const { length } = batch;
    if (length > this.#data.length - 4) throw this.#refused(TOO_LARGE);
    const start = this.#end;
    const end = (start + recordSize(length)) | 0;
    if (!this.#fits(end) && !this.#waitFor(end)) throw this.#refused(FULL);
    this.#write(start + 4, batch, 0, length);
    words[this.#wordAt(start)] = length;
    Atomics.store(words, Word.written, end);
    this.#start = start;
    this.#length = length;
    this.#end = end;
    return this.#published();
  }

  grow(memory: Uint8Array, from: number, to: number = memory.length): number | undefined | false {
    const length = this.#length;
    const grown = length + to - from;
    if (grown > this.#data.length - 4) return false;
    const end = (this.#start + recordSize(grown)) | 0;
    if (!this.#fits(end)) return false;
    this.#write(this.#start + 4 + length, memory, from, to);
    if (Atomics.compareExchange(this.#words, this.#wordAt(this.#start), length, grown) !== length) return false;
    this.#length = grown;
    this.#end = end;
    return this.#published();
  }

  control(): number | undefined {
    const word = Atomics.load(this.#words, Word.control);
    if (!isControlWord(word)) return undefined;
    const announce = Atomics.load(this.#words, Word.announce);
    if (announce === this.#announced) return word;
    this.#announced = announce;
    return controlWord(controlLevel(word), true);
  }

  #wordAt(position: number): number {
    return (HEADER_BYTES + (position & (this.#data.length - 1))) >> 2;
  }

  #fits(end: number): boolean {
    return (end - Atomics.load(this.#words, Word.read)) >>> 0 <= this.#data.length;
  }

  #write(position: number, memory: Uint8Array, from: number, to: number): void {
    if (to - from > SHORT) return this.#writeLong(position, memory.subarray(from, to));
    const data = this.#data;
    const mask = data.length - 1;
    for (let i = from, at = position; i < to; i++, at++) data[at & mask] = memory[i] as number;
  }

  #writeLong(position: number, bytes: Uint8Array): void {
    const data = this.#data;
    const at = position & (data.length - 1);
    const beforeEnd = data.length - at;
    const aligned = bytes.length < LONG ? bytes : this.#aligned(bytes, at);
    if (bytes.length <= beforeEnd) return data.set(aligned, at);
    data.set(aligned.subarray(0, beforeEnd), at);
    data.set(aligned.subarray(beforeEnd), 0);
  }

  /** The same bytes where they are aligned like their place in the data. */
  #aligned(bytes: Uint8Array, at: number): Uint8Array {
    const lead = (this.#data.byteOffset + at) & 7;
    if ((bytes.byteOffset & 7) === lead) return bytes;
    const end = lead + bytes.length;
    if (this.#scratch.length < end) this.#scratch = new Uint8Array(2 * end);
    this.#scratch.set(bytes, lead);
    return this.#scratch.subarray(lead, end);
  }

  #published(): number | undefined {
    const words = this.#words;
    if (Atomics.load(words, Word.hostWaits) !== 0) {
      Atomics.store(words, Word.hostWaits, 0);
      Atomics.notify(words, Word.hostWaits);
    }
    return this.control();
  }

  /** Sleep until a record that ends at `end` fits. @returns whether it does */
  #waitFor(end: number): boolean {
    const words = this.#words;
    let read = Atomics.load(words, Word.read);
    if (this.waitMs <= 0 || read === this.#stuckAt) return false;
    this.#stuckAt = undefined;
    for (;;) {
      Atomics.store(words, Word.guestWaits, 1);
      // After that, because the host may have read before it could know that somebody waits.
      const fits = this.#fits(end);
      if (!fits && Atomics.load(words, Word.closed) === 0) {
        const woken = this.#sleep();
        const before = read;
        read = Atomics.load(words, Word.read);
        if (woken || read !== before) continue;
        this.#stuckAt = read;
      }
      Atomics.store(words, Word.guestWaits, 0);
      return fits;
    }
  }

  /** @returns `false` when the time is up, or threads must not sleep here */
  #sleep(): boolean {
    try {
      return Atomics.wait(this.#words, Word.guestWaits, 1, this.waitMs) !== "timed-out";
    } catch {
      return false;
    }
  }

  #refused(reason: string): TunnelError {
    Atomics.add(this.#words, Word.refused, 1);
    const error = this.#errors.get(reason) ?? new TunnelError("transport_failed", reason);
    this.#errors.set(reason, error);
    return error;
  }
}
