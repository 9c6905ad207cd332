import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import type { PersistedMetadata, PersistedSpans } from "@spanduct/protocol";
import { MetadataArena, TracingEventReceiver } from "@spanduct/receiver";
import { batches, performanceClock, TracingEventSender } from "@spanduct/sender";
import { Executions, type StateStore } from "@spanduct/store";
import { memoryStore } from "@spanduct/store/memory";
import { postgresStore } from "@spanduct/store/postgres";
import { sqliteStore } from "@spanduct/store/sqlite";
import { missingPostgres, startPostgres } from "../../../../test/support/postgres.ts";
import { Collector, RESOURCE } from "../peer.ts";
import { alone, type Result } from "../result.ts";

declare const gc: (() => void) | undefined;

const ROUNDS = 15;
const LIVE_SPANS = 10_000;

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;
}

function newRelay(): OpenTelemetryRelay {
  return new OpenTelemetryRelay({ spanProcessors: [new Collector()], resource: RESOURCE });
}

/** What it takes to put an execution with many open spans away and to take it up again, but for the store. */
function restore(): Result[] {
  const relay = newRelay();
  const arena = new MetadataArena();
  arena.acquire("bench");
  const begin = (metadata: PersistedMetadata, spans: PersistedSpans): TracingEventReceiver =>
    new TracingEventReceiver(metadata, spans, [], {
      relay: relay.outboxExecution({ seed: 1n, attempt: 1 }),
      arena,
      program: "bench",
    });
  const first = begin({}, {});
  const sender = new TracingEventSender(
    batches((batch) => first.receiveBatch(batch)),
    { clock: performanceClock(performance) },
  );
  const site = sender.span({ name: "render", target: "bench", fields: ["kind", "size", "ratio"] });
  for (let i = 0; i < LIVE_SPANS; i++) site.start({ kind: "page", size: 1000 + i, ratio: i / 7 + 0.5 });
  sender.flush();
  const metadata = first.persistMetadata();
  let { spans } = first.persist();
  const times: number[] = [];
  const processor: number[] = [];
  for (let i = 0; i < 4 * ROUNDS; i++) {
    const before = process.cpuUsage();
    const start = performance.now();
    const receiver = begin(metadata, spans);
    ({ spans } = receiver.persist());
    times.push(performance.now() - start);
    const { user, system } = process.cpuUsage(before);
    processor.push((user + system) / 1000);
  }
  if (Object.keys(spans).length !== LIVE_SPANS) throw new Error("spans are gone");
  return [
    alone(`store: persist and restore ${LIVE_SPANS} live spans, without the store`, "ms", median(times.slice(2 * ROUNDS)), 25),
    alone("  of which on the processor, with garbage collection", "ms", median(processor.slice(2 * ROUNDS))),
  ];
}

const EVENTS = 100;
const EXECUTIONS_PER_ROUND = 200;

/** Hosts that commit executions of 100 events; nothing is exported meanwhile. @returns microseconds per commit */
async function commits(executions: Executions, concurrency: number, name: string): Promise<number> {
  let next = 0;
  const work = async (): Promise<void> => {
    for (let i = next++; i < EXECUTIONS_PER_ROUND; i = next++) {
      await executions.run(`${name} ${i}`, "bench@1", ({ receiver }) => {
        const sender = new TracingEventSender(batches((batch) => receiver.receiveBatch(batch)));
        const span = sender.span({ name: "render", target: "bench", fields: ["kind", "size"] });
        const event = sender.event({ name: "rendered", target: "bench", fields: ["message"] });
        // 25 spans with an event each: opened, event, closed; and one that stays open.
        for (let j = 0; j < EVENTS / 4; j++) {
          const open = span.start({ kind: "page", size: j });
          event.emit({ message: "rendered" }, open);
          open.record({ size: j + 1 });
          open.close();
        }
        sender.flush();
        return { snapshot: SNAPSHOT, done: false };
      });
    }
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: concurrency }, work));
  return ((performance.now() - start) * 1000) / EXECUTIONS_PER_ROUND;
}

const SNAPSHOT = new Uint8Array(1024).fill(7);

/** @param name what is committed where */
async function commitRounds(name: string, store: StateStore, concurrency: number, target?: number): Promise<Result[]> {
  const executions = new Executions({ store, relay: newRelay(), exports: "drain" });
  const times: number[] = [];
  const processor: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    const before = process.cpuUsage();
    times.push(await commits(executions, concurrency, `round ${i}`));
    const { user, system } = process.cpuUsage(before);
    processor.push((user + system) / EXECUTIONS_PER_ROUND);
  }
  await executions.close();
  return [
    alone(name, "µs/commit", median(times.slice(3)), target),
    alone("  of which on the processor, in this process", "µs/commit", median(processor.slice(3))),
  ];
}

