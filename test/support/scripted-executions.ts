import {
  FlushedSpanProcessor,
  OpenTelemetryRelay,
  type OpenTelemetryRelayOptions,
  type ReadableSpan,
} from "@spanduct/opentelemetry";
import type { TracingEvent } from "@spanduct/protocol";
import {
  type Environment,
  Executions,
  type ExecutionsOptions,
  type RunOptions,
  type RunResult,
  type StateStore,
} from "@spanduct/store";
import { callSite, Guest } from "../contract/opentelemetry/guest.ts";
import { type SpanData, spanData } from "../contract/opentelemetry/span-data.ts";

/** What a guest does in each of its runs. Its snapshot is how many of them it has behind it. */
export type Script = readonly (readonly TracingEvent[])[];

/** 64 bits that belong to an id. */
export function seedOf(id: string): bigint {
  let seed = 0xcbf2_9ce4_8422_2325n;
  for (const char of id) seed = BigInt.asUintN(64, (seed ^ BigInt(char.codePointAt(0) as number)) * 0x100_0000_01b3n);
  return seed;
}

/**
 * A workflow: a root span over all runs, one step a run, in which the next is opened and left open, with events, links, and values of all
 * kinds. Deterministic.
 */
export function workflow(runs: number, stepsPerRun = 2): Script {
  const guest = new Guest();
  const script: TracingEvent[][] = [];
  const root = guest.open(guest.callSite(callSite("workflow")), { a: { int: runs } });
  const step = guest.callSite(callSite("step"));
  const said = guest.callSite(callSite("said", { kind: "event" }));
  guest.enter(root);
  let waiting: number | bigint | undefined;
  for (let run = 0; run < runs; run++) {
    if (waiting !== undefined) {
      guest.record(waiting, { b: { bool: true } });
      guest.close(waiting);
    }
    for (let i = 0; i < stepsPerRun; i++) {
      const span = guest.open(step, { a: { int: run }, b: { string: `step ${i}` } });
      guest.enter(span);
      guest.emit(said, { message: { string: `run ${run}` }, a: { float: 0.5 } });
      guest.exit(span);
      guest.close(span);
    }
    waiting = run + 1 < runs ? guest.open(step, { a: { string: "waits" } }) : undefined;
    if (run + 1 === runs) {
      guest.exit(root);
      guest.close(root);
    }
    script.push(guest.events.splice(0));
  }
  return script;
}

/** A host whose exports are kept, each in the form in which it is compared. */
export class ScriptedHost {
  readonly executions: Executions;
  readonly relay: OpenTelemetryRelay;
  readonly exported: SpanData[] = [];
  readonly errors: unknown[] = [];
  /** Thrown by the exporter while it is set. */
  exportFailure: Error | undefined;

  constructor(
    store: StateStore,
    options: Partial<ExecutionsOptions> = {},
    relayOptions: Partial<OpenTelemetryRelayOptions> = {},
  ) {
    const processor = new FlushedSpanProcessor({
      export: (spans: readonly ReadableSpan[], done) => {
        if (this.exportFailure !== undefined) return done({ code: 1, error: this.exportFailure });
        this.exported.push(...spans.map(spanData));
        done({ code: 0 });
      },
      shutdown: async () => undefined,
    });
    this.relay = new OpenTelemetryRelay({ spanProcessors: [processor], clock: () => [1_767_312_000, 0], ...relayOptions });
    this.executions = new Executions({
      store,
      relay: this.relay,
      onError: (error) => this.errors.push(error),
      ...options,
      environment: { ...impatient(), ...options.environment },
    });
  }

  /** Exported spans that are not flagged as rolled back, by identity. @throws when one was exported with two contents */
  get committed(): { [identity: string]: SpanData } {
    return contents(this.exported.filter((span) => !isRolledBack(span)));
  }

  /** Do the next run of an execution that follows a script. */
  async step(
    id: string,
    script: Script,
    options: RunOptions & { program?: string; fail?: Error; after?: number } = {},
  ): Promise<RunResult> {
    const { program = "script@1", fail, after = Number.POSITIVE_INFINITY, ...how } = options;
    const action = ({
      receiver,
      snapshot,
    }: {
      receiver: { receive(event: TracingEvent): void };
      snapshot: Uint8Array | undefined;
    }) => {
      const done = snapshot === undefined ? 0 : Number(new TextDecoder().decode(snapshot));
      const events = script[done] ?? [];
      for (const event of events.slice(0, after)) receiver.receive(event);
      if (fail !== undefined) throw fail;
      return { snapshot: new TextEncoder().encode(String(done + 1)), done: done + 1 >= script.length };
    };
    return await this.executions.run(id, program, action, { seed: seedOf(id), ...how });
  }

  /** Run an execution to its end. */
  async finish(id: string, script: Script, options: RunOptions & { program?: string } = {}): Promise<void> {
    for (;;) if ((await this.step(id, script, options)).done) return;
  }
}

/** By identity. @throws when one identity has two contents */
export function contents(spans: readonly SpanData[]): { [identity: string]: SpanData } {
  const found: { [identity: string]: SpanData } = {};
  for (const span of spans) {
    const identity = `${span.traceId}/${span.spanId}`;
    const known = found[identity];
    if (known !== undefined && JSON.stringify(known) !== JSON.stringify(span)) throw new Error(`two contents of ${identity}`);
    found[identity] = span;
  }
  return found;
}

export function isRolledBack(span: SpanData): boolean {
  return (span["attributes"] as { readonly [name: string]: unknown })["spanduct.rolled_back"] === true;
}

/** Waits are over at once, and time passes with them. */
export function impatient(startMs = 1_767_225_600_000): Pick<Environment, "nowMs" | "wait" | "random"> {
  let now = startMs;
  return {
    nowMs: () => now,
    random: () => 0.5,
    // What waits in the background waits for ever: nothing happens by itself in a test.
    wait: (ms, signal, background) =>
      new Promise((resolve) => {
        if (background === undefined) {
          now += ms;
          setImmediate(resolve);
        } else if (signal.aborted) resolve();
        else signal.addEventListener("abort", () => resolve(), { once: true });
      }),
  };
}
