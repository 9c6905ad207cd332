import type { Id } from "./event.ts";

// In every host; types of a host would bring much else.
declare const crypto: { getRandomValues(array: Uint32Array): Uint32Array };

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
  readonly #map: Map<Id, V> = new Map();
  readonly #secret: Secret = newSecret();

  get size(): number {
    return this.#map.size;
  }

  get(id: Id): V | undefined {
    return this.#map.get(secretKey(id, this.#secret));
  }

  set(id: Id, value: V): void {
    this.#map.set(secretKey(id, this.#secret), value);
  }

  delete(id: Id): void {
    this.#map.delete(secretKey(id, this.#secret));
  }

  /** In the order in which their ids were first set. */
  values(): MapIterator<V> {
    return this.#map.values();
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

function newSecret(): Secret {
  const [factor, mask, high, low] = crypto.getRandomValues(new Uint32Array(4)) as unknown as [number, number, number, number];
  return { factor: factor | 1, mask: mask | 0, wideMask: (BigInt(high) << 32n) | BigInt(low) };
}
