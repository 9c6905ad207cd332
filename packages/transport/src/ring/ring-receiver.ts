import { isTunnelError, type TunnelError } from "@spanduct/protocol";
import { Pump } from "../pump.ts";
import type { BatchHandler } from "../transport.ts";
import { Word } from "./layout.ts";
import { RingReader } from "./ring-reader.ts";

/** How the host's end is set up. */
export interface RingReceiverOptions {
  /**
   * What the guest is to follow, besides what `onBatch` returns: asked at the beginning and some ten times a second, so that a
   * guest learns of a change also when it sends nothing. For a receiver `() => receiver.control()`.
   */
  readonly control?: () => number;
  /** Told once that the guest has broken the ring, "malformed": it is closed, and what is in it is lost. */
  readonly onFailure?: (error: TunnelError) => void;
  /** Shares the event loop with the other guests of this thread. Default: a pump of its own. */
  readonly pump?: Pump;
  /**
   * Calls `run` after `ms` milliseconds, and returns what calls that off. Default `setTimeout`, which does not keep the process
   * alive.
   */
  readonly timer?: (run: () => void, ms: number) => () => void;
}

/** Counts of a host's end since it was made. */
export interface RingStats {
  readonly batches: number;
  readonly bytes: number;
  /** Batches that the guest could not write, by its own account. */
  readonly refused: number;
}

/** Host end of a ring. */
export interface RingReceiver {
  readonly stats: RingStats;
  /**
   * Resolves when all that is in the ring is handled, or the ring is closed: before an execution is committed, or when its guest is
   * dead. What the guest writes meanwhile is not waited for.
   */
  drain(): Promise<void>;
  /** Read no more; what is in the ring is lost. The guest's next batch is refused as "transport_closed". */
  close(): void;
}

/** After it has read, the host gives batches this time to gather and to grow. */
const GATHER_MS = 5;
/** So often a host that sleeps looks all the same: after the level that it wants, and after guests that do not wake it. */
const IDLE_MS = 100;
/** One step of the pump ends with so many batches or bytes. */
const STEP_BATCHES = 16;
const STEP_BYTES = 65_536;

interface Platform {
  readonly setTimeout: (run: () => void, ms: number) => { unref?(): unknown };
  readonly clearTimeout: (timer: unknown) => void;
}

/** `Atomics.waitAsync`, which not every platform has. */
interface AsyncAtomics {
  readonly waitAsync?: (words: Int32Array, index: number, value: number) => { readonly async: boolean; readonly value: unknown };
}

/**
 * Take batches out of a ring whose guest runs in another thread, hand each to `onBatch`, and put the control word that it
 * returns where the guest sees it. It wakes up by `Atomics.waitAsync`; where there is none it looks every 5 ms. Neither keeps
 * the process alive. What `onBatch` throws goes to the event loop.
 *
 * Whatever the guest writes, nothing but a copy is handed on, in turns of the event loop that the pump keeps short.
 *
 * @param ring made by `createRing`, or lying at the beginning of a view on the shared memory of a WASM module
 * @throws DecodeError "malformed": `ring` is none
 */
export function ringReceiver(ring: Uint8Array, onBatch: BatchHandler, options: RingReceiverOptions = {}): RingReceiver {
  return new Receiver(new RingReader(ring), onBatch, options);
}

class Receiver implements RingReceiver {
  readonly #reader: RingReader;
  readonly #onBatch: BatchHandler;
  readonly #options: RingReceiverOptions;
  readonly #timer: (run: () => void, ms: number) => () => void;
  readonly #wake: () => void;
  /** Calls off the look that is planned. */
  #unplan: () => void = () => undefined;
  /** Whether a promise waits to be woken by the guest. */
  #asleep = false;
  #closed = false;
  readonly #drained: (() => void)[] = [];
  #batches = 0;
  #bytes = 0;

  constructor(reader: RingReader, onBatch: BatchHandler, options: RingReceiverOptions) {
    this.#reader = reader;
    this.#onBatch = onBatch;
    this.#options = options;
    this.#timer = options.timer ?? platformTimer;
    this.#wake = (options.pump ?? new Pump()).source(() => this.#step());
    this.#lookAround();
  }

  get stats(): RingStats {
    return { batches: this.#batches, bytes: this.#bytes, refused: this.#reader.refused };
  }

  drain(): Promise<void> {
    return new Promise((resolve) => {
      this.#drained.push(resolve);
      this.#look();
      this.#wake();
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#unplan();
    this.#reader.close();
    if (this.#asleep) wakeHost(this.#reader.words);
  }

  /** Is there anything? If not, sleep. */
  readonly #lookAround = (): void => {
    if (this.#closed) return;
    this.#unplan();
    const { control } = this.#options;
    if (control !== undefined) this.#reader.control(control());
    const there = this.#look();
    if (this.#closed) return;
    if (there > 0) this.#wake();
    else this.#sleep();
  };

  #sleep(): void {
    const { waitAsync } = Atomics as AsyncAtomics;
    const { words } = this.#reader;
    if (waitAsync === undefined) return this.#plan(GATHER_MS);
    this.#plan(IDLE_MS);
    if (this.#asleep) return;
    Atomics.store(words, Word.hostWaits, 1);
    // After that, because the guest may have written before it could know that somebody waits.
    if (this.#look() > 0) return this.#wake();
    if (this.#closed) return;
    const { async, value } = waitAsync.call(Atomics, words, Word.hostWaits, 1);
    if (!async) return this.#wake();
    this.#asleep = true;
    void (value as Promise<unknown>).then(() => {
      this.#asleep = false;
      this.#lookAround();
    });
  }

  #plan(ms: number): void {
    this.#unplan();
    this.#unplan = this.#timer(this.#lookAround, ms);
  }

  #step(): boolean {
    const end = this.#bytes + STEP_BYTES;
    for (let i = 0; i < STEP_BATCHES && this.#bytes < end; i++) {
      if (!this.#takeOne()) return this.#goOn();
    }
    return true;
  }

  /** What was there at the last look is handled. */
  #goOn(): boolean {
    for (const resolve of this.#drained.splice(0)) resolve();
    // A guest that is fast enough to fill the ring meanwhile gets no pause.
    if (this.#look() > this.#reader.capacity / 8) return true;
    if (!this.#closed) this.#plan(GATHER_MS);
    return false;
  }

  #look(): number {
    try {
      return this.#reader.look();
    } catch (error) {
      return this.#broken(error);
    }
  }

  #takeOne(): boolean {
    let batch: Uint8Array | undefined;
    try {
      batch = this.#reader.take();
    } catch (error) {
      this.#broken(error);
    }
    if (batch === undefined) return false;
    this.#batches++;
    this.#bytes += batch.length;
    this.#reader.control(this.#onBatch(batch));
    return true;
  }

  #broken(error: unknown): 0 {
    if (!isTunnelError(error)) throw error;
    this.close();
    this.#options.onFailure?.(error);
    return 0;
  }
}

function wakeHost(words: Int32Array): void {
  Atomics.store(words, Word.hostWaits, 0);
  Atomics.notify(words, Word.hostWaits);
}

function platformTimer(run: () => void, ms: number): () => void {
  const { setTimeout, clearTimeout } = globalThis as unknown as Platform;
  const timer = setTimeout(run, ms);
  timer.unref?.();
  return () => clearTimeout(timer);
}
