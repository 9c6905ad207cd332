import type { Context } from "@opentelemetry/api";
import type { Relay } from "@spanduct/receiver";
import type { Outgoing, Outlet } from "./delivery.ts";
import { Execution, type ExecutionSetup } from "./execution.ts";
import { type Outbox, writeOutbox } from "./outbox.ts";
import { readContext, record, type SavedSpanContext, writeContext } from "./saved-json.ts";
import type { GuestSpan } from "./span.ts";

/** Where an execution belongs among traces, as plain JSON: what the next attempt at it is given as `previous`. */
export interface SavedTrace {
  /** The span of the host that the execution began under. */
  readonly parent?: SavedSpanContext;
  /** The attempt's own span, with `traces: "linked"`. */
  readonly run?: SavedSpanContext;
}

/** One attempt whose spans and log records are handed over as plain data instead of delivered. */
export interface OutboxExecution extends Relay<GuestSpan> {
  /** Where the attempt belongs; store it with the state. */
  readonly trace: SavedTrace;
  /** The guest is at its end: what it has left open when the receiver is persisted is closed, and says so. */
  finish(): void;
  /**
   * What is to be delivered, once the receiver was persisted or disposed of: store it with the state, in one transaction, or after
   * the rollback. The same each time that it is asked.
   */
  outbox(): Outbox;
  /** The receiver was persisted, but what it gave could not be stored: everything is rolled back instead. */
  undo(): void;
}

/** Keeps what would go out. */
class Collector implements Outlet {
  outgoing: Outgoing[] = [];
  #failures: unknown[] = [];

  start(span: GuestSpan, context: Context): void {
    this.outgoing.push({ kind: "start", span, context });
  }

  end(span: GuestSpan): void {
    this.outgoing.push({ kind: "end", span });
  }

  send(outgoing: Outgoing): void {
    this.outgoing.push(outgoing);
  }

  fail(error: unknown): void {
    if (this.#failures.length === 0) this.#failures.push(error);
  }

  throwFailure(): void {
    if (this.#failures.length > 0) throw this.#failures.pop();
  }
}

/** An `Execution` in front of a collector. */
export class CollectedExecution extends Execution implements OutboxExecution {
  readonly #collector: Collector;
  readonly #parent: SavedSpanContext | undefined;

  constructor(setup: Omit<ExecutionSetup, "outlet" | "canUndo">, parent: SavedSpanContext | undefined) {
    const collector = new Collector();
    super({ ...setup, outlet: collector, canUndo: true });
    this.#collector = collector;
    this.#parent = parent;
  }

  get trace(): SavedTrace {
    const { runContext } = this;
    return {
      ...(this.#parent !== undefined && { parent: this.#parent }),
      ...(runContext !== undefined && { run: writeContext(runContext) }),
    };
  }

  outbox(): Outbox {
    return writeOutbox(this.#collector.outgoing);
  }

  undo(): void {
    this.#collector.outgoing = [];
    this.undoCommit();
  }
}

/** @throws TunnelError "snapshot_mismatch": no attempt can have given it */
export function readTrace(saved: unknown): SavedTrace {
  const { parent, run } = record(saved, "trace");
  return {
    ...(parent !== undefined && { parent: writeContext(readContext(parent)) }),
    ...(run !== undefined && { run: writeContext(readContext(run)) }),
  };
}
