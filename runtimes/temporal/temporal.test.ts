import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { ROOT_CONTEXT } from "@opentelemetry/api";
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor } from "@opentelemetry/sdk-trace";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { type Outcome, type TemporalTracing, type TraceTemporalOptions, traceTemporal } from "@spanduct/sandbox/temporal";
import type { WorkflowCreator } from "@temporalio/worker/lib/workflow/interface.js";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { sandboxContract } from "../../test/contract/sandbox.ts";
import { bundle, createIsolate, Instance, type Job, missingTemporal, type Sharing, type Start, type Task } from "./isolate.ts";

const why = missingTemporal === undefined ? "" : ` (${missingTemporal})`;

/** A new id of a run. */
const newRunId = (() => {
  let last = 0;
  return (): string => `run ${++last}`;
})();

describe.skipIf(why !== "")(`workflows of Temporal${why}`, { timeout: 60_000 }, () => {
  let code: string;
  const isolates = new Map<Sharing, WorkflowCreator>();
  const isolate = (sharing: Sharing = "shared"): WorkflowCreator => isolates.get(sharing) as WorkflowCreator;
  beforeAll(async () => {
    const plugin = traceTemporal({ relay: () => ({}) as never });
    code = (await bundle([plugin])).code;
    for (const sharing of ["shared", "own"] as const) isolates.set(sharing, await createIsolate(code, sharing, 1000));
  }, 120_000);
  // Workflows write to the console of the worker.
  beforeEach(() => {
    for (const method of ["log", "error"] as const) vi.spyOn(console, method).mockImplementation(() => undefined);
    return () => vi.restoreAllMocks();
  });
  afterAll(async () => {
    for (const each of isolates.values()) await each.destroy();
  });

  for (const sharing of ["shared", "own"] as const) {
    sandboxContract(
      `Temporal, ${sharing} context`,
      {
        async run(program, receiver) {
          const outcomes: Outcome<void>[] = [];
          const host = traceTemporal({
            relay: () => ({}) as never,
            receiver: () => receiver,
            onOutcome: (outcome) => outcomes.push(outcome),
          });
          const task = { historyLength: 3, at: Date.now() };
          const start = { runId: newRunId(), workflowType: "contract", args: [program], task };
          const instance = await Instance.create(isolate(sharing), start, host);
          await instance.activate();
          await instance.evict();
          return outcomes[0] as Outcome<void>;
        },
      },
      [
        {
          reason: "sinks bring no answer, and what is not in its history must not reach a workflow",
          programs: ["chatter", "heals", "propagates"],
        },
        { reason: "Temporal fails the task for it, and tells neither the workflow nor its sinks", programs: ["rejects"] },
      ],
    );
  }

  /** A worker's process: what it exports, and the instances of workflows that it has. */
  class Host {
    readonly exporter: InMemorySpanExporter = new InMemorySpanExporter();
    readonly outcomes: Outcome<void>["kind"][] = [];
    readonly tracing: TemporalTracing;
    readonly started: string[] = [];

    constructor(options: Partial<TraceTemporalOptions<unknown>> = {}, rollback: "mark" | "discard" = "mark") {
      const processor = new SimpleSpanProcessor({ exporter: this.exporter });
      const onStart = { onStart: ({ name }: { readonly name: string }) => void this.started.push(name) };
      const noted = { ...onStart, onEnd: () => undefined, forceFlush: async () => undefined, shutdown: async () => undefined };
      const relay = new OpenTelemetryRelay({ spanProcessors: [processor, noted] });
      this.tracing = traceTemporal<unknown>({
        relay: (attempt) => relay.execution({ parent: ROOT_CONTEXT, ...attempt, rollback }),
        onOutcome: ({ kind }) => void this.outcomes.push(kind),
        ...options,
      });
    }

    get spans(): readonly ReadableSpan[] {
      return this.exporter.getFinishedSpans();
    }

    /** Names of what was exported. */
    get names(): readonly string[] {
      return this.spans.map(({ name, attributes }) => (attributes["spanduct.rolled_back"] === true ? `(${name})` : name));
    }

    async instance(start: Start, sharing: Sharing = "shared"): Promise<Instance> {
      const instance = await Instance.create(isolate(sharing), start, this.tracing);
      onTestFinished(() => instance.evict());
      return instance;
    }
  }

  const T0 = Date.UTC(2026, 0, 1);
  const fired: Job = { fireTimer: { seq: 1 } };
  const approved: Job = { signalWorkflow: { signalName: "approve", input: [payload("ada")], identity: "test", headers: {} } };
  const status: Job = { queryWorkflow: { queryId: "legacy_query", queryType: "status", arguments: [], headers: {} } };

  function payload(value: unknown): { metadata: { encoding: Uint8Array }; data: Uint8Array } {
    const text = new TextEncoder();
    return { metadata: { encoding: text.encode("json/plain") }, data: text.encode(JSON.stringify(value)) };
  }

  /** An order in three tasks. */
  const FIRST: Task = { historyLength: 3, at: T0 };
  const SECOND: Task = { jobs: [fired], historyLength: 8, at: T0 + 60_000 };
  const THIRD: Task = { jobs: [approved], historyLength: 12, at: T0 + 90_000 };
  const order = (runId: string = newRunId()): Start => ({ runId, workflowType: "order", args: ["bicycle"], task: FIRST });

  const idsOf = (spans: readonly ReadableSpan[]): unknown =>
    Object.fromEntries(spans.map((span) => [span.name, [span.spanContext().traceId, span.spanContext().spanId]]));
  const find = (spans: readonly ReadableSpan[], name: string): ReadableSpan => {
    const span = spans.find((span) => span.name === name);
    if (span === undefined) throw new Error(`no span ${name}`);
    return span;
  };
  const millis = ([seconds, nanos]: readonly [number, number]): number => seconds * 1000 + nanos / 1e6;

  /** The ids that the spans of an order have when nothing comes between. */
  async function undisturbed(runId: string): Promise<Host> {
    const host = new Host();
    const instance = await host.instance(order(runId));
    for (const task of [FIRST, SECOND, THIRD]) await instance.activate(task);
    await instance.evict();
    return host;
  }

  describe("traceTemporal", () => {
    it("exports what a task did when the next one shows that it was accepted, and the last one's at its end", async () => {
      const host = new Host();
      const instance = await host.instance(order());
      await instance.activate(FIRST);
      expect([host.names, host.started, host.outcomes]).toEqual([[], [], []]);
      await instance.activate(SECOND);
      expect([host.names, host.started, host.outcomes]).toEqual([["prepare"], ["order", "prepare"], ["committed"]]);
      await instance.activate(THIRD);
      expect(host.names).toEqual(["prepare", "approve", "ship", "order"]);
      expect(host.outcomes).toEqual(["committed", "committed", "committed"]);

      const root = find(host.spans, "order");
      expect(root.attributes).toMatchObject({ item: "bicycle", approved: "ada" });
      expect(root.events.map(({ name }) => name)).toEqual(["note"]);
      for (const name of ["prepare", "approve", "ship"]) {
        expect(find(host.spans, name).parentSpanContext?.spanId).toBe(root.spanContext().spanId);
      }
      await instance.evict();
    });

    it("has the workflow's times, not those of the worker", async () => {
      const { spans } = await undisturbed(newRunId());
      const times = (name: string): readonly number[] => {
        const { startTime, endTime } = find(spans, name);
        return [millis(startTime) - T0, millis(endTime) - T0];
      };
      expect(times("order")).toEqual([0, 90_000]);
      expect(times("approve")).toEqual([90_000, 90_000]);
      expect(millis(find(spans, "order").events[0]?.time as [number, number]) - T0).toBe(60_000);
    });

    it("exports nothing twice when the worker has evicted the workflow and replays it", async () => {
      const runId = newRunId();
      const host = new Host();
      const before = await host.instance(order(runId));
      await before.activate(FIRST);
      await before.activate(SECOND);
      await before.evict();
      const after = await host.instance(order(runId));
      await after.replay(FIRST, SECOND);
      await after.activate(THIRD);
      expect(host.names).toEqual(["prepare", "approve", "ship", "order"]);
      expect(idsOf(host.spans)).toEqual(idsOf((await undisturbed(runId)).spans));
      expect(millis(find(host.spans, "order").startTime)).toBe(T0);
      expect(find(host.spans, "order").events.map(({ name }) => name)).toEqual(["note"]);
    });

    it("exports what it held when the replay shows that it was accepted", async () => {
      const runId = newRunId();
      const host = new Host();
      const before = await host.instance(order(runId));
      await before.activate(FIRST);
      await before.evict();
      const after = await host.instance(order(runId));
      await after.replay(FIRST);
      expect([host.names, host.outcomes]).toEqual([["prepare"], ["committed"]]);
      await after.activate(SECOND);
      expect(host.names).toEqual(["prepare"]);
    });

    it("goes on in another process: the same span, once, from the process in which it ends", async () => {
      const runId = newRunId();
      const [one, two] = [new Host(), new Host()];
      const before = await one.instance(order(runId));
      await before.activate(FIRST);
      await before.activate(SECOND);
      const after = await two.instance(order(runId));
      await after.replay(FIRST, SECOND);
      expect([two.names, two.started]).toEqual([[], []]);
      await after.activate(THIRD);
      one.tracing.flush();
      expect([one.names, two.names]).toEqual([["prepare"], ["approve", "ship", "order"]]);
      expect(idsOf([...one.spans, ...two.spans])).toEqual(idsOf((await undisturbed(runId)).spans));
      expect(find(two.spans, "order")).toMatchObject({ attributes: { item: "bicycle", approved: "ada" } });
      expect(millis(find(two.spans, "order").startTime)).toBe(T0);
    });

    it("rolls back a task that the server did not accept, and exports it once when it is done again", async () => {
      const runId = newRunId();
      const host = new Host();
      const before = await host.instance(order(runId));
      await before.activate(FIRST);
      await before.activate(SECOND);
      await before.activate({ ...THIRD, jobs: [{ signalWorkflow: { ...approved.signalWorkflow, signalName: "unknown" } }] });
      await before.evict();
      // It timed out, say; and the signal was another.
      const after = await host.instance(order(runId));
      await after.replay(FIRST, SECOND);
      await after.activate({ ...THIRD, historyLength: 16 });
      expect(host.outcomes).toEqual(["committed", "committed", "rolled_back", "committed"]);
      expect(host.names.filter((name) => !name.startsWith("("))).toEqual(["prepare", "approve", "ship", "order"]);
      expect(idsOf(host.spans.filter(({ attributes }) => !attributes["spanduct.rolled_back"]))).toEqual(
        idsOf((await undisturbed(runId)).spans),
      );
    });

    it("flags the spans of a task that was not accepted, under other ids than when it is done again", async () => {
      const runId = newRunId();
      const host = new Host();
      const before = await host.instance(order(runId));
      await before.activate(FIRST);
      await before.evict();
      const after = await host.instance(order(runId));
      await after.activate({ ...FIRST, historyLength: 6 });
      await after.activate({ ...SECOND, historyLength: 11 });
      expect(host.names).toEqual(["(prepare)", "(order)", "prepare"]);
      const ids = host.spans.map((span) => span.spanContext().spanId);
      expect(new Set(ids).size).toBe(3);

      const discarding = new Host({}, "discard");
      const first = await discarding.instance(order(runId));
      await first.activate(FIRST);
      const second = await discarding.instance(order(runId));
      await second.activate({ ...FIRST, historyLength: 6 });
      await second.activate({ ...SECOND, historyLength: 11 });
      expect(discarding.names).toEqual(["prepare"]);
      expect(discarding.outcomes).toEqual(["rolled_back", "committed"]);
    });

    it("rolls back at once what fails the task, with the reason, and the state before it stands", async () => {
      const host = new Host();
      const start: Start = { runId: newRunId(), workflowType: "ending", args: ["breaks"], task: FIRST };
      for (const historyLength of [3, 6]) {
        const instance = await host.instance(start);
        expect(await instance.activate({ ...FIRST, historyLength })).toHaveProperty("failed");
        await instance.evict();
      }
      expect(host.outcomes).toEqual(["rolled_back", "rolled_back"]);
      expect(host.names).toEqual(["(deeper)", "(forgotten)", "(deeper)", "(forgotten)"]);
      const [exception] = find(host.spans, "forgotten").events;
      expect(exception?.attributes).toMatchObject({ "exception.type": "TypeError", "exception.message": "a bug" });
    });

    it("takes several activations of one task for one", async () => {
      const host = new Host();
      const instance = await host.instance(order());
      await instance.activate(FIRST);
      await instance.activate({ jobs: [fired], historyLength: 3, at: T0 });
      expect(host.outcomes).toEqual([]);
      await instance.activate(THIRD);
      expect(host.outcomes).toEqual(["committed", "committed"]);
      expect(host.names).toEqual(["prepare", "approve", "ship", "order"]);
    });

    it("keeps out of queries and validators, which another instance would not see again", async () => {
      const runId = newRunId();
      const host = new Host();
      const instance = await host.instance(order(runId));
      await instance.activate(FIRST);
      const asked = await instance.activate({ ...FIRST, jobs: [status] });
      expect(JSON.stringify(asked.successful)).toContain("succeeded");
      expect(host.outcomes).toEqual([]);
      const doUpdate = { id: "u", protocolInstanceId: "p", name: "rename", input: [payload("bike")], runValidator: true };
      await instance.activate({ ...SECOND, jobs: [fired, { doUpdate: { ...doUpdate, headers: {}, meta: {} } }] });
      await instance.activate({ ...SECOND, jobs: [status] });
      await instance.activate(THIRD);
      expect(host.names).toEqual(["prepare", "rename", "approve", "ship", "order"]);
      expect(host.tracing.stats.ignored).toBe(0);
      // A replay on another worker, which nobody asks.
      const other = new Host();
      const replayed = await other.instance(order(runId));
      await replayed.replay(FIRST);
      await replayed.activate({
        ...SECOND,
        jobs: [fired, { doUpdate: { ...doUpdate, runValidator: false, headers: {}, meta: {} } }],
      });
      await replayed.activate(THIRD);
      const { prepare: _, ...rest } = idsOf(host.spans) as { readonly prepare: unknown };
      expect(idsOf(other.spans)).toEqual(rest);
    });

    it("answers queries of a workflow that was closed long ago, and exports nothing", async () => {
      const host = new Host();
      const instance = await host.instance(order());
      await instance.replay(FIRST, SECOND, THIRD);
      await instance.activate({ ...THIRD, jobs: [status] });
      host.tracing.flush();
      expect([host.names, host.outcomes, host.tracing.stats.ignored]).toEqual([[], [], 0]);
    });

    it.each([
      ["returns", "completeWorkflowExecution"],
      ["fails", "failWorkflowExecution"],
      ["continues", "continueAsNewWorkflowExecution"],
    ])("closes the spans that are open when a workflow %s", async (how, command) => {
      const host = new Host();
      const instance = await host.instance({ runId: newRunId(), workflowType: "ending", args: [how], task: FIRST });
      const { successful } = await instance.activate();
      expect(successful?.commands?.map((each) => Object.keys(each))).toEqual([expect.arrayContaining([command])]);
      expect(host.names).toEqual(["deeper", "forgotten"]);
      expect(host.spans.map(({ endTime }) => millis(endTime))).toEqual([T0, T0]);
      const events = host.spans.flatMap(({ events }) => events).map(({ attributes }) => attributes?.["exception.message"]);
      expect(events).toEqual(how === "fails" ? ["no such order"] : []);
    });

    it("closes the spans that are open when a workflow is cancelled", async () => {
      const host = new Host();
      const instance = await host.instance(order());
      await instance.activate(FIRST);
      await instance.activate({ jobs: [{ cancelWorkflow: {} }], historyLength: 7, at: T0 + 1000 });
      expect(host.names).toEqual(["prepare", "order"]);
      await instance.evict();
    });

    it("holds the end until the server has closed the run, where it is told", async () => {
      const runId = newRunId();
      const closings: (() => void)[] = [];
      const host = new Host({ closed: () => new Promise<void>((resolve) => closings.push(resolve)) });
      const before = await host.instance(order(runId));
      for (const task of [FIRST, SECOND, THIRD]) await before.activate(task);
      expect(host.names).toEqual(["prepare"]);
      await before.evict();
      // There was another signal: the server refused the end, and the task is done again.
      const after = await host.instance(order(runId));
      await after.replay(FIRST, SECOND);
      await after.activate({ jobs: [approved, approved], historyLength: 16, at: T0 + 91_000 });
      expect(host.names.filter((name) => !name.startsWith("("))).toEqual(["prepare"]);
      for (const close of closings) close();
      await new Promise(setImmediate);
      expect(host.names.filter((name) => !name.startsWith("("))).toEqual(["prepare", "approve", "approve", "ship", "order"]);
      expect(
        millis(
          find(
            host.spans.filter(({ attributes }) => !attributes["spanduct.rolled_back"]),
            "order",
          ).endTime,
        ),
      ).toBe(T0 + 91_000);
    });

    it("exports nothing more of a run whose end has gone out, though the server refused it", async () => {
      const runId = newRunId();
      const host = new Host();
      const before = await host.instance(order(runId));
      for (const task of [FIRST, SECOND, THIRD]) await before.activate(task);
      const { names } = host;
      const after = await host.instance(order(runId));
      await after.replay(FIRST, SECOND);
      await after.activate({ jobs: [approved, approved], historyLength: 16, at: T0 + 91_000 });
      host.tracing.flush();
      expect(host.names).toEqual(names);
    });

    it("commits what is held when the worker has ended", async () => {
      const host = new Host();
      const instance = await host.instance(order());
      await host.tracing.runWorker({}, async () => {
        await instance.activate(FIRST);
        expect(host.names).toEqual([]);
      });
      expect(host.names).toEqual(["prepare"]);
      // What a worker that failed has sent, nobody knows.
      const failing = new Host();
      const other = await failing.instance(order());
      const run = failing.tracing.runWorker({}, async () => {
        await other.activate(FIRST);
        throw new Error("lost the server");
      });
      await expect(run).rejects.toThrow("lost the server");
      expect(failing.names).toEqual([]);
    });

    it("gives up the run that was silent for longest, and takes it up again when it is replayed", async () => {
      const errors: string[] = [];
      const host = new Host({ maxRuns: 2, onError: ({ code }) => errors.push(code) });
      const starts = [order(), order(), order()];
      const instances = await Promise.all(starts.map((start) => host.instance(start)));
      for (const instance of instances) await instance.activate(FIRST);
      expect(host.names).toEqual(["prepare"]);
      await instances[0]?.activate(SECOND);
      expect(errors).toEqual(["receiver_closed", "receiver_closed", "receiver_closed"]);
      expect(host.tracing.stats.ignored).toBe(3);
      const again = await host.instance(starts[0] as Start);
      await again.replay(FIRST, SECOND);
      await again.activate(THIRD);
      expect(host.names.slice(-3)).toEqual(["approve", "ship", "order"]);
    });

    it("counts what no workflow of its should say", async () => {
      const host = new Host();
      const instance = await host.instance({ runId: newRunId(), workflowType: "hostile", task: FIRST });
      expect(await instance.activate()).toHaveProperty("successful");
      expect(host.tracing.stats.ignored).toBe(9);
      expect(host.outcomes).toEqual(["committed"]);
    });
  });

  describe("connect", () => {
    it("changes nothing of what a workflow does: commands, order, random numbers, times", async () => {
      for (const sharing of ["shared", "own"] as const) {
        const runs = [true, false].map(async (traced) => {
          const host = new Host();
          const start = { runId: "the same", workflowType: "deterministic", args: [traced], task: FIRST };
          const instance = await host.instance(start, sharing);
          const completions = [await instance.activate(FIRST), await instance.activate(SECOND)];
          return [completions.map(({ successful }) => successful?.commands), host.names.length] as const;
        });
        const [traced, untraced] = [await runs[0], await runs[1]];
        expect(JSON.stringify(traced?.[0])).toBe(JSON.stringify(untraced?.[0]));
        expect([traced?.[1], untraced?.[1]]).toEqual([3, 0]);
      }
    });

    it("knows the ids that the host gives its spans, and puts them under the span that is named in the memo", async () => {
      const [traceId, spanId] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];
      const traceparent = `00-${traceId}-${spanId}-01`;
      const run = { runId: newRunId(), workflowType: "propagating", task: FIRST };
      const seenBy = async (memo: { readonly [name: string]: unknown }, replays: boolean): Promise<[unknown, Host]> => {
        const host = new Host();
        const instance = await host.instance({ ...run, memo });
        if (replays) await instance.replay(FIRST);
        else await instance.activate(FIRST);
        const { successful } = await instance.activate(SECOND);
        const result = successful?.commands?.[0]?.completeWorkflowExecution?.result?.data;
        return [JSON.parse(new TextDecoder().decode(result as Uint8Array)), host];
      };
      const [seen, { spans }] = await seenBy({ traceparent }, false);
      const [before, after] = [find(spans, "before"), find(spans, "after")];
      const headerOf = (span: ReadableSpan): string => `00-${traceId}-${span.spanContext().spanId}-01`;
      expect(seen).toEqual([traceparent, headerOf(before), headerOf(after)]);
      for (const span of [before, after]) {
        expect(span.spanContext().traceId).toBe(traceId);
        expect(span.parentSpanContext?.spanId).toBe(spanId);
      }
      // Another worker says the same.
      const [again, other] = await seenBy({ traceparent }, true);
      expect(again).toEqual(seen);
      expect(other.spans.map(headerOf).sort()).toEqual([headerOf(before), headerOf(after)].sort());

      for (const memo of [
        {},
        { traceparent: 7 },
        { traceparent: "00-0-0-01" },
        { traceparent: `00-${"0".repeat(32)}-${spanId}-01` },
      ]) {
        const [nothing, rootless] = await seenBy(memo, false);
        expect(nothing).toEqual([null, null, null]);
        expect(find(rootless.spans, "before").parentSpanContext).toBeUndefined();
      }
    });

    it("does not show in the stack traces that Temporal makes of a workflow", async () => {
      const host = new Host();
      const instance = await host.instance(order());
      await instance.activate(FIRST);
      const asked = await instance.activate({
        ...FIRST,
        jobs: [{ queryWorkflow: { ...status.queryWorkflow, queryType: "__stack_trace" } }],
      });
      const answer = asked.successful?.commands?.[0]?.respondToQuery?.succeeded?.response?.data;
      const stacks = String(JSON.parse(new TextDecoder().decode(answer as Uint8Array))).split("\n\n");
      expect(stacks).toEqual([expect.stringMatching(/^ {4}at order .*workflows\.ts/)]);
    });

    it("gives a sender that is off outside of workflows, where their code is imported for its names", async () => {
      // The package under test is a link, and does not see what is installed here.
      const url = pathToFileURL(createRequire(import.meta.url).resolve("@temporalio/workflow")).href;
      const script = `
        import { registerHooks } from "node:module";
        const answer = { url: ${JSON.stringify(url)}, format: "commonjs", shortCircuit: true };
        registerHooks({ resolve: (name, context, next) => (name === "@temporalio/workflow" ? answer : next(name, context)) });
        const { connect } = await import("@spanduct/sandbox/temporal/workflow");
        console.log(connect().maxLevel);
      `;
      const args = ["--input-type=module", "--eval", script];
      const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: import.meta.dirname });
      expect(stdout).toBe("0\n");
    });
  });
});
