import { type Context, type HrTime, ROOT_CONTEXT, type Span, type TracerProvider } from "@opentelemetry/api";
import { TracerProvider as SdkTracerProvider } from "@opentelemetry/sdk-trace";
import {
  type AttemptOptions,
  type LogRecord,
  OpenTelemetryRelay,
  type ReadableSpan,
  type Sampler,
  type SpanProcessor,
  TracerRelay,
} from "@spanduct/opentelemetry";
import { isTunnelError, type TunnelError } from "@spanduct/protocol";
import type { Relay } from "@spanduct/receiver";
import type { SinkCall } from "../../support/sink-calls.ts";
import { Life } from "../life.ts";
import { makeSteps, type Step } from "../steps.ts";
import { holds, show, type Target, Violation } from "../target.ts";

/** How the relay is set up; counts where it comes first. */
interface RelaySetup {
  readonly step: "relay";
  /** Whether spans are the relay's own, or a tracer's. */
  readonly own: boolean;
  readonly attempt: AttemptOptions;
  readonly hasLogs: boolean;
  /** Of spans, one in so many is not sampled; 0 for all of them. */
  readonly unsampled: number;
  readonly limit: number;
}

type Item = Step | RelaySetup;

const SETUP: RelaySetup = { step: "relay", own: true, attempt: {}, hasLogs: false, unsampled: 0, limit: 128 };

/** The receiver with a relay to OpenTelemetry behind it. */
export function openTelemetryTarget(streams: readonly (readonly SinkCall[])[]): Target<Item> {
  return {
    name: "opentelemetry",
    what: "relays never fail, and give span processors each span once, whole, within limits and with an identity of its own",
    make(random) {
      const relay: RelaySetup = {
        step: "relay",
        own: !random.oneIn(3),
        attempt: {
          export: random.pick(["immediate", "transactional"]),
          rollback: random.pick(["mark", "discard"]),
          ...(random.oneIn(4) && { maxHeld: random.pick([0, 1, 5, 20]) }),
          ...(random.oneIn(4) && { maxHeldBytes: random.pick([0, 500, 5000]) }),
        },
        hasLogs: random.oneIn(2),
        unsampled: random.pick([0, 0, 2, 5]),
        limit: random.pick([128, 128, 1, 4]),
      };
      return [relay, ...makeSteps(random, streams)];
    },
    run(items) {
      const setup = items.find((item) => item.step === "relay") ?? SETUP;
      const host = new Host(setup);
      const steps = items.filter((item) => item.step !== "relay");
      const life = new Life<unknown>(steps, {
        relay: () => host.relay(),
        onError: (error) => host.onError(error),
        onNewProcess: () => host.restart(),
      });
      for (const step of steps) life.run(step);
      const events = life.end();
      host.end(Object.values(life.state.spans).map(({ relay }) => spanIdOf(relay)));
      return events;
    },
  };
}

function spanIdOf(saved: unknown): string | undefined {
  return (saved as { readonly identity?: { readonly spanId?: string } } | undefined)?.identity?.spanId;
}

/** A process with a relay and the host's own span processors, and what these see in the end. */
class Host {
  readonly #setup: RelaySetup;
  readonly #watch = new Watch();
  #counter = 0;
  #relay: () => Relay<unknown>;

  constructor(setup: RelaySetup) {
    this.#setup = setup;
    this.#relay = this.#newRelay();
  }

  relay(): Relay<unknown> {
    return this.#relay();
  }

  onError(error: TunnelError): void {
    // What a guest sends is never to blame the relay for, but for what it has no room to hold.
    if (error.code !== "relay_failed") return;
    const { cause } = error;
    const { export: mode, maxHeldBytes } = this.#setup.attempt;
    const isBounded = mode === "transactional" || maxHeldBytes !== undefined;
    if (isBounded && isTunnelError(cause) && cause.code === "limit_exceeded") return;
    throw new Violation(`the relay failed: ${error.message}\n${cause instanceof Error ? cause.stack : ""}`);
  }

  restart(): void {
    this.#watch.restart();
    this.#relay = this.#newRelay();
  }

