import { type Id, IdMap, type SecretSource } from "@spanduct/protocol";
import type { CallSite } from "./arena.ts";

/** The call sites of a guest by number. Our senders count them from 1, so those that come in that order need no map. */
export class CallSiteTable {
  readonly #counted: CallSite[] = [];
  readonly #others: IdMap<CallSite>;
  readonly #otherIds: Id[] = [];

  constructor(secrets: SecretSource) {
    this.#others = new IdMap(secrets);
  }

  get size(): number {
    return this.#counted.length + this.#otherIds.length;
  }

  get(id: Id): CallSite | undefined {
    if (typeof id === "number" && id > 0 && id <= this.#counted.length) return this.#counted[id - 1];
    return this.#others.get(id);
  }

  set(id: Id, callSite: CallSite): void {
    const { length } = this.#counted;
    if (typeof id === "number" && id > 0 && id <= length) {
      this.#counted[id - 1] = callSite;
    } else if (this.#others.get(id) !== undefined) {
      this.#others.set(id, callSite);
    } else if (id === length + 1) {
      this.#counted.push(callSite);
    } else {
      this.#others.set(id, callSite);
      this.#otherIds.push(id);
    }
  }

  /** Those counted first, then the others in the order in which they came. */
  *entries(): Generator<readonly [id: Id, callSite: CallSite], void, undefined> {
    for (const [at, callSite] of this.#counted.entries()) yield [at + 1, callSite];
    for (const id of this.#otherIds) yield [id, this.#others.get(id) as CallSite];
  }
}
