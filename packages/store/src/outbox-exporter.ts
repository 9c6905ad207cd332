import { isTunnelError } from "@spanduct/protocol";
import { backoffMs, type RetryOptions } from "./backoff.ts";
import type { Environment } from "./environment.ts";
import type { OutboxRow, StateStore } from "./state-store.ts";

/** Rows taken at a time. */
const ROWS_PER_CLAIM = 256;

/** How long a row that nobody here can read is left alone, in milliseconds: for a host of another build. */
const UNREADABLE_MS = 60_000;

/** The part of a relay that delivers: `OpenTelemetryRelay` has it. */
export interface OutboxRelay {
  deliver(outboxes: readonly unknown[], options?: { readonly onError?: (error: unknown) => void }): Promise<void>;
}

/** What an exporter is made with. */
export interface OutboxExporterOptions {
  readonly store: StateStore;
  readonly relay: OutboxRelay;
  readonly environment: Environment;
  readonly holder: string;
  /** After how long others take over what this host has claimed. */
  readonly leaseMs: number;
  readonly retry: RetryOptions;
  /** Whether anything happens without `drain`. */
  readonly inBackground: boolean;
  readonly onError: (error: unknown) => void;
}

/** Exports what is committed and acknowledges it: in the background after `wake`, or to its end with `drain`. One at a time. */
export class OutboxExporter {
  readonly #options: OutboxExporterOptions;
  readonly #stop: AbortController = new AbortController();
  #current: Promise<void> | undefined;
  #isWoken = false;
  #onProgress: ((rows: number) => void) | undefined;
  #exported = 0;
  /** Why the last round ended early. */
  #failure: unknown;
  #failures = 0;
  /** What the round that waits for a time waits with. */
  #timer: AbortController | undefined;

  constructor(options: OutboxExporterOptions) {
    this.#options = options;
  }

  /** There is something to export, or may be. */
  wake(): void {
    if (this.#options.inBackground) this.#start();
  }

  /**
   * Export all that nobody else is exporting.
   *
   * @throws what a flush rejected with, or TunnelError "store_failed": it is tried again later, in the background
   */
  async drain(onProgress?: (rows: number) => void): Promise<void> {
    this.#onProgress = onProgress;
    this.#exported = 0;
    this.#start();
    while (this.#current !== undefined) await this.#current;
    const failure = this.#failure;
    if (failure !== undefined) throw failure;
  }

  /** Finish what is being exported and take no more. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#timer?.abort();
    await this.#current;
  }

  #start(): void {
    if (this.#stop.signal.aborted) return;
    this.#isWoken = true;
    this.#current ??= this.#work();
  }

  async #work(): Promise<void> {
    const { environment, retry, onError } = this.#options;
    this.#timer?.abort();
    let nextMs: number | undefined;
    while (this.#isWoken && !this.#stop.signal.aborted) {
      this.#isWoken = false;
      this.#failure = undefined;
      try {
        nextMs = await this.#exportAll();
        this.#failures = 0;
      } catch (error) {
        this.#failure = error;
        nextMs = environment.nowMs() + backoffMs(++this.#failures, retry, environment.random());
        onError(error);
        break;
      }
    }
    this.#current = undefined;
    if (nextMs !== undefined && this.#options.inBackground && !this.#stop.signal.aborted) void this.#wakeAt(nextMs);
  }

  async #wakeAt(ms: number): Promise<void> {
    const { nowMs, wait } = this.#options.environment;
    const timer = new AbortController();
    this.#timer = timer;
    await wait(Math.max(ms - nowMs(), 1), timer.signal, "background");
    if (!timer.signal.aborted) this.wake();
  }

  /** @returns when there may be more */
  async #exportAll(): Promise<number | undefined> {
    const { store, environment, holder, leaseMs } = this.#options;
    for (;;) {
      const now = environment.nowMs();
      const { rows, nextMs } = await store.claim(holder, now, now + leaseMs, ROWS_PER_CLAIM);
      if (rows.length === 0 || this.#stop.signal.aborted) return nextMs;
      store.faults?.("export:before");
      const exported = await this.#export(rows);
      store.faults?.("export:delivered");
      if (exported.length > 0) await store.acknowledge(exported);
      this.#exported += exported.length;
      this.#onProgress?.(this.#exported);
    }
  }

  /** @returns the rows that were delivered; the others are left for later */
  async #export(rows: readonly OutboxRow[]): Promise<readonly OutboxRow[]> {
    try {
      await this.#deliver(rows);
      return rows;
    } catch (error) {
      if (!isRefusal(error)) return this.#giveBack(rows, error);
    }
    // One of them is for another build: each execution by itself, up to what cannot be read.
    const exported: OutboxRow[] = [];
    const stuck = new Map<string, OutboxRow[]>();
    for (const row of rows) {
      const waiting = stuck.get(row.id);
      if (waiting !== undefined) {
        waiting.push(row);
        continue;
      }
      try {
        await this.#deliver([row]);
        exported.push(row);
      } catch (error) {
        if (!isRefusal(error)) {
          // What was delivered before is acknowledged nevertheless.
          if (exported.length > 0) await this.#options.store.acknowledge(exported);
          return this.#giveBack(rows.slice(exported.length), error);
        }
        stuck.set(row.id, [row]);
        this.#options.onError(error);
      }
    }
    const { store, environment } = this.#options;
    await store.postpone([...stuck.values()].flat(), environment.nowMs() + UNREADABLE_MS);
    return exported;
  }

  async #deliver(rows: readonly OutboxRow[]): Promise<void> {
    const { relay, onError } = this.#options;
    await relay.deliver(
      rows.map(({ payload }) => parse(payload)),
      { onError },
    );
  }

  /** Others may try at once; this host waits. */
  async #giveBack(rows: readonly OutboxRow[], error: unknown): Promise<never> {
    const { store, environment } = this.#options;
    try {
      await store.postpone(rows, environment.nowMs());
    } catch {
      // They are claimed for a while then.
    }
    throw error;
  }
}

/** Whether a relay refused before it delivered anything. */
function isRefusal(error: unknown): boolean {
  return isTunnelError(error) && ["unsupported_version", "snapshot_mismatch", "relay_failed"].includes(error.code);
}

/** What cannot be parsed is for the relay to refuse. */
function parse(payload: string): unknown {
  try {
    return JSON.parse(payload);
  } catch {
    return payload;
  }
}