async function sqlite(): Promise<Result[]> {
  const results: Result[] = [];
  for (const [synchronous, meaning, target] of [
    ["normal", "fsync when the log is checkpointed", 1e6 / 2000],
    ["full", "fsync with every transaction, two a run", undefined],
  ] as const) {
    const folder = mkdtempSync(join(tmpdir(), "bench-store-"));
    try {
      const store = sqliteStore(join(folder, "state.db"), { synchronous });
      const name = `store: run and commit of ${EVENTS} events and 1 kB of snapshot, SQLite, synchronous = ${synchronous} (${meaning})`;
      results.push(...(await commitRounds(name, store, 1, target)));
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
  return results;
}

async function postgres(): Promise<Result[]> {
  const missing = missingPostgres();
  if (missing !== undefined) {
    console.log(`store, PostgreSQL: skipped, ${missing}`);
    return [];
  }
  const server = await startPostgres();
  try {
    const [settings] = (await server.query(
      "select current_setting('fsync') fsync, current_setting('synchronous_commit') synchronous_commit, current_setting('wal_sync_method') method",
    )) as { fsync: string; synchronous_commit: string; method: string }[];
    const how = `fsync = ${settings?.fsync}, synchronous_commit = ${settings?.synchronous_commit} for commits, off for leases, ${settings?.method}`;
    const store = postgresStore(server.address, { connections: 4 });
    const name = `store: the same, PostgreSQL ${server.version}, 4 connections (${how})`;
    return await commitRounds(name, store, 4, 1e6 / 1000);
  } finally {
    await server.stop();
  }
}

const IDLE = 10_000;

/** Bytes of the heap that are in use. Needs `--expose-gc`. */
function heap(): number {
  for (let i = 0; i < 4; i++) gc?.();
  return process.memoryUsage().heapUsed;
}

/** An execution that waits for its next run, in a process that keeps everything in memory. */
async function idle(): Promise<Result[]> {
  const executions = new Executions({ store: memoryStore(), relay: newRelay(), exports: "drain" });
  const run = async (id: string): Promise<void> => {
    await executions.run(id, "bench@1", () => ({}));
  };
  for (let i = 0; i < 100; i++) await run(`warm ${i}`);
  const before = heap();
  for (let i = 0; i < IDLE; i++) await run(`execution ${i}`);
  const bytes = (heap() - before) / IDLE;
  await executions.close();
  return [alone("store: an idle execution in memory, without spans and snapshot", "bytes", bytes, 1024)];
}

const MANY = 100_000;

/** Many executions in one file: listed and pruned a page at a time. */
async function many(): Promise<Result[]> {
  const folder = mkdtempSync(join(tmpdir(), "bench-store-"));
  try {
    const store = sqliteStore(join(folder, "state.db"));
    await store.open();
    const state = { spans: "{}", trace: "{}", checksum: "", snapshot: SNAPSHOT };
    const program = { name: "bench@1" };
    for (let i = 0; i < MANY; i++) {
      const [id, lease] = [`execution ${i}`, String(i)];
      await store.acquire({ id, program: program.name, seed: "0", lease, holder: "", nowMs: 0, untilMs: 1 });
      const known = i === 0 ? { next: { digest: "d", metadata: "{}" } } : { digest: "d" };
      const commit = { id, lease, revision: 0, status: "done", program: { ...program, ...known } } as const;
      await store.commit({ ...commit, state, liveSpans: 0, outbox: [], nowMs: 0 });
    }
    await store.close();
    const executions = new Executions({ store, relay: newRelay(), exports: "drain" });
    const before = heap();
    let peak = before;
    const look = (): void => {
      peak = Math.max(peak, process.memoryUsage().heapUsed);
    };
    let listed = 0;
    let start = performance.now();
    for await (const _ of executions.list()) if (++listed % 1000 === 0) look();
    const listing = performance.now() - start;
    start = performance.now();
    const { executions: removed } = await executions.prune({ onProgress: look });
    const pruning = performance.now() - start;
    await executions.close();
    if (listed !== MANY || removed !== MANY) throw new Error(`${listed} listed, ${removed} removed`);
    return [
      alone(`store: list ${MANY} executions, SQLite`, "ms", listing),
      alone(`store: prune ${MANY} executions, SQLite`, "ms", pruning),
      alone("store: most memory that listing and pruning them took", "MB", (peak - before) / 1e6, 50),
    ];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export const storeCases: Readonly<Record<string, () => Result[] | Promise<Result[]>>> = {
  "store-restore": restore,
  "store-sqlite": sqlite,
  "store-postgres": postgres,
  "store-idle": idle,
  "store-many": many,
};
