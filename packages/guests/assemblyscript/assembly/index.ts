import { headerOf, rememberRun } from "./propagate";
import * as ring from "./ring";
import * as wire from "./wire";
import { writeId, writeString, writeValue, writeVarint } from "./wire";

export { ring } from "./ring";
export { TracedError } from "./wire";

/** The narrow function: takes a batch, returns the host's control word. */
@external("spanduct", "send")
declare function send(batch: usize, length: i32): i32;

/** Real time from the host, in nanoseconds since the Unix epoch: give it to `setClock`. Imported only where it is used. */
@external("spanduct", "now")
export declare function now(): i64;

/** Verbosity; greater is more verbose. */
export enum Level { Off, Error, Warn, Info, Debug, Trace }

/** What the guest's times mean. `Logical` is the time of a workflow, the same at every replay. */
export enum Clock { Wall = 1, Frozen, Logical, None }

/** An open span: its number; 0 for one that was filtered out, with which nothing happens. */
export type Span = u64;

/** Stands for an argument that is not given: null. */
type None = wire.TracedError | null;

/** With this much in it, the buffer still has room for strings of 64 KiB, the most that hosts take. */
const MAX_BATCH_BYTES: u32 = 32 * 1024;
/** Times of a batch lie closer than this to its base, about 52 days: half of what a host accepts. */
const MAX_TIME_SPAN: i64 = 1 << 52;

let batchBytes: u32 = 16 * 1024;
let sequence: u64 = 0;
let dropped: u64 = 0;
/** Drops that the last batch tells of. */
let told: u64 = 0;
/** Bytes of its header. */
let headerBytes: usize = 0;
let maxLevel: i32 = Level.Trace;
/** Counts requests to announce: a call site announced under an earlier number is announced again. */
let epoch: u32 = 1;
let lastSite: u64 = 0;
let lastSpan: Span = 0;
let readTime: (() => i64) | null = null;
let domain: i32 = Clock.None;
let baseTime: i64 = 0;
/** Of the last event that was written, and of the one at hand. */
let lastTime: i64 = 0;
let time: i64 = 0;
/** The call site that is announced together with the event at hand. */
let announcing: CallSite | null = null;
/** Whether the last event is on its way. */
let delivered: bool = false;

/**
 * Give events times. Without it the host stamps them as they arrive.
 *
 * @param read nanoseconds since the Unix epoch; `now` asks the host
 */
export function setClock(read: () => i64, meaning: Clock = Clock.Wall): void {
  flush();
  readTime = read;
  domain = meaning;
}

/** Send a batch once it holds so many bytes. Default 16384, at most 32768; 1 sends each event at once. */
export function setBatchBytes(bytes: u32): void {
  batchBytes = min(bytes, MAX_BATCH_BYTES);
}

/** Events that were too large to send. The host is told with the next batch, at the latest at `flush`. */
export function droppedEvents(): u64 {
  return dropped;
}

/** Deliver what is batched. Call it before control goes back to the host: without a ring, a trap loses what was not sent. */
export function flush(): void {
  endBatch(true);
  if (dropped == told) return;
  // Where nothing else is to tell, drops are.
  const read = readTime;
  time = read === null ? 0 : read();
  beginBatch();
  endBatch(true);
}

/** Send the batch at hand. What is in the ring goes by itself, but can be sent for: `now`. */
function endBatch(now: bool): void {
  const length = <i32>wire.written();
  if (length == 0) return;
  const batch = wire.clear();
  sequence++;
  if (!ring.release()) control(send(batch, length));
  else if (now) send(0, 0);
}

function control(word: i32): void {
  // The mark of a control word; packages/protocol/src/control.ts.
  if (word >>> 16 != 0x5350) return;
  maxLevel = min(word & 7, <i32>Level.Trace);
  if (word & 8) epoch++;
}

