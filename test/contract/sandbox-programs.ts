import type { SpanductGlobal as Spanduct } from "@spanduct/sandbox/quickjs";

/**
 * What guests do in the contract suite. Each runs in a realm of its own, so it can use its argument, the language and `console`,
 * and nothing else. Those that wait for a word of the host's yield after each step. Guests in other languages do the same: see
 * `assembly/sandbox-programs.ts`.
 */
export const PROGRAMS = {
  /** A span in a span, one with an explicit parent, events in them. */
  nested({ tracing }: Spanduct) {
    const outerSite = tracing.span({ name: "outer", fields: ["job"] });
    const innerSite = tracing.span({ name: "inner" });
    const leafSite = tracing.span({ name: "leaf", fields: ["size"] });
    const note = tracing.event({ name: "note", fields: ["message"] });
    const outer = outerSite.enter({ job: "contract" });
    note.emit({ message: "in outer" });
    const inner = innerSite.enter();
    note.emit({ message: "in inner" });
    const leaf = leafSite.start({ size: 1 }, outer);
    note.emit({ message: "in leaf" }, leaf);
    leaf.record({ size: 2 });
    leaf.close();
    inner.close();
    outer.close();
    tracing.flush();
  },

  /** Says which headers it would send along with calls: in the host's span, in a span, in one inside of that. */
  propagates({ tracing }: Spanduct) {
    const call = tracing.event({ name: "call", fields: ["traceparent"] });
    call.emit({ traceparent: tracing.traceparent() });
    const outer = tracing.span({ name: "outer" }).enter();
    call.emit({ traceparent: tracing.traceparent(outer) });
    const inner = tracing.span({ name: "inner" }).start();
    call.emit({ traceparent: tracing.traceparent(inner) }, inner);
    inner.close();
    outer.close();
  },

  /** Names parents: in another branch than the one that it is in, and under one that is closed. */
  parents({ tracing }: Spanduct) {
    const note = tracing.event({ name: "note", fields: ["in"] });
    const left = tracing.span({ name: "left" }).start();
    const right = tracing.span({ name: "right" }).enter();
    const far = tracing.span({ name: "far" }).start({}, left);
    note.emit({ in: "far" }, far);
    note.emit({ in: "left" }, left);
    note.emit({ in: "right" });
    left.close();
    const deep = tracing.span({ name: "deep" }).enter({}, far);
    note.emit({ in: "deep" });
    deep.close();
    note.emit({ in: "right again" });
    far.close();
    right.close();
  },

  /** An error with a cause, as a value of an event. */
  failure({ tracing }: Spanduct) {
    const failed = tracing.event({ name: "failed", level: "error", fields: ["error"] });
    failed.emit({ error: new Error("cannot render", { cause: new RangeError("no such file") }) });
    tracing.flush();
  },

  /** Goes on until the level `info` is turned off. */
  *chatter({ tracing }: Spanduct) {
    const note = tracing.event({ name: "note" });
    const alarm = tracing.event({ name: "alarm", level: "error" });
    for (let i = 0; i < 1_000_000 && note.enabled; i++) {
      note.emit();
      tracing.flush();
      yield;
    }
    note.emit();
    alarm.emit();
  },

  /** Ends without a flush of its own. */
  lastWords({ tracing }: Spanduct) {
    tracing.event({ name: "last words" }).emit();
  },

  /** Fails in the middle of a span, with a record that was not sent yet. */
  doomed({ tracing }: Spanduct) {
    const doomed = tracing.span({ name: "doomed" });
    const finished = tracing.span({ name: "finished" });
    doomed.enter();
    finished.enter().close();
    tracing.event({ name: "before" }).emit();
    throw new Error("guest failed", { cause: new TypeError("on purpose") });
  },

  /** Fails in a function of its own. */
  uncaught({ tracing }: Spanduct) {
    function breakDown(): void {
      throw new RangeError("out of range", { cause: new TypeError("because") });
    }
    tracing.event({ name: "before" }).emit();
    breakDown();
  },

  /** Forgets a promise, which fails. */
  rejects({ tracing }: Spanduct) {
    async function forgotten(): Promise<void> {
      throw new RangeError("out of range", { cause: new TypeError("because") });
    }
    tracing.event({ name: "before" }).emit();
    void forgotten();
  },

  /** Says that it is stuck, in the middle of a span, and does not come back. */
  stuck({ tracing }: Spanduct) {
    tracing.span({ name: "endless" }).enter();
    tracing.event({ name: "stuck" }).emit();
    tracing.flush();
    for (;;);
  },

  /** Writes to the console. */
  console({ tracing }: Spanduct) {
    tracing.span({ name: "talking" }).run(undefined, () => {
      console.log("hello", { n: 1 });
      console.error("it broke:", new Error("bad"));
    });
  },

  /** Ten thousand spans. */
  many({ tracing }: Spanduct) {
    const batch = tracing.span({ name: "batch" }).enter();
    const item = tracing.span({ name: "item", fields: ["i"] });
    for (let i = 0; i < 10_000; i++) item.enter({ i }).close();
    batch.close();
  },

  /** Three batches, two events that cannot be made, and two more batches: a count goes out with the batch that begins next. */
  drops({ tracing }: Spanduct) {
    const note = tracing.event({ name: "note", fields: ["text"] });
    for (let i = 0; i < 3; i++) {
      note.emit({ text: "sent" });
      tracing.flush();
    }
    const broken = tracing.event({ name: {} as string });
    broken.emit();
    broken.emit();
    for (let i = 0; i < 2; i++) {
      note.emit({ text: "after" });
      tracing.flush();
    }
  },

  /** Announces a call site in a batch of 10 kB, then uses it until the level `info` is turned off. */
  *heals({ tracing }: Spanduct) {
    const note = tracing.event({ name: "note", fields: ["text"] });
    note.emit({ text: "x".repeat(10_000) });
    tracing.flush();
    for (let i = 0; i < 1_000_000 && note.enabled; i++) {
      yield;
      note.emit({ text: "small" });
      tracing.flush();
    }
  },
} satisfies Record<string, (spanduct: Spanduct) => Iterable<void> | void>;

/** Name of a program. */
export type ProgramName = keyof typeof PROGRAMS;

/**
 * The program as a script; it wants the global `spanduct`, or the variable.
 *
 * @param pause for guests that hear of their host only when they yield: an expression, the promise of a turn of their event loop.
 *   The script is an expression then, the promise of its end
 */
export function programSource(name: ProgramName, pause?: string): string {
  const steps = `({ ${PROGRAMS[name].toString()} })[${JSON.stringify(name)}](spanduct) ?? []`;
  return pause === undefined
    ? `for (const step of ${steps});`
    : `(async () => { for (const step of ${steps}) await ${pause}; })()`;
}
