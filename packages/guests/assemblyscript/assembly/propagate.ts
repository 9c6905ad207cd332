// Ids of this guest's spans in the host's trace, as proto/README.md has them under "Trace context".

/** Write the context of the run at hand as text. Returns its length; 0 where there is none. */
@external("spanduct", "trace_context")
declare function trace_context(buffer: usize, capacity: i32): i32;

/** Of `traceparent`, a line feed and a span key; no use is made of `tracestate`. */
const LENGTH = 55 + 1 + 32;
/** Runs that are remembered. */
const MAX_RUNS = 256;

/** What the host said at the begin of a run. */
class Run {
  /** The number of the last span opened before it. */
  after: u64 = 0;
  /** W3C header of the host's span; null without a context. */
  traceparent: string | null = null;
  hasKey: bool = false;
  key0: u32 = 0;
  key1: u32 = 0;
  key2: u32 = 0;
  key3: u32 = 0;

  idOf(span: u64): string {
    const next = span + 1;
    let left = <u32>(next >> 32);
    let right = <u32>next;
    do {
      left ^= mix(right + this.key0);
      right ^= mix(left + this.key1);
      left ^= mix(right + this.key2);
      right ^= mix(left + this.key3);
    } while ((left | right) == 0);
    return left.toString(16).padStart(8, "0") + right.toString(16).padStart(8, "0");
  }
}

const runs: Run[] = [];

/** A run begins. @param after number of the last span */
export function rememberRun(after: u64): void {
  const run = new Run();
  run.after = after;
  const buffer = new Uint8Array(LENGTH);
  const length = trace_context(buffer.dataStart, LENGTH);
  if (length > 55) {
    const text = String.UTF8.decodeUnsafe(buffer.dataStart, LENGTH);
    run.traceparent = text.substring(0, 55);
    run.hasKey = length >= LENGTH && text.charCodeAt(56) != 10;
    run.key0 = word(text, 56);
    run.key1 = word(text, 64);
    run.key2 = word(text, 72);
    run.key3 = word(text, 80);
  }
  if (runs.length == MAX_RUNS) runs.shift();
  runs.push(run);
}

/** @param span 0 for the host's; @param isOff whether nothing is recorded of this guest */
export function headerOf(span: u64, isOff: bool): string | null {
  let at = runs.length - 1;
  if (span > 0) while (at >= 0 && runs[at].after >= span) at--;
  if (at < 0) return null;
  const run = runs[at];
  const host = run.traceparent;
  if (host === null) return null;
  const id = span > 0 && run.hasKey ? run.idOf(span) : host.substring(36, 52);
  // The host has a trace, but no span in it.
  if (id == "0000000000000000") return null;
  return host.substring(0, 36) + id + (isOff ? "-00" : host.substring(52));
}

function word(text: string, at: i32): u32 {
  return <u32>U32.parseInt(text.substring(at, at + 8), 16);
}

function mix(x: u32): u32 {
  x ^= x >> 16;
  x *= 0x85ebca6b;
  x ^= x >> 13;
  x *= 0xc2b2ae35;
  return x ^ (x >> 16);
}
