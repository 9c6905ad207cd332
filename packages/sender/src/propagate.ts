import { IdPermutation, type TraceContext } from "@spanduct/protocol";
import type { Emitter, Propagation, SpanIdentity } from "./emitter.ts";
import type { TracingEventSender } from "./sender.ts";

/** Contexts that are kept, of the latest runs in which spans were opened. */
const MAX_CONTEXTS = 256;
const TWO_TO_32 = 4_294_967_296;

/**
 * Tell a sender where its spans will be in the host's trace; from then on `sender.traceparent` knows. To be called at the begin of
 * each run of the guest with what the host says then, `undefined` included: spans opened earlier keep what they are. A context
 * that is none counts as `undefined`.
 *
 * The contexts of the last 256 runs in which spans were opened are kept; older spans cannot be propagated.
 */
export function propagate(sender: TracingEventSender, context: TraceContext | undefined): void {
  const { emitter } = sender;
  emitter.propagation ??= new Contexts(emitter);
  emitter.propagation.begin(context);
}

/** What a context says. */
interface Host extends Omit<SpanIdentity, "spanId"> {
  /** Of the host's span, if there is one. */
  readonly hostId: string | undefined;
  /** From numbers to ids and back; without these all spans go by the host's. */
  readonly there: IdPermutation | undefined;
  readonly back: IdPermutation | undefined;
}

/** From the first span after `after` to the last before the next one. */
interface Run {
  readonly after: number;
  readonly host: Host | undefined;
}

class Contexts implements Propagation {
  readonly #emitter: Emitter;
  /** Latest first. */
  readonly #runs: Run[] = [];

  constructor(emitter: Emitter) {
    this.#emitter = emitter;
  }

  begin(context: TraceContext | undefined): void {
    const runs = this.#runs;
    const after = this.#emitter.lastSpan;
    if (runs[0]?.after === after) runs.shift();
    runs.unshift({ after, host: context && read(context) });
    runs.splice(MAX_CONTEXTS);
  }

  identify(number?: number): SpanIdentity | undefined {
    const run = this.#runs.find(({ after }) => number === undefined || after < number);
    if (run?.host === undefined) return undefined;
    const { traceId, hostId, traceFlags, tracestate, there } = run.host;
    let spanId = hostId;
    if (number !== undefined && there !== undefined) {
      there.apply(Math.floor((number + 1) / TWO_TO_32), (number + 1) | 0);
      spanId = hex(there.high, 8) + hex(there.low, 8);
    }
    if (spanId === undefined) return undefined;
    return {
      traceId,
      spanId,
      // Nothing is recorded of a guest that is off.
      traceFlags: this.#emitter.maxLevel > 0 ? traceFlags : 0,
      tracestate,
    };
  }

  traceparent(number?: number): string | undefined {
    const identity = this.identify(number);
    return identity && `00-${identity.traceId}-${identity.spanId}-${hex(identity.traceFlags, 2)}`;
  }

  numberOf(traceId: string, spanId: string): number | undefined {
    let last = this.#emitter.lastSpan;
    for (const { after, host } of this.#runs) {
      if (host?.traceId === traceId && host.back !== undefined) {
        host.back.apply(word(spanId, 8), word(spanId, 0));
        const number = (host.back.low >>> 0) * TWO_TO_32 + (host.back.high >>> 0) - 1;
        if (number > after && number <= last) return number;
      }
      last = after;
    }
    return undefined;
  }
}

function read({ traceparent, tracestate, spanKey }: TraceContext): Host | undefined {
  const [, traceId, spanId, flags] = /^00-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})$/.exec(traceparent) ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  // It may come from a host that says anything.
  const key = String(spanKey);
  const [a, b, c, d] = [word(key, 0), word(key, 8), word(key, 16), word(key, 24)];
  const hasKey = /^[\da-f]{32}$/.test(key);
  return {
    traceId,
    hostId: /[1-9a-f]/.test(spanId) ? spanId : undefined,
    traceFlags: Number.parseInt(flags, 16),
    tracestate: tracestate && String(tracestate),
    there: hasKey ? new IdPermutation(a, b, c, d) : undefined,
    // The inverse, with the halves swapped.
    back: hasKey ? new IdPermutation(d, c, b, a) : undefined,
  };
}

/** 32 bits of 8 hexadecimal digits. */
function word(hex: string, at: number): number {
  return Number.parseInt(hex.slice(at, at + 8), 16);
}

function hex(word: number, digits: number): string {
  return (word >>> 0).toString(16).padStart(digits, "0");
}
