import { type BatchHeader, ReceiveError } from "@spanduct/protocol";
import type { Loss } from "./relay.ts";

/** What the next receiver of an execution has to know of its guest. */
export interface SequenceState {
  /** Number of the next batch, from 1. */
  readonly next: number;
  /** Events that the guest dropped so far. */
  readonly dropped: number;
}

/** Follows the sequence numbers and drop counts of one guest. */
export class SequenceTracker {
  /** What the next batch should be; `undefined` where nobody knows. */
  #next: number | undefined;
  #dropped: number | undefined;

  /**
   * @param before what an earlier receiver of the execution knew
   * @param fresh whether this is the first receiver of the execution, so that it should see the guest's first batch
   */
  constructor(before: SequenceState | undefined, fresh: boolean) {
    this.#next = before?.next ?? (fresh ? 0 : undefined);
    this.#dropped = before?.dropped ?? (fresh ? 0 : undefined);
  }

  /** `undefined` as long as no batch came, and where numbers come to their end. */
  get state(): SequenceState | undefined {
    if (!this.#next || !Number.isSafeInteger(this.#next)) return undefined;
    return { next: this.#next, dropped: this.#dropped ?? 0 };
  }

  /** The guest has sent batches to others before: its next one is the first here. Does nothing where its number is known. */
  join(): void {
    if (this.#next !== 0) return;
    this.#next = undefined;
    this.#dropped = undefined;
  }

  /**
   * Take note of a batch.
   *
   * @returns what was lost before it, or nothing
   * @throws ReceiveError "duplicate_batch": a number that was seen already, other than the 0 of a new sender
   */
  see(header: BatchHeader): Loss | undefined {
    const { sequence, droppedEvents } = header;
    const expected = this.#next ?? sequence;
    const restarted = sequence === 0 && expected !== 0;
    if (sequence < expected && !restarted) {
      throw new ReceiveError("duplicate_batch", `batch ${sequence} came again, expected ${expected}`, { actual: sequence });
    }
    const batches = restarted ? 0 : sequence - expected;
    const before = sequence === 0 ? 0 : (this.#dropped ?? droppedEvents);
    const events = Math.max(0, droppedEvents - before);
    this.#next = sequence + 1;
    this.#dropped = droppedEvents;
    return batches > 0 || events > 0 ? { batches, events } : undefined;
  }
}
