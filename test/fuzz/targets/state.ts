import { ROOT_CONTEXT, type TracerProvider } from "@opentelemetry/api";
import { TracerProvider as SdkTracerProvider } from "@opentelemetry/sdk-trace";
import { liveSpans, OpenTelemetryRelay, type SpanProcessor, TracerRelay } from "@spanduct/opentelemetry";
import {
  isTunnelError,
  type PersistedMetadata,
  type PersistedSpans,
  type TunnelError,
  type TunnelErrorCode,
} from "@spanduct/protocol";
import { parseMetadata, parseSpans, printState } from "@spanduct/protocol/json";
import { type Relay, TracingEventReceiver } from "@spanduct/receiver";
import { readOutbox } from "../../../packages/opentelemetry/src/outbox.ts";
import type { SinkCall } from "../../support/sink-calls.ts";
import { parseJson } from "../../support/vector-streams.ts";
import { mutateBytes, mutateCalls } from "../mutations.ts";
import type { Random } from "../random.ts";
import { CODECS, encodeBatches } from "../steps.ts";
import { holds, same, type Target, Violation } from "../target.ts";
import { mutateData } from "./objects.ts";

type Item =
  /** `own`: the relay makes spans itself. */
  | { readonly relay: "own" | "tracer" }
  /** Persisted state as text, or as the objects that some store made of it. */
  | { readonly metadata: Uint8Array | object; readonly spans: Uint8Array | object }
  /** What an attempt left to be delivered, as a store gives it back. */
  | { readonly outbox: unknown }
  /** What the guest sends to who was made from it. */
  | { readonly batch: Uint8Array };

/** State that was damaged in a store, and the receivers and relays that are made from it. */
export function stateTarget(streams: readonly (readonly SinkCall[])[]): Target<Item> {
  return {
    name: "state",
    what: "damaged state is refused with a code or restored, and what is restored can be persisted and restored again",
    make(random) {
      const relay = random.oneIn(2) ? "own" : "tracer";
      const items: Item[] = [{ relay }];
      const calls = mutateCalls(random, random.pick(streams), streams);
      const receiver = new TracingEventReceiver<unknown>({}, {}, [], { relay: newRelay(relay) });
      for (const batch of encodeBatches(protobuf, calls)) receiver.receiveBatch(batch);
      if (random.oneIn(3)) items.push({ outbox: mutateData(random, outboxOf(calls)) });
      const metadata = printState(receiver.persistMetadata());
      const spans = printState(receiver.persist().spans);
      items.push({ metadata: damage(random, metadata), spans: damage(random, spans) });
      for (const batch of encodeBatches(protobuf, mutateCalls(random, calls, streams))) items.push({ batch });
      return items;
    },
    run(items) {
      const which = items.find((item) => "relay" in item)?.relay ?? "own";
      let events = 0;
      for (const item of items) {
        if ("outbox" in item) {
          events++;
          coded(() => readOutbox(item.outbox));
        }
        if (!("metadata" in item)) continue;
        const metadata = read(item.metadata, parseMetadata);
        const spans = read(item.spans, parseSpans);
        if (metadata === undefined || spans === undefined) {
          events++;
          continue;
        }
        const batches = items.flatMap((one) => ("batch" in one ? [one.batch] : []));
        events += live(which, metadata, spans, batches);
      }
      return events;
    },
  };
}

const { protobuf } = CODECS as { readonly protobuf: NonNullable<(typeof CODECS)["protobuf"]> };

function damage(random: Random, text: string): Uint8Array | object {
  if (random.oneIn(3)) return Buffer.from(text);
  if (random.oneIn(2)) return mutateBytes(random, "json", Buffer.from(text), [Buffer.from(text)]);
  let data = parseJson(text);
  for (let times = random.between(1, 3); times > 0; times--) data = mutateData(random, data);
  return typeof data === "object" && data !== null ? data : {};
}

function read<T extends PersistedMetadata | PersistedSpans>(
  state: Uint8Array | object,
  parse: (text: Uint8Array) => T,
): T | undefined {
  if (!(state instanceof Uint8Array)) return state as T;
  const parsed = coded(() => parse(state));
  if (parsed === undefined) return undefined;
  const text = printState(parsed);
  same("state that was printed and parsed", printState(parse(Buffer.from(text))), text);
  return parsed;
}

