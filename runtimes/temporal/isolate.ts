import { createRequire } from "node:module";
import { resolve } from "node:path";
import type { TemporalTracing } from "@spanduct/sandbox/temporal";
import type { coresdk } from "@temporalio/proto";
import type { BundleOptions } from "@temporalio/worker";
import type { Workflow, WorkflowCreator } from "@temporalio/worker/lib/workflow/interface.js";
import { missingRuntime } from "../../test/support/runtimes.ts";

export const missingTemporal: string | undefined = missingRuntime("temporal", "@temporalio/worker");

type Activation = coresdk.workflow_activation.IWorkflowActivation;
export type Completion = coresdk.workflow_completion.IWorkflowActivationCompletion;
export type Job = coresdk.workflow_activation.IWorkflowActivationJob;

/** For webpack: the packages under test are links, and do not see what is installed here. */
export const linked: NonNullable<BundleOptions["webpackConfigHook"]> = (config) => {
  const workflow = createRequire(import.meta.url).resolve("@temporalio/workflow");
  const alias = { ...config.resolve?.alias, "@temporalio/workflow$": workflow };
  return { ...config, stats: "errors-only", resolve: { ...config.resolve, alias } };
};

/** The workflows of this folder, with the guest half. */
export async function bundle(plugins: NonNullable<BundleOptions["plugins"]>): Promise<{ readonly code: string }> {
  const { bundleWorkflowCode, DefaultLogger } = await import("@temporalio/worker");
  const workflowsPath = resolve(import.meta.dirname, "workflows.ts");
  return bundleWorkflowCode({ workflowsPath, plugins, webpackConfigHook: linked, logger: new DefaultLogger("ERROR") });
}

/** How workflows share contexts of `node:vm`: all one, which is what workers do, or each its own. */
export type Sharing = "shared" | "own";

/** Where the SDK runs workflows; here in the thread of the tests. */
export async function createIsolate(code: string, sharing: Sharing = "shared", timeoutMs = 10_000): Promise<WorkflowCreator> {
  const { parseWorkflowCode } = await import("@temporalio/worker/lib/worker.js");
  const { ReusableVMWorkflowCreator } = await import("@temporalio/worker/lib/workflow/reusable-vm.js");
  const { VMWorkflowCreator } = await import("@temporalio/worker/lib/workflow/vm.js");
  const bundle = parseWorkflowCode(code);
  return sharing === "shared"
    ? ReusableVMWorkflowCreator.create(bundle, timeoutMs, new Set())
    : VMWorkflowCreator.create(bundle, timeoutMs, new Set());
}

/** A workflow task: what has happened since the one before. */
export interface Task {
  readonly jobs?: readonly Job[];
  /** Events in the history when it began. */
  readonly historyLength: number;
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
}

/** A run of a workflow, and its first task. */
export interface Start {
  readonly runId: string;
  readonly workflowType: string;
  readonly args?: readonly unknown[];
  readonly memo?: { readonly [name: string]: unknown };
  readonly task: Task;
}

/** One instance of a workflow, as a worker has it in its cache. */
export class Instance {
  readonly #workflow: Workflow;
  readonly #start: Start;
  readonly #sinks: TemporalTracing["sinks"];
  #hasBegun = false;
  #isEvicted = false;

  private constructor(workflow: Workflow, start: Start, sinks: TemporalTracing["sinks"]) {
    this.#workflow = workflow;
    this.#start = start;
    this.#sinks = sinks;
  }

  static async create(isolate: WorkflowCreator, start: Start, { sinks }: Pick<TemporalTracing, "sinks">): Promise<Instance> {
    const { runId, workflowType, task } = start;
    const startTime = new Date(task.at);
    const info = {
      workflowId: `id of ${runId}`,
      runId,
      workflowType,
      searchAttributes: {},
      typedSearchAttributes: {},
      taskQueue: "tasks",
      namespace: "default",
      firstExecutionRunId: runId,
      originalExecutionRunId: runId,
      startTime,
      runStartTime: startTime,
      taskTimeoutMs: 10_000,
      attempt: 1,
      historyLength: task.historyLength,
      historySize: 0,
      continueAsNewSuggested: false,
      currentBuildId: "",
      unsafe: { isReplaying: false, isReplayingHistoryEvents: false },
    };
    const options = { info, randomnessSeed: [1, 2, 3, 4], now: task.at, showStackTraceSources: false };
    return new Instance(await isolate.createWorkflow(options as never), start, sinks);
  }

  /** Do a task, and hand on what the workflow says of it, as the SDK's worker does. */
  async activate(task: Task = this.#start.task, isReplaying = false): Promise<Completion> {
    const { activation } = await this.#activation(task, isReplaying);
    try {
      return await this.#workflow.activate(activation);
    } finally {
      const calls = await this.#workflow.getAndResetSinkCalls();
      await Promise.all(
        calls.map(async ({ ifaceName, fnName, args, workflowInfo }) => {
          if (ifaceName !== "spanduct" || fnName !== "tell") return;
          this.#sinks.spanduct.tell.fn(workflowInfo, args[0]);
        }),
      );
      // Where the worker waits for its next task.
      await new Promise(setImmediate);
    }
  }

  /** Do what was done before. */
  async replay(...tasks: readonly Task[]): Promise<void> {
    for (const task of tasks) await this.activate(task, true);
  }

  /** The worker needs the room, or has failed the task. */
  async evict(): Promise<void> {
    if (this.#isEvicted) return;
    this.#isEvicted = true;
    await this.#workflow.dispose();
  }

  async #activation({ jobs = [], historyLength, at }: Task, isReplaying: boolean): Promise<{ activation: Activation }> {
    const { coresdk } = (await import("@temporalio/proto")).default;
    const { defaultPayloadConverter: converter, mapToPayloads } = await import("@temporalio/common");
    const { runId, workflowType, args = [], memo = {} } = this.#start;
    const timestamp = { seconds: Math.floor(at / 1000), nanos: (at % 1000) * 1_000_000 };
    const initializeWorkflow = {
      workflowId: `id of ${runId}`,
      workflowType,
      arguments: args.map((arg) => converter.toPayload(arg)),
      memo: { fields: mapToPayloads(converter, memo) },
      attempt: 1,
      firstExecutionRunId: runId,
      startTime: timestamp,
    };
    const first = this.#hasBegun ? [] : [{ initializeWorkflow }];
    this.#hasBegun = true;
    const activation = { runId, timestamp, isReplaying, historyLength, historySizeBytes: 0, jobs: [...first, ...jobs] };
    return { activation: coresdk.workflow_activation.WorkflowActivation.fromObject(activation) };
  }
}