  /** @param open span ids that the committed state has open */
  end(open: readonly (string | undefined)[]): void {
    // A tracer's spans are not the relay's to end where the process that has them is gone.
    if (this.#setup.own) this.#watch.end(open);
  }

  #newRelay(): () => Relay<unknown> {
    const { own, attempt, hasLogs, limit } = this.#setup;
    const clock = (): HrTime => [1_700_000_000, this.#counter++ % 1_000_000_000];
    const loggerProvider = { getLogger: () => ({ emit: (record: LogRecord) => this.#watch.log(record) }) };
    const options = { ...attempt, clock, ...(hasLogs && { loggerProvider }) };
    const placement = { parent: ROOT_CONTEXT };
    if (own) {
      const relay = new OpenTelemetryRelay({
        ...options,
        spanProcessors: [this.#watch],
        sampler: this.#sampler(),
        spanLimits: { eventCountLimit: limit, linkCountLimit: limit, attributeCountLimit: limit },
        random: () => BigInt(this.#counter++),
      });
      return () => relay.execution(placement) as Relay<unknown>;
    }
    const tracerProvider = new SdkTracerProvider({ spanProcessors: [this.#watch as never], sampler: this.#sampler() as never });
    const relay = new TracerRelay({ ...options, tracerProvider: tracerProvider as unknown as TracerProvider });
    return () => relay.execution(placement) as Relay<unknown>;
  }

  #sampler(): Sampler {
    const { unsampled } = this.#setup;
    const decide = (): 0 | 1 | 2 => (unsampled > 0 && this.#counter++ % unsampled === 0 ? 0 : this.#counter % 7 === 0 ? 1 : 2);
    return { shouldSample: () => ({ decision: decide() }), toString: () => "fuzz" };
  }
}

/** A span processor that checks what it is told. */
class Watch implements SpanProcessor {
  /** By identity: where the host lost its memory, another object goes on as the same span. */
  readonly #open: Set<string> = new Set();
  readonly #ended: Map<string, { readonly span: ReadableSpan; readonly was: string }> = new Map();

  onStart(span: Span & ReadableSpan, _context: Context): void {
    const identity = identityOf(span);
    holds("a span starts once", !this.#open.has(identity) && !this.#ended.has(identity) && !span.ended);
    this.#open.add(identity);
    check(span);
  }

  onEnd(span: ReadableSpan): void {
    const identity = identityOf(span);
    this.#open.delete(identity);
    holds("a span ends", span.ended);
    holds("no two spans share an identity", !this.#ended.has(identity));
    this.#ended.set(identity, { span, was: lookOf(span) });
    check(span);
    holds("a span ends after it started", compare(span.startTime, span.endTime) <= 0);
  }

  log(record: LogRecord): void {
    checkAttributes(record.attributes ?? {});
    checkTime(record.timestamp);
    holds("a record has a body or none", ["string", "number", "boolean", "undefined"].includes(typeof record.body));
  }

  /** Spans of the process that are open are lost. */
  restart(): void {
    this.#open.clear();
  }

  end(open: readonly (string | undefined)[]): void {
    const saved = new Set(open);
    for (const identity of this.#open) holds("what was rolled back is not open", saved.has(identity.split(" ")[1]));
    for (const [identity, { span, was }] of this.#ended) {
      holds("what is open in the state has not ended", !saved.has(identity.split(" ")[1]));
      holds("nothing changes a span that has ended", lookOf(span) === was);
    }
  }

  async forceFlush(): Promise<void> {}
  async shutdown(): Promise<void> {}
}

function identityOf(span: ReadableSpan): string {
  const { traceId, spanId } = span.spanContext();
  return `${traceId} ${spanId}`;
}

/** What exporters may have read of it. */
function lookOf(span: ReadableSpan): string {
  const { name, status, endTime, attributes, events, links, droppedEventsCount } = span;
  return show([name, status, endTime, Object.keys(attributes).length, events.length, links.length, droppedEventsCount]);
}

const MAX_ATTRIBUTES = 128;

function check(span: ReadableSpan): void {
  const { traceId, spanId } = span.spanContext();
  holds("ids have their form", /^[0-9a-f]{32}$/.test(traceId) && /^[0-9a-f]{16}$/.test(spanId));
  holds("a span has a name", typeof span.name === "string");
  holds("a status is one", [0, 1, 2].includes(span.status.code) && ["string", "undefined"].includes(typeof span.status.message));
  checkTime(span.startTime);
  checkTime(span.endTime);
  checkAttributes(span.attributes);
  holds("events and links are within limits", span.events.length <= MAX_ATTRIBUTES && span.links.length <= MAX_ATTRIBUTES);
  for (const event of span.events) {
    holds("an event has a name", typeof event.name === "string");
    checkTime(event.time);
    checkAttributes(event.attributes ?? {});
  }
  for (const link of span.links) checkAttributes(link.attributes ?? {});
}

function checkTime(time: unknown): void {
  const [seconds, nanos] = time as HrTime;
  holds("seconds are whole", Number.isSafeInteger(seconds) && seconds >= 0);
  holds("nanoseconds are", Number.isSafeInteger(nanos) && nanos >= 0 && nanos < 1e9);
}

function checkAttributes(attributes: object): void {
  const names = Object.keys(attributes);
  // One more flags what was rolled back, and two tell of the time.
  holds("attributes are within limits", names.length <= MAX_ATTRIBUTES + 3);
  holds("attributes are a plain object", Object.getPrototypeOf(attributes) === Object.prototype);
  for (const name of names) {
    const value: unknown = (attributes as { [name: string]: unknown })[name];
    const items = Array.isArray(value) ? value : [value];
    holds(
      "attributes are of types that exporters know",
      items.every((item) => ["string", "number", "boolean"].includes(typeof item)),
    );
  }
}

function compare(a: HrTime, b: HrTime): number {
  return a[0] - b[0] || a[1] - b[1];
}
