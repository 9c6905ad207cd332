import { controlAnnounce, controlLevel, controlWord, DecodeError } from "@spanduct/protocol";
import { HEADER_BYTES, LONG, type RingViews, recordSize, TAKEN, viewRing, Word } from "./layout.ts";

/**
 * Takes batches out of a ring, trusting nothing in it. For hosts that know themselves when to read, such as those of WASM modules
 * on their own thread; others use `ringReceiver`. One ring has one reader at a time.
 */
export class RingReader {
  /** Bytes of data. */
  readonly capacity: number;
  #views: RingViews;
  /** Where the next record begins. */
  #position: number;
  /** Where the records end that `look` has found. */
  #until: number;
  #announced: number;
  #refused = 0;
  #over = false;

  /**
   * @param ring a ring, at the beginning of memory that may be longer
   * @throws DecodeError "malformed": there is none
   */
  constructor(ring: Uint8Array) {
    this.#views = viewRing(ring);
    const { words, data } = this.#views;
    this.capacity = data.length;
    this.#position = Atomics.load(words, Word.read);
    this.#until = this.#position;
    this.#announced = Atomics.load(words, Word.announce);
  }

  /** The header as words, for `Atomics`. */
  get words(): Int32Array {
    return this.#views.words;
  }

  /** Batches that the guest says it could not write, as of the last `look`. */
  get refused(): number {
    return this.#refused;
  }

  /**
   * Find out what is there: `take` gives that and no more, so that a guest which goes on writing holds nobody up.
   *
   * @returns bytes in the ring that were not taken
   * @throws DecodeError "malformed": the guest has broken the ring. It is given up: there is nothing in it from now on.
   */
  look(): number {
    if (this.#over) return 0;
    const { words } = this.#views;
    this.#refused = Atomics.load(words, Word.refused) >>> 0;
    const written = Atomics.load(words, Word.written);
    const there = (written - this.#position) | 0;
    if (Math.abs(there) > this.capacity || (there & 3) !== 0) {
      throw this.#break(`the guest has written ${there} bytes of ${this.capacity}`);
    }
    // Less than 0: a record that was taken had grown after it was published.
    if (there <= 0) return 0;
    this.#until = written;
    return there;
  }

  /**
   * Take the next batch of those that were there at the last `look`.
   *
   * @returns a copy, or `undefined` when there are no more
   * @throws DecodeError "malformed": as for `look`
   */
  take(): Uint8Array | undefined {
    const { words, data } = this.#views;
    const position = this.#position;
    if (((this.#until - position) | 0) <= 0) return undefined;
    const mask = data.length - 1;
    const length = Atomics.or(words, (HEADER_BYTES + (position & mask)) >> 2, TAKEN);
    // One that is taken already is below 0.
    if (length < 0 || length > data.length - 4) throw this.#break(`a record has the length 0x${(length >>> 0).toString(16)}`);
    const at = (position + 4) & mask;
    const batch = copy(data, at, at + length);
    const bytes = batch.length === length ? batch : wrapped(batch, data, length);
    this.#position = (position + recordSize(length)) | 0;
    Atomics.store(words, Word.read, this.#position);
    this.#wakeGuest();
    return bytes;
  }

  /** Say what the guest is to follow, from its next event on. @param word a control word */
  control(word: number): void {
    if (this.#over) return;
    const { words } = this.#views;
    if (controlAnnounce(word)) Atomics.store(words, Word.announce, ++this.#announced);
    Atomics.store(words, Word.control, controlWord(controlLevel(word), false));
  }

  /**
   * The memory has moved, as that of a WASM module does when it grows; the ring is the same.
   *
   * @throws DecodeError "malformed": it is not there. It is given up.
   */
  moved(ring: Uint8Array): void {
    if (this.#over) return;
    this.#giveUp();
    this.#views = viewRing(ring);
    if (this.#views.data.length !== this.capacity) throw this.#break(`the ring had a capacity of ${this.capacity}`);
    this.#over = false;
  }

  /** Read no more; the guest's next batch is refused. */
  close(): void {
    this.#giveUp();
    const { words } = this.#views;
    Atomics.store(words, Word.closed, 1);
    Atomics.store(words, Word.guestWaits, 0);
    Atomics.notify(words, Word.guestWaits);
  }

  #giveUp(): void {
    this.#over = true;
    this.#until = this.#position;
  }

  /** Not for every record: a guest that is woken for little soon sleeps again. */
  #wakeGuest(): void {
    const { words } = this.#views;
    if (Atomics.load(words, Word.guestWaits) === 0) return;
    const left = (Atomics.load(words, Word.written) - this.#position) | 0;
    if (left > this.capacity / 2) return;
    Atomics.store(words, Word.guestWaits, 0);
    Atomics.notify(words, Word.guestWaits);
  }

  #break(reason: string): DecodeError {
    this.close();
    return new DecodeError("malformed", reason, this.#position & (this.capacity - 1));
  }
}

/** A copy, as far as the data goes. With a long one the word in front of it is copied where that aligns both sides. */
function copy(data: Uint8Array, from: number, to: number): Uint8Array {
  const lead = to - from < LONG || from === 0 ? 0 : (data.byteOffset + from) & 7;
  const bytes = data.slice(from - lead, to);
  return lead === 0 ? bytes : bytes.subarray(lead);
}

/** @param batch the bytes up to the end of the ring; the rest begins anew */
function wrapped(batch: Uint8Array, data: Uint8Array, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  bytes.set(batch);
  bytes.set(data.subarray(0, length - batch.length), batch.length);
  return bytes;
}
