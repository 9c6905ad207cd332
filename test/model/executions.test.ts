import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TracingEvent } from "@spanduct/protocol";
import type { FaultHook, StateStore } from "@spanduct/store";
import { memoryStore } from "@spanduct/store/memory";
import { sqliteStore } from "@spanduct/store/sqlite";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EPOCH } from "../contract/opentelemetry/guest.ts";
import { program } from "../contract/opentelemetry/programs.ts";
import type { SpanData } from "../contract/opentelemetry/span-data.ts";
import { contents, impatient, isRolledBack, type Script, ScriptedHost } from "../support/scripted-executions.ts";

/** What happens to one attempt at a run. */
type Fate =
  | { readonly kind: "commits" }
  /** The guest throws after so many events. */
  | { readonly kind: "fails"; readonly after: number }
  /** The host dies at the nth fault point that it comes to. */
  | { readonly kind: "dies"; readonly at: number }
  /** The store fails at the nth fault point that it comes to. */
  | { readonly kind: "store fails"; readonly at: number };

const fate: fc.Arbitrary<Fate> = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Fate>({ kind: "commits" }) },
  { weight: 1, arbitrary: fc.nat({ max: 12 }).map((after): Fate => ({ kind: "fails", after })) },
  { weight: 3, arbitrary: fc.nat({ max: 16 }).map((at): Fate => ({ kind: "dies", at })) },
  { weight: 3, arbitrary: fc.nat({ max: 16 }).map((at): Fate => ({ kind: "store fails", at })) },
);

const script: fc.Arbitrary<Script> = fc.tuple(program, fc.array(fc.nat({ max: 60 }), { maxLength: 4 })).map(([events, cuts]) => {
  const places = [...new Set(cuts.map((cut) => Math.min(cut, events.length)))].sort((a, b) => a - b);
  return [...places, events.length].map((end, i) => events.slice(places[i - 1] ?? 0, end));
});

/** All that a naive reading of the events knows: which spans are open, and when those that are closed began and ended. */
class Model {
  readonly closed: string[] = [];
  readonly #open: Map<unknown, { start: bigint; handles: number }> = new Map();

  get openSpans(): number {
    return this.#open.size;
  }

  apply(events: readonly TracingEvent[]): void {
    for (const event of events) {
      const [[kind, body]] = Object.entries(event) as [[string, { id: unknown; time_unix_nano: bigint }]];
      const span = this.#open.get(body.id);
      if (kind === "new_span") this.#open.set(body.id, { start: body.time_unix_nano, handles: 1 });
      else if (kind === "span_cloned" && span !== undefined) span.handles++;
      else if (kind === "span_dropped" && span !== undefined && --span.handles === 0) {
        this.#open.delete(body.id);
        this.closed.push(`${span.start} ${[span.start, body.time_unix_nano].sort().at(-1)}`);
      }
    }
  }
}

function times(spans: readonly SpanData[]): string[] {
  const nanos = (time: unknown): bigint =>
    BigInt((time as number[])[0] ?? 0) * 1_000_000_000n + BigInt((time as number[])[1] ?? 0);
  return spans.map((span) => `${nanos(span["startTime"])} ${nanos(span["endTime"])}`);
}

/** A host that can be killed: from then on its store does nothing any more. */
class MortalHost extends ScriptedHost {
  readonly #fate: { left: number; kind: Fate["kind"] };

  constructor(open: (faults: FaultHook) => StateStore, startMs: number) {
    const fate: { left: number; kind: Fate["kind"] } = { left: 0, kind: "commits" };
    const store = open(() => {
      if (fate.kind === "commits" || fate.left-- > 0) return;
      if (fate.kind === "store fails") fate.kind = "commits";
      throw new Error(fate.kind);
    });
    super(store, { environment: impatient(startMs), retry: { attempts: 1 } });
    this.#fate = fate;
  }

  set fate(fate: Fate) {
    this.#fate.kind = fate.kind === "fails" ? "commits" : fate.kind;
    this.#fate.left = "at" in fate ? fate.at : 0;
  }

  get isDead(): boolean {
    return this.#fate.kind === "dies" && this.#fate.left < 0;
  }
}

async function check(script: Script, fates: readonly Fate[], backend: (faults: FaultHook) => StateStore): Promise<void> {
  const undisturbed = new ScriptedHost(memoryStore());
  await undisturbed.finish("x", script);
  await undisturbed.executions.drain();

  const model = new Model();
  const exported: SpanData[] = [];
  let startMs = Number(EPOCH / 1_000_000n);
  let host = new MortalHost(backend, startMs);
  const bury = async (): Promise<void> => {
    exported.push(...host.exported.splice(0));
    host.fate = { kind: "commits" };
    await host.executions.close();
    // Whoever comes next comes after all leases.
    startMs += 3_600_000;
    host = new MortalHost(backend, startMs);
  };

  let committed = 0;
  const left = [...fates];
  while (committed < script.length) {
    const next = left.shift() ?? { kind: "commits" };
    const events = script[committed] as readonly TracingEvent[];
    host.fate = next;
    const fails = next.kind === "fails" ? { fail: new Error("guest"), after: next.after } : {};
    // Where it throws, whether it was committed can only be read from the store.
    const result = await host.step("x", script, fails).catch(() => undefined);
    await host.executions.drain().catch(() => undefined);
    if (result !== undefined) {
      expect(result).toMatchObject({ revision: committed + 1, ran: true });
      model.apply(events);
      committed++;
    }
    if (host.isDead) await bury();
    host.fate = { kind: "commits" };
    const stored = await host.executions.inspect("x");
    if ((stored?.revision ?? 0) > committed) {
      model.apply(events);
      committed++;
    }
    expect(stored?.revision ?? 0).toBe(committed);
    expect(stored?.liveSpans ?? 0).toBe(model.openSpans);
  }
  await bury();
  await host.executions.drain();
  const last = await host.executions.inspect("x");
  expect(last).toMatchObject({ status: "done", backlog: 0, liveSpans: 0 });
  await bury();
  await host.executions.close();

  const kept = exported.filter((span) => !isRolledBack(span));
  expect(contents(kept)).toEqual(undisturbed.committed);
  expect(times(Object.values(contents(kept))).sort()).toEqual(model.closed.sort());
  // No flagged span has the identity of another.
  contents(exported);
}

describe("Executions under random events, rollbacks, failures and crashes: what is exported is what was committed", () => {
  it("memoryStore", { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(script, fc.array(fate, { maxLength: 8 }), async (script, fates) => {
        let current: FaultHook = () => undefined;
        const store = memoryStore({ faults: (point) => current(point) });
        await check(script, fates, (faults) => {
          current = faults;
          return store;
        });
      }),
      { numRuns: 150 },
    );
  });

  it("sqliteStore", { timeout: 60_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), "executions-model-"));
    let files = 0;
    try {
      await fc.assert(
        fc.asyncProperty(script, fc.array(fate, { maxLength: 8 }), async (script, fates) => {
          const path = join(folder, `${files++}.db`);
          await check(script, fates, (faults) => sqliteStore(path, { faults }));
        }),
        { numRuns: 75 },
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
