import { controlWord } from "@spanduct/protocol";
import {
  batches,
  type ConsoleLike,
  captureConsole,
  millisecondClock,
  propagate,
  type SenderOptions,
  TracingEventSender,
  uncaughtErrors,
} from "@spanduct/sender";
import { inWorkflowContext, proxySinks, workflowInfo } from "@temporalio/workflow";
import { toPlainError } from "../plain-error.ts";
import type { SpanductSinks, WorkflowMark } from "./link.ts";
import { traceContextOf } from "./place.ts";

/** How a workflow connects to its host. */
export interface ConnectOptions extends Pick<SenderOptions, "target" | "maxLevel"> {
  /** Whether what is written to `console` becomes events too. Default false. */
  readonly captureConsole?: boolean;
}

/**
 * The sender of this workflow; the same one at every call, with the options of the first. Its clock is the workflow's time. Outside of
 * workflows, where their code is imported for its types and names, a sender that is off.
 *
 * It only adds calls of a sink: no commands, no awaits, no random numbers. No word comes back from the host, whose wishes are not in the
 * history: `maxLevel` decides what is sent, and changing it changes the numbers of spans, as changing any other line of the workflow
 * may. Where the workflow was started with a `traceparent` in its memo, that is the span above it, and `tracing.traceparent(span)` gives
 * the headers of its own spans.
 */
export function connect(options: ConnectOptions = {}): TracingEventSender {
  if (!inWorkflowContext()) return new TracingEventSender(() => undefined, { maxLevel: "off" });
  realm[GUEST] ??= new WorkflowGuest(options);
  return realm[GUEST].tracing;
}

/** For Temporal: what its interceptor modules export. */
export function interceptors(): WorkflowInterceptors {
  return {
    inbound: [
      {
        execute: watch,
        handleSignal: watch,
        handleUpdate: watch,
        handleQuery: aside,
        validateUpdate: aside,
      },
    ],
    internals: [
      {
        activate(input, next) {
          if (input.batchIndex === 0) realm[GUEST]?.begin(input.activation.jobs ?? []);
          return next(input);
        },
        concludeActivation(input, next) {
          const output = next(input);
          realm[GUEST]?.conclude(output.commands);
          return output;
        },
      },
    ],
  };
}

/** What Temporal wants of an interceptor, and no more than is used of it. */
export interface WorkflowInterceptors {
  readonly inbound: { readonly [name: string]: <In, Out>(input: In, next: (input: In) => Out) => Out }[];
  readonly internals: {
    activate<Out>(input: ActivateInput, next: (input: ActivateInput) => Out): Out;
    concludeActivation(input: ConcludeInput, next: (input: ConcludeInput) => ConcludeInput): ConcludeInput;
  }[];
}

export interface ActivateInput {
  readonly activation: { readonly jobs?: readonly object[] | null };
  readonly batchIndex: number;
}

export interface ConcludeInput {
  readonly commands: object[];
}

const LAST_COMMANDS = [
  "completeWorkflowExecution",
  "failWorkflowExecution",
  "cancelWorkflowExecution",
  "continueAsNewWorkflowExecution",
];

/** What belongs to one workflow. Not a variable of the module, which may be one for all workflows. */
const GUEST: unique symbol = Symbol.for("@spanduct/sandbox/temporal");
const realm = globalThis as { [GUEST]?: WorkflowGuest; console: ConsoleLike };

class WorkflowGuest {
  readonly tracing: TracingEventSender;
  readonly #tell: SpanductSinks["spanduct"]["tell"];
  readonly #uncaught: (error: unknown) => void;
  #activation = 0;
  #phase: "between" | "begun" | "query" = "between";
  #failure: { readonly error: unknown } | undefined;

  constructor({ captureConsole: capture, ...options }: ConnectOptions) {
    this.#tell = (message) => proxySinks<SpanductSinks>().spanduct.tell(message);
    const output = batches((batch) => {
      this.#begun();
      this.#tell(batch.slice());
    });
    this.tracing = new TracingEventSender(output, { clock: millisecondClock(() => Date.now(), "logical"), ...options });
    this.#uncaught = uncaughtErrors(this.tracing);
    this.#propagate();
    if (capture === true) {
      // The console itself is frozen where workflows share a context.
      realm.console = { ...realm.console };
      captureConsole(this.tracing, realm.console);
    }
  }

  begin(jobs: readonly object[]): void {
    // The modules of a workflow are loaded before its memo is known.
    if (this.#activation === 0) this.#propagate();
    if (jobs.some((job) => holds(job, "queryWorkflow"))) this.#phase = "query";
    else this.#begun();
  }

  conclude(commands: readonly object[]): void {
    const isQuery = this.#phase === "query";
    if (!isQuery) {
      const has = (name: string): boolean => commands.some((command) => holds(command, name));
      if (this.#failure !== undefined && has("failWorkflowExecution")) this.#uncaught(this.#failure.error);
      this.tracing.flush();
      this.#begun();
      this.#mark({ kind: "concluded", end: LAST_COMMANDS.some(has) ? Date.now() : undefined });
    }
    this.#phase = "between";
  }

  failed(error: unknown): void {
    if (error instanceof Error && error.name === "ContinueAsNew") return;
    this.#failure = { error };
    this.tracing.flush();
    this.#begun();
    this.#mark({ kind: "failed", error: toPlainError(error) });
  }

  /** What is read only is not part of the history: another instance of the guest would not do it again, and count otherwise. */
  silently<T>(run: () => T): T {
    const { maxLevel } = this.tracing;
    this.tracing.control(controlWord(0, false));
    try {
      return run();
    } finally {
      this.tracing.control(controlWord(maxLevel, false));
    }
  }

  #begun(): void {
    if (this.#phase === "begun") return;
    this.#phase = "begun";
    this.#mark({ kind: "begin", activation: ++this.#activation });
  }

  #propagate(): void {
    propagate(this.tracing, traceContextOf(workflowInfo()));
  }

  #mark(mark: WorkflowMark): void {
    this.#tell(mark);
  }
}

/**
 * Notes that something fails, as soon as the SDK looks at it. It is handed the same promise: one more would change the order of what the
 * workflow does, or show in the stack traces that Temporal makes of it.
 */
function watch<In, Out>(input: In, next: (input: In) => Out): Out {
  const result = next(input);
  if (!(result instanceof Promise)) return result;
  const original: Then = result.then;
  const watched: Then = (fulfilled, rejected) =>
    original.call(result, fulfilled, (error) => {
      realm[GUEST]?.failed(error);
      if (typeof rejected !== "function") throw error;
      return rejected(error);
    });
  // biome-ignore lint/suspicious/noThenProperty: it is a promise
  return Object.defineProperty(result, "then", { value: watched });
}

type Then = (
  fulfilled?: ((value: unknown) => unknown) | null,
  rejected?: ((error: unknown) => unknown) | null,
) => Promise<unknown>;

function aside<In, Out>(input: In, next: (input: In) => Out): Out {
  const guest = realm[GUEST];
  return guest === undefined ? next(input) : guest.silently(() => next(input));
}

/** Whether a message of Temporal's is of this kind. */
function holds(message: object, kind: string): boolean {
  return (message as { readonly [kind: string]: unknown })[kind] != null;
}
