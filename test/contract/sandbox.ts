import { type HrTime, ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { type Codec, LevelNumber, type Limits } from "@spanduct/protocol";
import { TracingEventReceiver } from "@spanduct/receiver";
import type { Outcome } from "@spanduct/sandbox/quickjs";
import { describe, expect, it } from "vitest";
import { errorOf, type RecordedEvent, type RecordedSpan, TraceRecorder } from "../support/trace-recorder.ts";
import type { ProgramName } from "./sandbox-programs.ts";

/** A kind of sandbox: guest half and host half, joined. */
export interface SandboxPair {
  /**
   * Run a program in a new guest.
   *
   * @param stop kills the guest when it is aborted; a guest that shares the host's thread is inside of a call then
   */
  run(program: ProgramName, receiver: TracingEventReceiver, stop: AbortSignal): Outcome<unknown> | Promise<Outcome<unknown>>;
  /** Wire form that its guests speak. Default: protobuf. */
  readonly codec?: Codec;
}

/** What a kind of sandbox cannot do, and why. */
export interface Exception {
  readonly reason: string;
  readonly programs: readonly ProgramName[];
}

/** What every sandbox does, whatever it is made of. */
export function sandboxContract(name: string, pair: SandboxPair, exceptions: readonly Exception[] = []): void {
  const codec = pair.codec && { codec: pair.codec };

  /** Run one program to its end. */
  async function run(program: ProgramName, options: RunOptions = {}): Promise<Run> {
    const stop = new AbortController();
    const trace = new TraceRecorder((event) => options.onEvent?.(event, receiver, stop));
    const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, new Map(), {
      relay: trace,
      ...codec,
      ...(options.limits && { limits: options.limits }),
      ...(options.maxLevel !== undefined && { maxLevel: options.maxLevel }),
    });
    const outcome = await pair.run(program, receiver, stop.signal);
    return { outcome, trace, receiver };
  }

  function test(title: string, program: ProgramName, body: () => Promise<void>): void {
    const exception = exceptions.find(({ programs }) => programs.includes(program));
    if (exception === undefined) it(title, { timeout: 60_000 }, body);
    else it.skip(`${title} (${exception.reason})`);
  }

  describe(`${name}: what every sandbox does`, () => {
    test(
      "run: spans and events arrive under their contextual and explicit parents, and a clean end commits",
      "nested",
      async () => {
        const { outcome, trace, receiver } = await run("nested");
        expect(trace.lines()).toEqual([
          "outer job=contract",
          "  · note message=in outer",
          "  inner",
          "    · note message=in inner",
          "  leaf size=2",
          "    · note message=in leaf",
        ]);
        expect(outcome).toMatchObject({ kind: "committed", spans: {} });
        expect(trace.ending).toBe("commit");
        expect(receiver.stats).toMatchObject({ refused: {}, lostBatches: 0, droppedEvents: 0, liveSpans: 0 });
      },
    );

    test("run: the guest's spans are in the host's trace, under the span that is active there", "nested", async () => {
      const { outcome, spans } = await runUnderHost("nested");
      expect(outcome.kind).toBe("committed");
      const parentOf = (name: string): string | undefined => {
        const { parentSpanContext } = spans.find((span) => span.name === name) as ReadableSpan;
        return spans.find((span) => span.spanContext().spanId === parentSpanContext?.spanId)?.name;
      };
      expect(["outer", "inner", "leaf"].map(parentOf)).toEqual(["host", "outer", "outer"]);
      expect(new Set(spans.map((span) => span.spanContext().traceId)).size).toBe(1);
      expect(spans.find(({ name }) => name === "inner")?.events.map(({ name }) => name)).toEqual(["in inner"]);
      for (const { startTime, endTime } of spans) expect(hrTimeNanos(endTime)).toBeGreaterThanOrEqual(hrTimeNanos(startTime));
    });

    test("run: a guest knows its place in the host's trace, and what the ids of its own spans are", "propagates", async () => {
      const { spans } = await runUnderHost("propagates");
      expect(spans.map(({ name }) => name).sort()).toEqual(["host", "inner", "outer"]);
      for (const span of spans) {
        const { traceId, spanId } = span.spanContext();
        expect(
          span.events.map(({ attributes }) => attributes?.["traceparent"]),
          span.name,
        ).toEqual([`00-${traceId}-${spanId}-01`]);
      }
    });

    test("run: a guest of a host that traces nothing itself has no place to tell of", "propagates", async () => {
      const { trace } = await run("propagates");
      expect(trace.spans.map(({ name }) => name)).toEqual(["outer", "inner"]);
      expect(trace.events.filter(({ values }) => "traceparent" in values)).toEqual([]);
    });

    test("run: spans and events arrive under the parents that they name, entered or not, closed or not", "parents", async () => {
      const { outcome, trace, receiver } = await run("parents");
      expect(trace.lines()).toEqual([
        "left",
        "  far",
        "    · note in=far",
        "    deep",
        "      · note in=deep",
        "  · note in=left",
        "right",
        "  · note in=right",
        "  · note in=right again",
      ]);
      expect(outcome).toMatchObject({ kind: "committed", spans: {} });
      expect(receiver.stats).toMatchObject({ refused: {}, liveSpans: 0 });
    });

    test("run: an error arrives with its cause", "failure", async () => {
      const { trace } = await run("failure");
      expect(errorOf(trace.events[0])).toMatchObject({
        message: "cannot render",
        type: "Error",
        source: { message: "no such file", type: "RangeError", source: null },
      });
    });

    test("run: a level that the host turns down while the guest runs takes effect", "chatter", async () => {
      const { outcome, trace } = await run("chatter", {
        onEvent: (_event, receiver) => {
          receiver.maxLevel = LevelNumber.error;
        },
      });
      expect(outcome.kind).toBe("committed");
      const names = trace.events.map((event) => event.name);
      expect(names.at(-1)).toBe("alarm");
      expect(names.slice(0, -1).every((name) => name === "note")).toBe(true);
      expect(names.length).toBeLessThan(1_000_000);
    });

    test("run: a host that wants nothing gets no more than the batch that asks", "chatter", async () => {
      const { outcome, receiver } = await run("chatter", { maxLevel: LevelNumber.off });
      expect(outcome.kind).toBe("committed");
      expect(receiver.stats.events).toBeLessThanOrEqual(2);
    });

    test("run: what the guest has batched when it ends is delivered", "lastWords", async () => {
      const { outcome, trace } = await run("lastWords");
      expect(trace.lines()).toEqual(["· last words"]);
      expect(outcome.kind).toBe("committed");
    });

    test("run: a guest that fails is rolled back, its last records and what ended it are in the trace", "doomed", async () => {
      const { outcome, trace } = await run("doomed");
      expect(outcome.kind).toBe("rolled_back");
      const reason = (outcome as { readonly error: Error }).error.message;
      expect(trace.lines()).toEqual([
        "doomed (rolled back)",
        "  finished",
        "  · before",
        expect.stringMatching(/^ {2}· exception error=/),
      ]);
      const error = errorOf(trace.events.at(-1));
      expect(error.message).toBe(reason);
      expect(trace.events.at(-1)).toMatchObject({ level: "error", target: "@spanduct/sandbox" });
      if (reason !== "unreachable") {
        expect(error).toMatchObject({
          message: "guest failed",
          type: "Error",
          source: { message: "on purpose", type: "TypeError" },
        });
      }
      await expectAlive();
    });

    test("run: an error that nobody catches is in the trace, once, with stack and causes", "uncaught", async () => {
      const { outcome, trace } = await run("uncaught");
      expect(outcome.kind).toBe("rolled_back");
      expectBreakdown(trace, "breakDown");
    });

    test(
      "run: a promise that fails and that nobody waits for is in the trace, once, with stack and causes",
      "rejects",
      async () => {
        const { trace } = await run("rejects");
        expectBreakdown(trace, "forgotten");
      },
    );

    test("run: a guest that is killed in the middle of a span is rolled back", "stuck", async () => {
      const { outcome, trace } = await run("stuck", {
        onEvent: ({ name }, _receiver, stop) => {
          if (name === "stuck") stop.abort();
        },
      });
      expect(outcome.kind).toBe("rolled_back");
      expect(trace.lines()).toEqual(["endless (rolled back)", "  · stuck", expect.stringMatching(/^ {2}· exception error=/)]);
      await expectAlive();
    });

    test("run: what is written to the console becomes events", "console", async () => {
      const { trace } = await run("console");
      expect(trace.spans.map(({ name }) => name)).toEqual(["talking"]);
      expect(trace.events).toMatchObject([
        { target: "console", level: "info", values: { message: { string: 'hello {"n":1}' } } },
        {
          target: "console",
          level: "error",
          values: { message: { string: "it broke: Error: bad" }, error: { error: { message: "bad" } } },
        },
      ]);
    });

    test("run: two guests at once do not mix", "nested", async () => {
      let second: Promise<Run> | undefined;
      const first = await run("nested", {
        onEvent: () => {
          second ??= run("many");
        },
      });
      const { outcome, trace } = await (second as Promise<Run>);
      expect([first.outcome.kind, outcome.kind]).toEqual(["committed", "committed"]);
      expect(first.trace.spans.map((span) => span.name)).toEqual(["outer", "inner", "leaf"]);
      expect(new Set(trace.spans.map((span) => span.name))).toEqual(new Set(["batch", "item"]));
      for (const { receiver } of [first, await (second as Promise<Run>)]) expect(receiver.stats.refused).toEqual({});
    });

    test("run: ten thousand spans arrive, in batches, each once and in order", "many", async () => {
      const { trace, receiver } = await run("many");
      const [batch] = trace.roots as RecordedSpan[];
      expect(batch?.children.map(({ values }) => values["i"])).toEqual(Array.from({ length: 10_000 }, (_, i) => ({ int: i })));
      expect(trace.spans.every(({ state }) => state === "closed")).toBe(true);
      expect(receiver.stats).toMatchObject({ refused: {}, lostBatches: 0, droppedEvents: 0, liveSpans: 0 });
      expect(receiver.stats.batches).toBeGreaterThan(10);
      expect(receiver.stats.batches).toBeLessThan(1000);
    });

    test("run: events that the guest could not make are counted, and nothing else is", "drops", async () => {
      const { trace, receiver } = await run("drops");
      const texts = trace.events.map(({ values }) => values["text"]);
      expect(texts).toEqual(["sent", "sent", "sent", "after", "after"].map((string) => ({ string })));
      expect(receiver.stats).toMatchObject({ batches: 5, droppedEvents: 2, lostBatches: 0, refused: {} });
      expect(trace.losses).toEqual([{ batches: 0, events: 2 }]);
    });

    test("run: a batch that was refused shows as a gap, and its call sites are announced again", "heals", async () => {
      const { outcome, trace, receiver } = await run("heals", {
        limits: { maxBatchBytes: 4096 },
        onEvent: (_event, receiver) => {
          receiver.maxLevel = LevelNumber.off;
        },
      });
      expect(outcome.kind).toBe("committed");
      expect(receiver.stats).toMatchObject({ lostBatches: 1, refused: { limit_exceeded: 1 } });
      expect(trace.losses).toEqual([{ batches: 1, events: 0 }]);
      expect(trace.lines()[0]).toBe("· note text=small");
    });

    /** Run a program with the relay to OpenTelemetry, under a span of the host's. */
    async function runUnderHost(program: ProgramName): Promise<{ outcome: Outcome<unknown>; spans: readonly ReadableSpan[] }> {
      const exporter = new InMemorySpanExporter();
      const spanProcessors = [new SimpleSpanProcessor({ exporter })];
      const host = new TracerProvider({ spanProcessors }).getTracer("host").startSpan("host");
      const relay = new OpenTelemetryRelay({ spanProcessors }).execution({ parent: trace.setSpan(ROOT_CONTEXT, host) });
      const receiver = new TracingEventReceiver({}, {}, [], { relay, ...codec });
      const outcome = await pair.run(program, receiver, new AbortController().signal);
      host.end();
      return { outcome, spans: exporter.getFinishedSpans() };
    }

    function hrTimeNanos([seconds, nanos]: HrTime): bigint {
      return BigInt(seconds) * 1_000_000_000n + BigInt(nanos);
    }

    /** What happened, and then one exception, from this function of the guest's. */
    function expectBreakdown(trace: TraceRecorder, place: string): void {
      expect(trace.events.map(({ name }) => name)).toEqual(["before", "exception"]);
      const [, exception] = trace.events;
      expect(exception?.level).toBe("error");
      const error = errorOf(exception);
      expect(error.stack).toContain(place);
      // All that a trap of a WASM module says.
      if (error.message === "unreachable") return;
      expect(error).toMatchObject({
        message: "out of range",
        type: "RangeError",
        source: { message: "because", type: "TypeError" },
      });
    }

    /** The host can still run a guest. */
    async function expectAlive(): Promise<void> {
      expect((await run("nested")).outcome.kind).toBe("committed");
    }
  });

  interface RunOptions {
    readonly limits?: Partial<Limits>;
    readonly maxLevel?: number;
    readonly onEvent?: (event: RecordedEvent, receiver: TracingEventReceiver<RecordedSpan>, stop: AbortController) => void;
  }

  interface Run {
    readonly outcome: Outcome<unknown>;
    readonly trace: TraceRecorder;
    readonly receiver: TracingEventReceiver<RecordedSpan>;
  }
}
