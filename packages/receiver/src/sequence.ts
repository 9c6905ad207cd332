import { type BatchHeader, ReceiveError } from "@spanduct/protocol";
import type { Loss } from "./relay.ts";

/** Follows the sequence numbers and drop counts of one guest. */
export class SequenceTracker {
  /** What the next batch should be; `undefined` before the first one. */
  #next: number | undefined;
  #dropped: number | undefined;

  /** @param fresh whether this is the first receiver of the execution, so that it should see the guest's first batch */
  constructor(fresh: boolean) {
    if (fresh) {
      this.#next = 0;
      this.#dropped = 0;
    }
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