/** A run of the guest begins: export it as `spanduct_begin`, for the host to call. `traceparent` does not work without. */
export function beginRun(word: i32): void {
  control(word);
  rememberRun(lastSpan);
}

/**
 * The W3C header `traceparent` that makes what it is given to a child of `span` in the host's trace; without a span, and for one
 * that was filtered out, of the host's span above the guest. Null where that is not known. Spans of the last 256 runs are known.
 */
export function traceparent(span: Span = 0): string | null {
  return headerOf(span, maxLevel == Level.Off);
}

/**
 * Emit why the guest aborts, deliver it, and end the guest. Takes the place of AssemblyScript's `abort` with
 * `asc --use abort=~lib/@spanduct/guest-assemblyscript/assembly/index/traceAbort`.
 */
export function traceAbort(reason: string | null, file: string | null, line: u32, column: u32): void {
  new EventSite("abort", Level.Error, ["message", "file", "line", "column"]).emit(reason, file, line, column);
  flush();
  unreachable();
}

/** Begin an event, after the batch's header and the call site where these are due. */
function begin(site: CallSite | null, tag: u32): void {
  const read = readTime;
  time = read === null ? 0 : read();
  if (ring.isTaken() || abs(time - baseTime) >= MAX_TIME_SPAN) endBatch(false);
  if (wire.written() == 0) beginBatch();
  announcing = null;
  if (site !== null && site.epoch != epoch) {
    announcing = site;
    site.announce();
  }
  wire.beginEvent(tag, read !== null, time - lastTime);
}

function beginBatch(): void {
  wire.clear();
  baseTime = lastTime = time;
  writeId(0x08, 1);
  writeId(0x10, domain);
  wire.writeFixed(0x19, time);
  writeId(0x20, sequence);
  writeId(0x28, dropped);
  told = dropped;
  headerBytes = wire.written();
}

/** End the event. True: write it once more, because it found no room in the ring behind those before it. */
function again(): bool {
  delivered = wire.endEvent();
  if (!delivered) {
    dropped++;
    // An empty batch begins anew, with this count.
    if (wire.written() == headerBytes) wire.clear();
  } else if (ring.isOpen() && !ring.publish(wire.start(), <u32>wire.written())) {
    const more = ring.holds();
    const site = announcing;
    if (more && site !== null) site.epoch = 0;
    if (!more) lastTime = time;
    // The host empties the ring, and where the event came first takes it along.
    endBatch(true);
    return more;
  } else {
    lastTime = time;
  }
  if (wire.written() >= batchBytes) endBatch(false);
  return false;
}

function spanEvent(tag: u32, span: Span): void {
  if (span == 0) return;
  do {
    begin(null, tag);
    writeVarint(span);
  } while (again());
}

/** What follows happens in this span, until it is exited. */
export function enter(span: Span): void {
  spanEvent(0x28, span);
}

/** Leave a span that was entered; it stays open. */
export function exit(span: Span): void {
  spanEvent(0x30, span);
}

/** Hold one more handle: a span ends once it has been closed as often as it was opened and cloned. */
export function clone(span: Span): Span {
  spanEvent(0x38, span);
  return span;
}

/** Give up a handle; without handles the span ends. */
export function close(span: Span): void {
  spanEvent(0x40, span);
}

/** Say that `cause` led to `span` without enclosing it. */
export function followsFrom(span: Span, cause: Span): void {
  if (span == 0 || cause == 0) return;
  do {
    begin(null, 0x22);
    writeId(0x08, span);
    writeId(0x10, cause);
  } while (again());
}

/** One place in the code that opens spans or emits events. Make it once, as a constant. */
export abstract class CallSite {
  readonly id: u64 = ++lastSite;
  /** Of its last announcement. */
  epoch: u32 = 0;

