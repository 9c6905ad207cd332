import { type SpanContext, TraceFlags } from "@opentelemetry/api";
import { deriveKeys, type Id, IdPermutation, mix32, SPAN_IDS } from "@spanduct/protocol";

const TWO_TO_32 = 4_294_967_296;

/** Numbers from here on have no place of their own in the permuted half: 2^63-1, see `AttemptIds`. */
const LAST_NUMBER_HIGH = 0x7fff_ffff;

/** Numbers below this are small enough for the shortest way. */
const LAST_SMALL = 0x7fff_ffff;

/** Which permutation, besides that of `SPAN_IDS`. */
const TRACE_IDS = 2;

/** What the ids of one attempt are derived from: 32-bit words. */
export type AttemptKey = readonly number[];

/**
 * Ids of the spans of one attempt, no two the same: with n the guest's number of the span, a 64-bit number is permuted by a key
 * that comes from the attempt's seed.
 *
 * | permuted | for |
 * |---|---|
 * | n + 1 | a number greater than all before in this attempt, below 2^63-1 |
 * | 2^63 + c | any other, and spans that the relay adds; c counts these from 0 |
 *
 * So guests may use a number again, and still the same seed and the same events give the same ids.
 */
export class AttemptIds {
  /** Keys of the permutation that makes ids of spans, as 32 hexadecimal digits: for `TraceContext.spanKey`. */
  readonly spanKey: string;
  /** What makes the id of a span out of the number that it has here. */
  readonly permutation: IdPermutation;
  readonly #trace: IdPermutation;
  /** What the first half of a trace's id is derived with from the other. */
  readonly #traceKey: number;
  #highest = -1;
  #others = 0;
  /** The number that is permuted for the current span: its upper and lower 32 bits, signed or not. */
  high = 0;
  low = 0;

  constructor(key: AttemptKey) {
    const [key1, key2, key3, key4] = deriveKeys(key, SPAN_IDS);
    this.spanKey = hex(key1, key2) + hex(key3, key4);
    this.permutation = new IdPermutation(key1, key2, key3, key4);
    this.#trace = new IdPermutation(...deriveKeys(key, TRACE_IDS));
    this.#trace.apply(0, 0);
    this.#traceKey = this.#trace.high;
  }

  /** Go on to the next span. @param id the guest's number of it */
  next(id: Id): void {
    if (typeof id === "number" && id > this.#highest && id < LAST_SMALL) {
      this.#highest = id;
      this.high = 0;
      this.low = id + 1;
    } else {
      this.#nextWide(id);
    }
  }

  #nextWide(id: Id): void {
    const number = Number(id);
    // Beyond 2^53 the highest so far may be a little too high: numbers close to it go with the others.
    if (number > this.#highest && this.#place(id)) {
      this.#highest = number;
    } else {
      this.nextOther();
    }
  }

  /** Go on to a span that the guest has no number for. */
  nextOther(): void {
    this.high = Math.floor(this.#others / TWO_TO_32) | 0x8000_0000;
    this.low = this.#others | 0;
    this.#others++;
  }

  /** Id of the current span: 16 hexadecimal digits, not all of them 0. */
  spanId(): string {
    return spanId(this.permutation, this.high, this.low);
  }

  /** Id of the trace that the current span begins: 32 hexadecimal digits, of which the last 16 are a permutation as well. */
  traceId(): string {
    this.#trace.apply(this.high, this.low);
    const { high, low } = this.#trace;
    const first = mix32((high + this.#traceKey) | 0);
    return hex(first, mix32((low + first) | 0)) + hex(high, low);
  }

  /** Whether `id + 1` lies below 2^63; it is the current number then. */
  #place(id: Id): boolean {
    if (typeof id === "number" && id < Number.MAX_SAFE_INTEGER) {
      this.high = Math.floor((id + 1) / TWO_TO_32);
      this.low = (id + 1) | 0;
      return true;
    }
    const next = BigInt(id) + 1n;
    const high = Number(next >> 32n);
    if (high > LAST_NUMBER_HIGH) return false;
    this.high = high;
    this.low = Number(next & 0xffff_ffffn) | 0;
    return true;
  }
}

/** Identity of a span in the trace of the one above it, sampled as that is. @param high with `low` the number of it, see `AttemptIds` */
export function identityUnder(above: SpanContext, permutation: IdPermutation, high: number, low: number): SpanContext {
  const identity: SpanContext = {
    traceId: above.traceId,
    spanId: spanId(permutation, high, low),
    traceFlags: above.traceFlags & TraceFlags.SAMPLED,
  };
  if (above.traceState !== undefined) identity.traceState = above.traceState;
  return identity;
}

function spanId(permutation: IdPermutation, high: number, low: number): string {
  permutation.apply(high, low);
  return hex(permutation.high, permutation.low);
}

/** 16 hexadecimal digits of two 32-bit halves. One flat string: pieces put together would be flattened at the first use. */
function hex(high: number, low: number): string {
  return String.fromCharCode(
    digit(high >>> 28),
    digit((high >>> 24) & 15),
    digit((high >>> 20) & 15),
    digit((high >>> 16) & 15),
    digit((high >>> 12) & 15),
    digit((high >>> 8) & 15),
    digit((high >>> 4) & 15),
    digit(high & 15),
    digit(low >>> 28),
    digit((low >>> 24) & 15),
    digit((low >>> 20) & 15),
    digit((low >>> 16) & 15),
    digit((low >>> 12) & 15),
    digit((low >>> 8) & 15),
    digit((low >>> 4) & 15),
    digit(low & 15),
  );
}

/** Code of the character: "0" is 48, and "a" lies 39 further on than a digit would. */
function digit(nibble: number): number {
  return 48 + nibble + (((9 - nibble) >> 4) & 39);
}

/** Rolled-back attempts whose seeds a process remembers. */
const MAX_REMEMBERED = 4096;

/**
 * Seeds of attempts that were rolled back in this process: what they exported is out, so the next attempt with the same seed and
 * number takes other ids. Remembers the latest 4096.
 */
export class RolledBackSeeds {
  readonly #counts: Map<string, number> = new Map();

  /** How many attempts with this seed and number were rolled back. */
  count(seed: bigint, attempt: number): number {
    return this.#counts.get(nameOf(seed, attempt)) ?? 0;
  }

  add(seed: bigint, attempt: number): void {
    const name = nameOf(seed, attempt);
    const count = this.count(seed, attempt) + 1;
    this.#counts.delete(name);
    this.#counts.set(name, count);
    if (this.#counts.size > MAX_REMEMBERED) {
      const [oldest] = this.#counts.keys();
      this.#counts.delete(oldest as string);
    }
  }
}

function nameOf(seed: bigint, attempt: number): string {
  return `${BigInt.asUintN(64, seed)}/${attempt}`;
}

// In every host, but not in the language.
declare const crypto: { getRandomValues<T extends BigUint64Array>(array: T): T };

/** Seeds drawn at a time: asking for random bits costs as much as five spans. */
const SEEDS = 32;

/** 64 bits at each call, from the host's cryptographic source. */
export function randomSeeds(): () => bigint {
  let seeds = new BigUint64Array(0);
  let next = 0;
  return () => {
    if (next === seeds.length) {
      seeds = crypto.getRandomValues(new BigUint64Array(SEEDS));
      next = 0;
    }
    return seeds[next++] as bigint;
  };
}
