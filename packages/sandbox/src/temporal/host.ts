import { fileURLToPath } from "node:url";
import { MetadataArena, type Relay, TracingEventReceiver } from "@spanduct/receiver";
import type { GuestOptions, GuestStats } from "../guest-runs.ts";
import type { Outcome } from "../outcome.ts";
import { type AttemptOptions, type ReceiverState, type WorkflowInfo, WorkflowRun } from "./run.ts";

/** How workflows are traced. */
export interface TraceTemporalOptions<Span> extends GuestOptions {
  /**
   * The relay of one attempt. It has to hold everything back until the attempt is committed, with ids that follow from the seed: for
   * OpenTelemetry `(attempt) => relay.execution({ parent: ROOT_CONTEXT, ...attempt })`. Where a workflow hangs in a trace has to follow
   * from what is in its history: `traceparent` in its memo, see `AttemptOptions.parent`.
   */
  readonly relay: (attempt: AttemptOptions, info: WorkflowInfo) => Relay<Span>;
  /** Makes receivers, for instance such with limits of their own. Default: the usual ones, which share their call sites. */
  readonly receiver?: (state: ReceiverState<Span>, relay: Relay<Span>, info: WorkflowInfo) => TracingEventReceiver<Span>;
  /**
   * Settles when the server has closed this run, for instance
   * `({ workflowId, runId }) => client.workflow.getHandle(workflowId, runId, { followRuns: false }).result()`. What a workflow did in
   * its last task is held until then. Default: it goes out at once, for nothing else tells that the server has accepted it.
   */
  readonly closed?: (info: WorkflowInfo) => Promise<unknown>;
  /**
   * Runs that are remembered; those that were silent for longest are given up first. More than the worker caches
   * (`maxCachedWorkflows`). Default 10000.
   */
  readonly maxRuns?: number;
  /** Told how each attempt ended that was no replay. Must not throw. */
  readonly onOutcome?: (outcome: Outcome<void, Span>, info: WorkflowInfo) => void;
}

/** A plugin for `Worker.create`, for `bundleWorkflowCode`, and for workers that replay histories, where nothing is exported. */
export interface TemporalTracing {
  readonly name: string;
  /** Messages that reached no receiver, of runs that were given up for instance. */
  readonly stats: GuestStats;
  /** Commits what is held. Only for when the server has everything; `worker.run()` does it when it has ended. */
  flush(): void;
  /** What the plugin gives to the worker, for where there are no plugins. */
  readonly sinks: TemporalSinks;
  /** File of the interceptors that have to be in the bundle of the workflows, for where there are no plugins. */
  readonly workflowModule: string;
  configureWorker<Options extends WorkerConfig>(options: Options): Options;
  configureReplayWorker<Options extends WorkerConfig>(options: Options): Options;
  configureBundler<Options extends BundlerConfig>(options: Options): Options;
  runWorker<Worker>(worker: Worker, next: (worker: Worker) => Promise<void>): Promise<void>;
}

/** `InjectedSinks` of the SDK. */
export type TemporalSinks = {
  readonly spanduct: {
    readonly tell: { readonly callDuringReplay: true; fn(info: WorkflowInfo, message: unknown): void };
  };
};

/** What is used of `WorkerOptions`. */
export interface WorkerConfig {
  // biome-ignore lint/complexity/noBannedTypes: sinks of the application, whatever they are
  readonly sinks?: {};
}

/** What is used of `BundleOptions`. */
export interface BundlerConfig {
  readonly workflowInterceptorModules?: string[];
}

const DEFAULT_MAX_RUNS = 10_000;
const WORKFLOW_MODULE = fileURLToPath(new URL("./workflow.js", import.meta.url));

/**
 * Host half for the workflows of a worker: `Worker.create({ …, plugins: [traceTemporal({ relay })] })`.
 *
 * Follows each run through its tasks and exports what the server has accepted: nothing twice because of a replay, and nothing of a
 * task that failed but flagged as rolled back.
 */
export function traceTemporal<Span>(options: TraceTemporalOptions<Span>): TemporalTracing {
  const { relay, closed, onOutcome, onError, maxRuns = DEFAULT_MAX_RUNS } = options;
  const { receiver = usualReceivers<Span>() } = options;
  /** By run id, those that were silent for longest first. */
  const runs = new Map<string, WorkflowRun<Span>>();
  let ignored = 0;

  const runOf = (runId: string): WorkflowRun<Span> => {
    const run = runs.get(runId) ?? new WorkflowRun<Span>({ relay, receiver, closed, onOutcome });
    runs.delete(runId);
    runs.set(runId, run);
    if (runs.size > maxRuns) {
      const [silentId, silent] = runs.entries().next().value as [string, WorkflowRun<Span>];
      runs.delete(silentId);
      silent.flush();
    }
    return run;
  };
  const sinksWith = (fn: (info: WorkflowInfo, message: unknown) => void): TemporalSinks => ({
    spanduct: { tell: { callDuringReplay: true, fn } },
  });
  const sinks = sinksWith((info, message) => {
    const error = runOf(info.runId).take(message, info);
    if (error === undefined) return;
    ignored++;
    onError?.(error);
  });

  const withSinks = <Options extends WorkerConfig>(worker: Options, own: TemporalSinks): Options => ({
    ...worker,
    sinks: { ...worker.sinks, ...own },
  });
  const flush = (): void => {
    for (const run of runs.values()) run.flush();
  };
  return {
    name: "@spanduct/sandbox/temporal",
    get stats() {
      return { ignored };
    },
    flush,
    sinks,
    workflowModule: WORKFLOW_MODULE,
    configureWorker: (worker) => withSinks(worker, sinks),
    configureReplayWorker: (worker) =>
      withSinks(
        worker,
        sinksWith(() => undefined),
      ),
    configureBundler: (bundler) => ({
      ...bundler,
      workflowInterceptorModules: [...(bundler.workflowInterceptorModules ?? []), WORKFLOW_MODULE],
    }),
    async runWorker(worker, next) {
      await next(worker);
      flush();
    },
  };
}

/** Receivers whose call sites are kept once for all runs of a workflow, also of those that sleep. */
function usualReceivers<Span>(): NonNullable<TraceTemporalOptions<Span>["receiver"]> {
  const arena = new MetadataArena();
  const held = new Set<string>();
  return ({ metadata, spans, localSpans }, relay, { workflowType }) => {
    if (!held.has(workflowType)) arena.acquire(workflowType);
    held.add(workflowType);
    return new TracingEventReceiver(metadata, spans, localSpans, { relay, arena, program: workflowType });
  };
}
