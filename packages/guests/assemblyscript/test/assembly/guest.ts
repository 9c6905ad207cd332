// The guest of the tests: each export is one scenario.
import {
  beginRun, Clock, clone, close, droppedEvents, enter, EventSite, exit, flush, followsFrom, Level, now, setBatchBytes, setClock,
  SpanSite, traceAbort, TracedError, traceparent,
} from "../../assembly/index";

export { beginRun, droppedEvents, flush, setBatchBytes, traceAbort };

const WORK = new SpanSite("work", Level.Info, ["path", "bytes"], "guest::work", "guest.ts", 12);
const STEP = new SpanSite("step", Level.Debug);
const DONE = new EventSite("done", Level.Info, ["message", "a", "b", "c"]);
const DETAIL = new EventSite("detail", Level.Trace, ["message"]);

export function spans(): void {
  const work = WORK.open("README.md", 300);
  enter(work);
  const step = STEP.open();
  followsFrom(step, work);
  clone(step);
  close(step);
  DONE.emit("in work");
  DONE.emitIn(step, "in step");
  exit(work);
  WORK.record(work, 1, 301);
  close(step);
  close(work);
  const child = WORK.openIn(work, "of a closed one");
  close(child);
}

const NO_TEXT: string | null = null;

export function values(): void {
  DONE.emit("naïve 日本語 🦀 \0", true, false, 1.5);
  DONE.emit(<i8>-1, <u8>255, <i16>-300, <u16>65535);
  DONE.emit(i32.MIN_VALUE, u32.MAX_VALUE, i64.MIN_VALUE, u64.MAX_VALUE);
  DONE.emit(i64.MAX_VALUE, -0.0, f64.NaN, <f32>0.1);
  DONE.emit("", NO_TEXT, -<f64>Infinity, 0);
  DONE.emit("lone \uD800 surrogate", "\uDC00");
  DONE.emit();
}

export function errors(): void {
  DONE.emit("failed", new TracedError("outer", "IOError", new TracedError("inner")));
  let chain: TracedError | null = null;
  for (let i = 20; i > 0; i--) chain = new TracedError("link " + i.toString(), null, chain);
  DONE.emit("deep", chain);
  const circle = new TracedError("circle");
  circle.source = circle;
  DONE.emit("endless", circle);
}

export function text(length: i32): void {
  DONE.emit("x".repeat(length));
}

export function detail(): void {
  DETAIL.emit("low");
}

export function filteredSpan(): void {
  const step = STEP.open();
  enter(step);
  const work = WORK.openIn(step, "still sent");
  clone(step);
  exit(step);
  close(step);
  close(work);
}

export function hostClock(): void {
  setClock(now);
}

let workflowTime: i64 = 5;

export function workflowClock(step: i64): void {
  setClock((): i64 => (workflowTime += 7), Clock.Logical);
  workflowTime += step;
}

/** Opens and closes `count` spans; returns the distance between two allocations before and after it. */
export function many(count: i32): usize {
  const before = heap.alloc(8);
  for (let i = 0; i < count; i++) {
    const span = WORK.open("hot path", i);
    enter(span);
    exit(span);
    close(span);
  }
  return heap.alloc(8) - before;
}

/** An event with the header of a span; 0 for the host's. */
export function header(span: u64): void {
  DONE.emit(traceparent(span));
}

export function fail(): void {
  const work = WORK.open("about to fail");
  enter(work);
  const empty: i32[] = [];
  empty.pop();
}
