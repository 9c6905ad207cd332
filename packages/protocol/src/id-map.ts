import type { Id } from "./event.ts";

// In every host; types of a host would bring much else.
declare const crypto: { getRandomValues(array: Int32Array): Int32Array };

const TWO_32 = 0x1_0000_0000;

/** What makes the keys of one map differ from those of another. */
export interface Secret {
  /** Odd, 32 bits. */
  readonly factor: number;
  /** 32 bits. */
  readonly mask: number;
  /** 64 bits. */
  readonly wideMask: bigint;
}

/**
 * A map by ids that a guest chose. Engines hash numbers in a way that is the same everywhere, so a guest could choose ids that
 * all fall into one bucket of a `Map`, and each lookup would walk past all of them. Here a secret of the map goes into its keys.
 */
export class IdMap<V> {
  // Made with the first entry: of many maps nothing is ever asked.
  #map: Map<Id, V> | undefined;
  #secret: Secret | undefined;
  readonly #secrets: SecretSource | undefined;

  constructor(secrets?: SecretSource) {
    this.#secrets = secrets;
  }

  get size(): number {
    return this.#map === undefined ? 0 : this.#map.size;
  }

  get(id: Id): V | undefined {
    return this.#map === undefined ? undefined : this.#map.get(secretKey(id, this.#secret as Secret));
  }

  set(id: Id, value: V): void {
    this.#map ??= new Map();
    this.#secret ??= (this.#secrets ?? new SecretSource(1)).next();
    this.#map.set(secretKey(id, this.#secret), value);
  }

  delete(id: Id): void {
    this.#map?.delete(secretKey(id, this.#secret as Secret));
  }

  /** In the order in which their ids were first set. */
  values(): Iterable<V> {
    return this.#map === undefined ? [] : this.#map.values();
  }
}

/** Different for different ids: a signed integer of 32 bits, a number from 2^32 up, or a bigint. */
export function secretKey(id: Id, secret: Secret): Id {
  if (typeof id === "bigint") return id ^ secret.wideMask;
  const low = Math.imul(id, secret.factor) ^ secret.mask;
  if (id < TWO_32) return low;
  const high = Math.floor(id / TWO_32);
  return high * TWO_32 + ((low ^ Math.imul(high, secret.factor)) >>> 0);
}

class RandomSecret implements Secret {
  readonly factor: number;
  readonly mask: number;
  readonly #high: number;
  readonly #low: number;

  /** @param words of 32 random bits, four from `at` on */
  constructor(words: Int32Array, at: number) {
    this.factor = (words[at] as number) | 1;
    this.mask = words[at + 1] as number;
    this.#high = words[at + 2] as number;
    this.#low = words[at + 3] as number;
  }

  get wideMask(): bigint {
    return BigInt.asUintN(64, (BigInt(this.#high) << 32n) ^ BigInt(this.#low));
  }
}

const WORDS_PER_SECRET = 4;
const NO_WORDS = new Int32Array(0);

/** Gives each of many maps a secret of its own. Drawn many at a time, because asking the host costs as much as ten events. */
export class SecretSource {
  readonly #count: number;
  #words: Int32Array = NO_WORDS;
  #next = 0;

  /** @param drawn how many secrets are drawn at a time */
  constructor(drawn: number) {
    this.#count = WORDS_PER_SECRET * drawn;
  }

  next(): Secret {
    if (this.#next === this.#words.length) {
      this.#words = crypto.getRandomValues(new Int32Array(this.#count));
      this.#next = 0;
    }
    const secret = new RandomSecret(this.#words, this.#next);
    this.#next += WORDS_PER_SECRET;
    return secret;
  }
}
