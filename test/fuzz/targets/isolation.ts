import { type HrTime, ROOT_CONTEXT, type SpanContext, trace } from "@opentelemetry/api";
import { type LogRecord, OpenTelemetryRelay, type ReadableSpan, type SpanProcessor } from "@spanduct/opentelemetry";
import { MetadataArena } from "@spanduct/receiver";
import type { SinkCall } from "../../support/sink-calls.ts";
import { Life } from "../life.ts";
import type { Random } from "../random.ts";
import { makeSteps, type Step } from "../steps.ts";
import { same, show, type Target } from "../target.ts";

interface Item {
  readonly guest: 0 | 1;
  readonly step: Step;
}

/** Two hostile guests whose receivers share an arena and a relay, and so ids, names and call sites in every way they can. */
export function isolationTarget(streams: readonly (readonly SinkCall[])[]): Target<Item> {
  return {
    name: "isolation",
    what: "two hostile guests side by side leave each exactly what it leaves alone",
    make(random) {
      const [first, second] = [makeSteps(random, streams), makeSteps(random, streams)];
      return interleave<Item>(
        random,
        first.map((step) => ({ guest: 0, step })),
        second.map((step) => ({ guest: 1, step })),
      );
    },
    run(items) {
      const both = outcomes(items);
      for (const guest of [0, 1] as const) {
        const alone = outcomes(items.filter((item) => item.guest === guest));
        same(`what guest ${guest} leaves beside another one`, both.left[guest], alone.left[guest]);
      }
      return both.events;
    },
  };
}

function interleave<T>(random: Random, first: readonly T[], second: readonly T[]): T[] {
  const result: T[] = [];
  let queues = [[...first], [...second]];
  for (;;) {
    queues = queues.filter((queue) => queue.length > 0);
    if (queues.length === 0) return result;
    result.push(random.pick(queues).shift() as T);
  }
}

/** What the guests of one host leave behind. */
function outcomes(items: readonly Item[]): { readonly left: readonly [string[], string[]]; readonly events: number } {
  const left: [string[], string[]] = [[], []];
  const arena = new MetadataArena();
  const relay = newRelay(left);
  let events = 0;
  const lives = ([0, 1] as const).map((guest) => {
    let attempts = 0;
    const steps = items.filter((item) => item.guest === guest).map(({ step }) => step);
    const life = new Life<unknown>(steps, {
      arena,
      relay: () => relay.execution({ parent: parentOf(guest), seed: BigInt(1000 * guest + attempts++) }) as never,
      onError: ({ message }) => left[guest].push(message),
    });
    return { guest, life };
  });
  const of = (guest: 0 | 1) => (lives[guest] as (typeof lives)[number]).life;
  for (const { guest, step } of items) of(guest).run(step);
  for (const { guest, life } of lives) {
    life.persist();
    left[guest].push(show(life.state.metadata), show(life.state.spans), show(life.receiver.stats));
    events += life.end();
  }
  same("what the arena holds in the end", arena.stats, { callSites: 0, stringUnits: 0, programs: 0 });
  return { left, events };
}

/** The trace that a guest's spans are in, by which they are told apart. */
function traceOf(guest: 0 | 1): string {
  return String(guest + 1).repeat(32);
}

function parentOf(guest: 0 | 1): SpanContext {
  return { traceId: traceOf(guest), spanId: "f".repeat(16), traceFlags: 1 };
}

function newRelay(left: readonly [string[], string[]]): OpenTelemetryRelay {
  const leave = (context: SpanContext | undefined, what: unknown): void => {
    const guest = context?.traceId === traceOf(1) ? 1 : 0;
    left[guest].push(show(what));
  };
  const processor: SpanProcessor = {
    onStart: (span) => leave(span.spanContext(), ["start", span.name, span.spanContext(), span.parentSpanContext]),
    onEnd: (span) => leave(span.spanContext(), ["end", readable(span)]),
    forceFlush: async () => undefined,
    shutdown: async () => undefined,
  };
  const emit = ({ context = ROOT_CONTEXT, ...record }: LogRecord): void => leave(trace.getSpanContext(context), ["log", record]);
  // Of a clock that runs one would see that the other was there.
  const clock = (): HrTime => [1_700_000_000, 0];
  return new OpenTelemetryRelay({
    spanProcessors: [processor],
    loggerProvider: { getLogger: () => ({ emit }) },
    events: "both",
    clock,
  });
}

function readable(span: ReadableSpan): unknown {
  const { name, kind, startTime, endTime, status, attributes, links, events, parentSpanContext } = span;
  return { name, kind, startTime, endTime, status, attributes, links, events, parentSpanContext, self: span.spanContext() };
}
