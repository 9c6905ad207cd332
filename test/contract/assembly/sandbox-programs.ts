// The programs of test/contract/sandbox-programs.ts in AssemblyScript; what they do is said there.
import {
  close, enter, EventSite, flush, Level, now, setClock, SpanSite, TracedError, traceparent,
} from "@spanduct/guest-assemblyscript/assembly";

export { beginRun as spanduct_begin, flush as spanduct_flush } from "@spanduct/guest-assemblyscript/assembly";

setClock(now);

export function nested(): void {
  const outerSite = new SpanSite("outer", Level.Info, ["job"]);
  const innerSite = new SpanSite("inner");
  const leafSite = new SpanSite("leaf", Level.Info, ["size"]);
  const note = new EventSite("note", Level.Info, ["message"]);
  const outer = outerSite.open("contract");
  enter(outer);
  note.emit("in outer");
  const inner = innerSite.open();
  enter(inner);
  note.emit("in inner");
  const leaf = leafSite.openIn(outer, 1);
  note.emitIn(leaf, "in leaf");
  leafSite.record(leaf, 0, 2);
  close(leaf);
  close(inner);
  close(outer);
  flush();
}

export function propagates(): void {
  const call = new EventSite("call", Level.Info, ["traceparent"]);
  call.emit(traceparent());
  const outer = new SpanSite("outer").open();
  enter(outer);
  call.emit(traceparent(outer));
  const inner = new SpanSite("inner").open();
  call.emitIn(inner, traceparent(inner));
  close(inner);
  close(outer);
}

export function parents(): void {
  const note = new EventSite("note", Level.Info, ["in"]);
  const left = new SpanSite("left").open();
  const right = new SpanSite("right").open();
  enter(right);
  const far = new SpanSite("far").openIn(left);
  note.emitIn(far, "far");
  note.emitIn(left, "left");
  note.emit("right");
  close(left);
  const deep = new SpanSite("deep").openIn(far);
  enter(deep);
  note.emit("deep");
  close(deep);
  note.emit("right again");
  close(far);
  close(right);
}

export function failure(): void {
  const failed = new EventSite("failed", Level.Error, ["error"]);
  failed.emit(new TracedError("cannot render", "Error", new TracedError("no such file", "RangeError")));
  flush();
}

export function chatter(): void {
  const note = new EventSite("note");
  const alarm = new EventSite("alarm", Level.Error);
  for (let i = 0; i < 1_000_000 && note.enabled(); i++) {
    note.emit();
    flush();
  }
  note.emit();
  alarm.emit();
}

export function lastWords(): void {
  new EventSite("last words").emit();
}

export function doomed(): void {
  enter(new SpanSite("doomed").open());
  close(new SpanSite("finished").open());
  new EventSite("before").emit();
  unreachable();
}

let broken = breakDown;

function breakDown(): void {
  unreachable();
}

export function uncaught(): void {
  new EventSite("before").emit();
  broken();
}

export function stuck(): void {
  enter(new SpanSite("endless").open());
  new EventSite("stuck").emit();
  unreachable();
}

export function many(): void {
  const batch = new SpanSite("batch").open();
  enter(batch);
  const item = new SpanSite("item", Level.Info, ["i"]);
  for (let i = 0; i < 10_000; i++) close(item.open(i));
  close(batch);
}

export function drops(): void {
  const note = new EventSite("note", Level.Info, ["text"]);
  for (let i = 0; i < 3; i++) {
    note.emit("sent");
    flush();
  }
  const huge = "x".repeat(1 << 20);
  note.emit(huge);
  note.emit(huge);
  for (let i = 0; i < 2; i++) {
    note.emit("after");
    flush();
  }
}

export function heals(): void {
  const note = new EventSite("note", Level.Info, ["text"]);
  note.emit("x".repeat(10_000));
  flush();
  for (let i = 0; i < 1_000_000 && note.enabled(); i++) {
    note.emit("small");
    flush();
  }
}