/** A receiver's life from this state on, as far as it comes. @returns events looked at */
function live(
  which: "own" | "tracer",
  metadata: PersistedMetadata,
  spans: PersistedSpans,
  batches: readonly Uint8Array[],
): number {
  coded(() => liveSpans(metadata, spans));
  const errors: TunnelError[] = [];
  const receiver = coded(
    () =>
      new TracingEventReceiver<unknown>(metadata, spans, [], { relay: newRelay(which), onError: (error) => errors.push(error) }),
  );
  if (receiver === undefined) return 1;
  for (const batch of batches) receiver.receiveBatch(batch);
  const { events, refused } = receiver.stats;
  for (const error of errors) checkError(error);
  const again = { metadata: receiver.persistMetadata(), spans: receiver.persist().spans };
  holds(
    "what is persisted again is plain JSON",
    typeof JSON.stringify(Object.values(again.spans).map(({ relay }) => relay)) === "string",
  );
  for (const { relay } of Object.values(again.spans)) {
    const { traceId, spanId } =
      (relay as { readonly identity?: { traceId: string; spanId: string } } | undefined)?.identity ?? PROPER;
    // The API takes digits of either case.
    holds("a span has ids", /^(?!0+$)[0-9a-f]{32}$/i.test(traceId) && /^(?!0+$)[0-9a-f]{16}$/i.test(spanId));
  }
  const next = new TracingEventReceiver<unknown>(
    parseMetadata(printState(again.metadata)),
    parseSpans(printState(again.spans)),
    [],
    {
      relay: newRelay(which),
      onError: checkError,
    },
  );
  same("open spans that are restored again", next.stats.liveSpans, Object.keys(again.spans).length);
  next[Symbol.dispose]();
  return events + Object.values(refused).reduce((sum, count) => sum + count, 0);
}

/** A relay refuses its own state where that was damaged, and nothing else. */
function checkError(error: TunnelError): void {
  if (error.code !== "relay_failed") return;
  const { cause } = error;
  if (isTunnelError(cause) && cause.code === "snapshot_mismatch") return;
  throw new Violation(`the relay failed: ${error.message}\n${cause instanceof Error ? cause.stack : ""}`);
}

const MAY_SAY: readonly TunnelErrorCode[] = ["snapshot_mismatch", "unsupported_version"];

/** What `action` returns; nothing where it throws what it may throw. */
function coded<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (isTunnelError(error) && MAY_SAY.includes(error.code)) return undefined;
    throw error;
  }
}

/** What an attempt of this guest leaves, through JSON. */
function outboxOf(calls: readonly SinkCall[]): unknown {
  const loggerProvider = { getLogger: () => ({ emit: () => undefined }) };
  let nanos = 0;
  const clock = (): [number, number] => [1_700_000_000, nanos++];
  const relay = new OpenTelemetryRelay({ spanProcessors: [], loggerProvider, events: "both", clock });
  const attempt = relay.outboxExecution({ seed: 1n, attempt: 0 });
  const receiver = new TracingEventReceiver<never>({}, {}, [], { relay: attempt as never });
  for (const batch of encodeBatches(protobuf, calls)) receiver.receiveBatch(batch);
  receiver.persist();
  return JSON.parse(JSON.stringify(attempt.outbox()));
}

const PROPER = { traceId: "1".repeat(32), spanId: "1".repeat(16) };

/** Spans that were restored are proper ones. */
const CHECK: SpanProcessor = {
  onStart: () => undefined,
  onEnd(span) {
    const { traceId, spanId, traceFlags } = span.spanContext();
    holds("a span has ids still", traceId.length === 32 && spanId.length === 16);
    holds("flags are a byte", Number.isInteger(traceFlags) && traceFlags >= 0 && traceFlags < 256);
    holds(
      "times are proper",
      [...span.startTime, ...span.endTime].every((part) => Number.isSafeInteger(part) && part >= 0),
    );
  },
  forceFlush: async () => undefined,
  shutdown: async () => undefined,
};

function newRelay(which: "own" | "tracer"): Relay<unknown> {
  let counter = 0;
  const clock = (): [number, number] => [1_700_000_000, counter++];
  if (which === "own") {
    const relay = new OpenTelemetryRelay({ spanProcessors: [CHECK], clock, random: () => BigInt(counter++) });
    return relay.execution({ parent: ROOT_CONTEXT }) as Relay<unknown>;
  }
  const tracerProvider = new SdkTracerProvider() as unknown as TracerProvider;
  return new TracerRelay({ tracerProvider, clock }).execution({ parent: ROOT_CONTEXT }) as Relay<unknown>;
}
