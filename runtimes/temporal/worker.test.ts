import { ROOT_CONTEXT } from "@opentelemetry/api";
import { InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { type TraceTemporalOptions, traceTemporal } from "@spanduct/sandbox/temporal";
import { beforeAll, describe, expect, it } from "vitest";
import type { ServedRun } from "./fake-server.ts";
import { bundle, missingTemporal } from "./isolate.ts";

const why = missingTemporal === undefined ? "" : ` (${missingTemporal})`;

describe.skipIf(why !== "")(`worker of Temporal, with workflows in threads${why}`, { timeout: 60_000 }, () => {
  let code: string;
  beforeAll(async () => {
    const { DefaultLogger, Runtime } = await import("@temporalio/worker");
    // Some of it is meant to fail.
    const logger = new DefaultLogger("ERROR", () => undefined);
    Runtime.install({ logger, telemetryOptions: { logging: { filter: "OFF" } } });
    code = (await bundle([traceTemporal({ relay: () => ({}) as never })])).code;
  }, 120_000);

  const T0 = Date.UTC(2026, 0, 1);
  const ORDER: ServedRun = {
    runId: "7a1f4c9e-0000-4000-8000-000000000001",
    workflowType: "order",
    args: ["bicycle"],
    at: T0,
  };

  /** What a worker's process exports. */
  class Host {
    readonly exporter: InMemorySpanExporter = new InMemorySpanExporter();
    readonly outcomes: string[] = [];
    readonly options: TraceTemporalOptions<unknown>;

    constructor() {
      const relay = new OpenTelemetryRelay({ spanProcessors: [new SimpleSpanProcessor({ exporter: this.exporter })] });
      this.options = {
        relay: (attempt) => relay.execution({ parent: ROOT_CONTEXT, ...attempt }),
        onOutcome: ({ kind }, { historyLength }) => void this.outcomes.push(`${kind} ${historyLength}`),
      };
    }

    /** Names of what was exported. */
    get names(): readonly string[] {
      const spans = this.exporter.getFinishedSpans();
      return spans.map(({ name, attributes }) => (attributes["spanduct.rolled_back"] === true ? `(${name})` : name));
    }

    get ids(): unknown {
      return this.exporter.getFinishedSpans().map((span) => [span.name, span.spanContext().traceId, span.spanContext().spanId]);
    }
  }

  interface Serving {
    readonly server: import("./fake-server.ts").FakeServer;
    readonly host: Host;
  }

  /** A worker that serves a run, for as long as `body` takes. */
  async function serve(
    run: ServedRun,
    { maxCachedWorkflows = 10, ...more }: Partial<TraceTemporalOptions<unknown>> & { readonly maxCachedWorkflows?: number },
    body: (serving: Serving) => Promise<void>,
  ): Promise<Host> {
    const { NativeConnection, Worker } = await import("@temporalio/worker");
    const { FakeServer } = await import("./fake-server.ts");
    await using server = await FakeServer.start(run);
    const host = new Host();
    const tracing = traceTemporal({ ...host.options, ...more, ...(more.closed && { closed: () => server.closed }) });
    const connection = await NativeConnection.connect({ address: server.address });
    const options = { connection, taskQueue: "tasks", workflowBundle: { code }, plugins: [tracing], maxCachedWorkflows };
    const worker = await Worker.create(options);
    await worker.runUntil(body({ server, host }));
    await connection.close();
    return host;
  }

  it("exports what a task did at the next one, and the end", async () => {
    await serve(ORDER, {}, async ({ server, host }) => {
      expect(await server.begin()).toBe("completed");
      expect(host.names).toEqual([]);
      expect(await server.fire(60_000)).toBe("completed");
      expect(host.names).toEqual(["prepare"]);
      expect(await server.signal("approve", "ada")).toBe("completed");
      expect(host.names).toEqual(["prepare", "approve", "ship", "order"]);
      expect(host.outcomes).toEqual(["committed 3", "committed 8", "committed 12"]);
    });
  });

  it("exports nothing twice when each task replays the history, and the same as without", async () => {
    const body = async ({ server }: Serving): Promise<void> => {
      await server.begin();
      await server.fire(60_000);
      await server.signal("approve", "ada");
    };
    const replaying = await serve(ORDER, { maxCachedWorkflows: 0 }, body);
    const caching = await serve(ORDER, {}, body);
    expect(replaying.ids).toEqual(caching.ids);
    expect(replaying.outcomes).toEqual(["committed 3", "committed 8", "committed 12"]);
  });

  it("commits what is held when the worker ends", async () => {
    const host = await serve(ORDER, {}, async ({ server }) => {
      await server.begin();
    });
    expect(host.names).toEqual(["prepare"]);
  });

  it("rolls back a task that the server refuses, and exports it when it is done again", async () => {
    const host = await serve(ORDER, { closed: async () => undefined }, async ({ server }) => {
      await server.begin();
      await server.fire(60_000);
      server.refuseNext = true;
      expect(await server.signal("approve", "ada")).toBe("refused");
      expect(await server.again()).toBe("completed");
      await server.closed;
    });
    expect(host.outcomes).toEqual(["committed 3", "committed 8", "rolled_back 12", "committed 15"]);
    expect(host.names.filter((name) => !name.startsWith("("))).toEqual(["prepare", "approve", "ship", "order"]);
  });

  it("rolls back a task that fails in the workflow", async () => {
    const host = await serve({ ...ORDER, workflowType: "ending", args: ["breaks"] }, {}, async ({ server }) => {
      expect(await server.begin()).toBe("failed");
    });
    expect(host.outcomes).toEqual(["rolled_back 3"]);
    expect(host.names).toEqual(["(deeper)", "(forgotten)"]);
  });

  it("exports nothing when a history is replayed to see whether the code still fits it", async () => {
    const { Worker } = await import("@temporalio/worker");
    let history: unknown;
    const live = await serve(ORDER, {}, async ({ server }) => {
      await server.begin();
      await server.fire(60_000);
      await server.signal("approve", "ada");
      history = server.history;
    });
    expect(live.names).toHaveLength(4);
    const host = new Host();
    const attempts: string[] = [];
    const relay: typeof host.options.relay = (attempt, info) => {
      attempts.push(`${info.historyLength} ${info.unsafe.isReplaying}`);
      return host.options.relay(attempt, info);
    };
    const tracing = traceTemporal({ ...host.options, relay });
    await Worker.runReplayHistory({ workflowBundle: { code }, plugins: [tracing] }, history, "id of the run");
    tracing.flush();
    expect([host.names, attempts]).toEqual([[], []]);

    // Also with the sinks of a worker that serves.
    await Worker.runReplayHistory({ workflowBundle: { code }, sinks: tracing.sinks }, history, "id of the run");
    tracing.flush();
    expect([host.names, attempts]).toEqual([[], ["3 true", "8 true", "12 true"]]);

    // The last task of a history that has not completed it is live to the SDK, in a replay as well: only the plugin knows better.
    const { events } = history as { readonly events: readonly object[] };
    const unfinished = { events: events.slice(0, 12) };
    await Worker.runReplayHistory({ workflowBundle: { code }, plugins: [tracing] }, unfinished, "id of the run");
    expect(host.names).toEqual([]);
    await Worker.runReplayHistory({ workflowBundle: { code }, sinks: tracing.sinks }, unfinished, "id of the run");
    expect(attempts.slice(3)).toEqual(["3 true", "8 true", "12 false"]);
    expect(host.names).toEqual(["approve", "ship", "order"]);
  });
});
