import { once } from "node:events";
import { createServer, type Http2Server, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";
import type { temporal as Temporal } from "@temporalio/proto";
import proto from "@temporalio/proto";

const { temporal } = proto;
const { EventType } = temporal.api.enums.v1;
const service = temporal.api.workflowservice.v1 as unknown as { readonly [message: string]: MessageType };

interface MessageType {
  decode(bytes: Uint8Array): Message;
  fromObject(object: object): object;
  encode(message: object): { finish(): Uint8Array };
}

// biome-ignore lint/suspicious/noExplicitAny: any of a hundred messages
type Message = any;
type HistoryEvent = Temporal.api.history.v1.IHistoryEvent;

/** A run of a workflow. */
export interface ServedRun {
  readonly runId: string;
  readonly workflowType: string;
  readonly args: readonly unknown[];
  /** When it is started: milliseconds since the Unix epoch. */
  readonly at: number;
  /** Default `tasks`. */
  readonly taskQueue?: string;
}

const GRPC_INVALID_ARGUMENT = 3;
const GRPC_UNIMPLEMENTED = 12;

class GrpcError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/**
 * As much of Temporal's server as a worker needs to take one run of a workflow through its tasks: polls, a history that grows,
 * timers and signals. Real ones have to be downloaded.
 */
export class FakeServer implements AsyncDisposable {
  /** Refuse the next completion of a task, as the server does when something else has happened meanwhile. */
  refuseNext = false;
  readonly #server: Http2Server = createServer();
  readonly #run: ServedRun;
  readonly #history: HistoryEvent[] = [];
  /** Number of the event that scheduled the task that no worker has yet. */
  #scheduled: number | undefined;
  #sticky = "";
  /** Events that the worker of the sticky queue has. */
  #sentUpTo = 0;
  #now: number;
  readonly #polls: Set<{ readonly queue: string; answer(response: object): void }> = new Set();
  #onClosed!: () => void;
  #onTask: ((how: "completed" | "failed" | "refused") => void) | undefined;

  private constructor(run: ServedRun) {
    this.#run = run;
    this.#now = run.at;
    this.#server.on("stream", (stream: ServerHttp2Stream, headers) => void this.#serve(stream, String(headers[":path"])));
  }

  /** A server that has the workflow, which nobody has begun. */
  static async start(run: ServedRun): Promise<FakeServer> {
    const server = new FakeServer(run);
    server.#server.listen(0, "127.0.0.1");
    await once(server.#server, "listening");
    return server;
  }

  get #queue(): string {
    return this.#run.taskQueue ?? "tasks";
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** All events so far, as `Worker.runReplayHistory` takes them. */
  get history(): { readonly events: readonly HistoryEvent[] } {
    return { events: this.#history };
  }

  /** Resolves when the run is over. */
  readonly closed: Promise<void> = new Promise((resolve) => {
    this.#onClosed = resolve;
  });

  /** The workflow is started. @returns how its first task went */
  begin(): Promise<string> {
    const { workflowType, args } = this.#run;
    this.#add("WORKFLOW_EXECUTION_STARTED", {
      workflowExecutionStartedEventAttributes: {
        workflowType: { name: workflowType },
        taskQueue: { name: this.#queue },
        input: { payloads: args.map(payload) },
        originalExecutionRunId: this.#run.runId,
        firstExecutionRunId: this.#run.runId,
        workflowTaskTimeout: { seconds: 10 },
        attempt: 1,
      },
    });
    return this.#schedule();
  }

  /** Time passes, and the timer that the workflow has started last fires. @returns how the task went */
  fire(milliseconds: number): Promise<string> {
    this.#now += milliseconds;
    const started = this.#history.findLast(({ timerStartedEventAttributes: timer }) => timer != null);
    const timerId = started?.timerStartedEventAttributes?.timerId;
    this.#add("TIMER_FIRED", { timerFiredEventAttributes: { timerId, startedEventId: started?.eventId } });
    return this.#schedule();
  }

  /** @returns how the task went */
  signal(signalName: string, arg: unknown): Promise<string> {
    this.#add("WORKFLOW_EXECUTION_SIGNALED", {
      workflowExecutionSignaledEventAttributes: { signalName, input: { payloads: [payload(arg)] } },
    });
    return this.#schedule();
  }

  /** A refused task is given out again. @returns how it went */
  again(): Promise<string> {
    return this.#schedule();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { answer } of this.#polls) answer({});
    this.#server.close();
  }

  #add(type: string, attributes: object): number {
    const eventId = this.#history.length + 1;
    const eventTime = { seconds: Math.floor(this.#now / 1000), nanos: (this.#now % 1000) * 1_000_000 };
    const eventType = EventType[`EVENT_TYPE_${type}` as keyof typeof EventType];
    const event = { eventId, eventTime, eventType, ...attributes };
    this.#history.push(temporal.api.history.v1.HistoryEvent.fromObject(event) as HistoryEvent);
    return eventId;
  }

  #schedule(): Promise<string> {
    this.#scheduled = this.#add("WORKFLOW_TASK_SCHEDULED", {
      workflowTaskScheduledEventAttributes: { taskQueue: { name: this.#sticky || this.#queue }, attempt: 1 },
    });
    const done = new Promise<string>((resolve) => {
      this.#onTask = resolve;
    });
    this.#hand();
    return done;
  }

  /** Give the task to who waits for it. */
  #hand(): void {
    if (this.#scheduled === undefined) return;
    const queue = this.#sticky || this.#queue;
    const poll = [...this.#polls].find((poll) => poll.queue === queue);
    if (poll === undefined) return;
    this.#polls.delete(poll);
    const scheduledEventId = this.#scheduled;
    this.#scheduled = undefined;
    const startedEventId = this.#add("WORKFLOW_TASK_STARTED", { workflowTaskStartedEventAttributes: { scheduledEventId } });
    const before = this.#history.findLast(({ workflowTaskCompletedEventAttributes: completed }) => completed != null);
    const { runId, workflowType } = this.#run;
    poll.answer({
      taskToken: new TextEncoder().encode(`${scheduledEventId} ${startedEventId}`),
      workflowExecution: { workflowId: `id of ${runId}`, runId },
      workflowType: { name: workflowType },
      previousStartedEventId: before?.workflowTaskCompletedEventAttributes?.startedEventId ?? 0,
      startedEventId,
      attempt: 1,
      history: { events: this.#history.slice(this.#sticky === "" ? 0 : this.#sentUpTo) },
      workflowExecutionTaskQueue: { name: this.#queue },
      scheduledTime: {},
      startedTime: {},
    });
    this.#sentUpTo = this.#history.length;
  }

  readonly #methods: { readonly [method: string]: (request: Message, signal: AbortSignal) => object | Promise<object> } = {
    GetSystemInfo: () => ({
      serverVersion: "1.28.0",
      capabilities: {
        signalAndQueryHeader: true,
        internalErrorDifferentiation: true,
        activityFailureIncludeHeartbeat: true,
        supportsSchedules: true,
        encodedFailureAttributes: true,
        buildIdBasedVersioning: true,
        upsertMemo: true,
        eagerWorkflowStart: false,
        sdkMetadata: true,
        countGroupByExecutionStatus: true,
        nexus: false,
      },
    }),
    DescribeNamespace: () => ({
      namespaceInfo: { name: "default", id: "default", capabilities: {} },
      config: {},
      replicationConfig: {},
    }),
    ShutdownWorker: ({ stickyTaskQueue }) => {
      for (const poll of this.#polls) poll.answer({});
      if (this.#sticky === stickyTaskQueue) this.#sticky = "";
      return {};
    },
    RecordWorkerHeartbeat: () => ({}),
    PollWorkflowTaskQueue: ({ taskQueue }, signal) =>
      new Promise((resolve) => {
        const poll = { queue: String(taskQueue.name), answer: resolve };
        this.#polls.add(poll);
        signal.addEventListener("abort", () => this.#polls.delete(poll));
        this.#hand();
      }),
    RespondWorkflowTaskCompleted: (request) => this.#completed(request),
    RespondWorkflowTaskFailed: ({ taskToken, cause, failure }) => {
      this.#sticky = "";
      this.#failed(taskToken, cause, failure);
      this.#onTask?.("failed");
      return {};
    },
  };

  #failed(taskToken: Uint8Array, cause: unknown, failure: unknown): void {
    const [scheduledEventId, startedEventId] = new TextDecoder().decode(taskToken).split(" ").map(Number);
    this.#add("WORKFLOW_TASK_FAILED", {
      workflowTaskFailedEventAttributes: { scheduledEventId, startedEventId, cause, failure },
    });
  }

  #completed({ taskToken, commands, stickyAttributes, sdkMetadata }: Message): object {
    if (this.refuseNext) {
      this.refuseNext = false;
      this.#sticky = "";
      this.#failed(taskToken, temporal.api.enums.v1.WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND, {});
      this.#onTask?.("refused");
      throw new GrpcError(GRPC_INVALID_ARGUMENT, "UnhandledCommand");
    }
    const [scheduledEventId, startedEventId] = new TextDecoder().decode(taskToken).split(" ").map(Number);
    this.#sticky = stickyAttributes?.workerTaskQueue?.name ?? "";
    const workflowTaskCompletedEventId = this.#add("WORKFLOW_TASK_COMPLETED", {
      workflowTaskCompletedEventAttributes: { scheduledEventId, startedEventId, sdkMetadata },
    });
    for (const { startTimerCommandAttributes, completeWorkflowExecutionCommandAttributes } of commands) {
      if (startTimerCommandAttributes != null) {
        const { timerId, startToFireTimeout } = startTimerCommandAttributes;
        this.#add("TIMER_STARTED", {
          timerStartedEventAttributes: { timerId, startToFireTimeout, workflowTaskCompletedEventId },
        });
      } else if (completeWorkflowExecutionCommandAttributes != null) {
        const { result } = completeWorkflowExecutionCommandAttributes;
        this.#add("WORKFLOW_EXECUTION_COMPLETED", {
          workflowExecutionCompletedEventAttributes: { result, workflowTaskCompletedEventId },
        });
        this.#onClosed();
      }
    }
    setImmediate(() => this.#onTask?.("completed"));
    return {};
  }

  async #serve(stream: ServerHttp2Stream, path: string): Promise<void> {
    const closed = new AbortController();
    stream.on("close", () => closed.abort());
    stream.on("error", () => undefined);
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    await once(stream, "end");
    const frame = Buffer.concat(chunks);
    const bytes = frame[0] === 1 ? gunzipSync(frame.subarray(5)) : frame.subarray(5);
    let status = 0;
    let message = "";
    let answer = Buffer.alloc(0);
    try {
      const name = path.split("/").at(-1) as string;
      const method = this.#methods[name];
      if (method === undefined) throw new GrpcError(GRPC_UNIMPLEMENTED, name);
      const request = (service[`${name}Request`] as MessageType).decode(bytes);
      const type = service[`${name}Response`] as MessageType;
      const payload = type.encode(type.fromObject(await method(request, closed.signal))).finish();
      answer = Buffer.concat([Buffer.alloc(5), payload]);
      answer.writeUInt32BE(payload.length, 1);
    } catch (error) {
      status = error instanceof GrpcError ? error.status : 13;
      message = String((error as Error).message);
    }
    if (stream.destroyed) return;
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": status, "grpc-message": encodeURIComponent(message) }));
    stream.end(answer);
  }
}

function payload(value: unknown): object {
  const text = new TextEncoder();
  return { metadata: { encoding: text.encode("json/plain") }, data: text.encode(JSON.stringify(value)) };
}