  /**
   * @param fields names of its values, which are then given in this order
   * @param target the part of the system it belongs to; OpenTelemetry's instrumentation scope
   * @param line in `file`, from 1; 0 where it is not known
   */
  constructor(
    readonly name: string,
    readonly level: Level = Level.Info,
    readonly fields: string[] = [],
    readonly target: string = "guest",
    readonly file: string | null = null,
    readonly line: u32 = 0,
  ) {}

  /** As on the wire: 1 for spans, 2 for events. */
  abstract kind(): u32;

  /** Whether the host wants what comes from here: ask before computing values that cost something. */
  enabled(): bool {
    control(ring.control());
    return <i32>this.level <= maxLevel;
  }

  /** Tell the host what it is; comes by itself before its first use. */
  announce(): void {
    wire.beginEvent(0x12, false, 0);
    writeId(0x08, this.id);
    writeId(0x10, this.kind());
    writeId(0x18, this.level);
    writeString(0x22, this.name);
    writeString(0x2a, this.target);
    const file = this.file;
    if (file !== null) writeString(0x3a, file);
    writeId(0x40, this.line);
    for (let i = 0; i < this.fields.length; i++) writeString(0x4a, this.fields[i]);
    if (wire.endEvent()) this.epoch = epoch;
  }
}

/** A call site that opens spans. Values are given in the order of its fields; null ones are left out. */
export class SpanSite extends CallSite {
  kind(): u32 {
    return 1;
  }

  /** Open a span in the one that was entered last. */
  open<A = None, B = None, C = None, D = None>(a: A = none<A>(), b: B = none<B>(), c: C = none<C>(), d: D = none<D>()): Span {
    return this.openIn<A, B, C, D>(0, a, b, c, d);
  }

  /** Open a span in `parent`. */
  openIn<A = None, B = None, C = None, D = None>(
    parent: Span, a: A = none<A>(), b: B = none<B>(), c: C = none<C>(), d: D = none<D>(),
  ): Span {
    if (!this.enabled()) return 0;
    const id = lastSpan + 1;
    do {
      begin(this, 0x1a);
      writeId(0x08, id);
      writeId(0x10, parent);
      writeId(0x18, this.id);
      writeValues<A, B, C, D>(0x22, a, b, c, d);
    } while (again());
    if (!delivered) return 0;
    lastSpan = id;
    return id;
  }

  /** Give a span of this call site one more value, or replace it. @param field index into the fields */
  record<T>(span: Span, field: u32, value: T): void {
    if (span == 0) return;
    do {
      begin(null, 0x4a);
      writeId(0x08, span);
      writeValue<T>(0x12, field, value);
    } while (again());
  }
}

/** A call site that emits events. Values are given in the order of its fields; null ones are left out. */
export class EventSite extends CallSite {
  kind(): u32 {
    return 2;
  }

  /** Emit an event in the span that was entered last. */
  emit<A = None, B = None, C = None, D = None>(a: A = none<A>(), b: B = none<B>(), c: C = none<C>(), d: D = none<D>()): void {
    this.emitIn<A, B, C, D>(0, a, b, c, d);
  }

  /** Emit an event in `parent`. */
  emitIn<A = None, B = None, C = None, D = None>(
    parent: Span, a: A = none<A>(), b: B = none<B>(), c: C = none<C>(), d: D = none<D>(),
  ): void {
    if (!this.enabled()) return;
    do {
      begin(this, 0x52);
      writeId(0x08, this.id);
      writeId(0x10, parent);
      writeValues<A, B, C, D>(0x1a, a, b, c, d);
    } while (again());
  }
}

function writeValues<A, B, C, D>(tag: u32, a: A, b: B, c: C, d: D): void {
  writeValue<A>(tag, 0, a);
  writeValue<B>(tag, 1, b);
  writeValue<C>(tag, 2, c);
  writeValue<D>(tag, 3, d);
}

// @ts-ignore: decorator
@inline
function none<T>(): T {
  return isReference<T>() ? changetype<T>(<usize>0) : <T>0;
}
