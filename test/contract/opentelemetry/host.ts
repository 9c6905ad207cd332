import {
  type ExecutionOptions,
  type GuestSpan,
  OpenTelemetryRelay,
  type OpenTelemetryRelayOptions,
  type ReadableSpan,
} from "@spanduct/opentelemetry";
import type { PersistedMetadata, PersistedSpans, TracingEvent, TunnelError } from "@spanduct/protocol";
import { parseMetadata, parseSpans, printState } from "@spanduct/protocol/json";
import { type LocalSpans, TracingEventReceiver } from "@spanduct/receiver";
import type { MemoryExporter, SdkLine } from "./sdk-line.ts";

/** State of an execution between two attempts, and what the process remembers beside it. */
export interface State {
  readonly metadata: PersistedMetadata;
  readonly spans: PersistedSpans;
  readonly local: LocalSpans<GuestSpan>;
}

export const FRESH: State = { metadata: {}, spans: {}, local: new Map() };

/** The state as another process finds it: through the text that a store keeps. */
export function elsewhere({ metadata, spans }: State): State {
  return { metadata: parseMetadata(printState(metadata)), spans: parseSpans(printState(spans)), local: new Map() };
}

/** A host process: one relay before the SDK's simple processor and in-memory exporter, and attempts at an execution through it. */
export class Host {
  readonly exporter: MemoryExporter;
  readonly relay: OpenTelemetryRelay;
  /** What receivers reported. */
  readonly errors: TunnelError[] = [];

  constructor(line: SdkLine, options: Partial<OpenTelemetryRelayOptions> = {}) {
    this.exporter = line.memoryExporter();
    this.relay = new OpenTelemetryRelay({
      spanProcessors: [line.simple(this.exporter)],
      resource: line.resource({ "service.name": "host" }),
      // What is stamped by the host happens a day after the guest's time.
      clock: () => [1_767_312_000, 0],
      ...options,
    });
  }

  /** Finished spans, in the order of their ends. */
  get spans(): readonly ReadableSpan[] {
    return this.exporter.getFinishedSpans();
  }

  /** The finished span of this name. */
  span(name: string): ReadableSpan {
    const found = this.spans.filter((span) => span.name === name);
    if (found.length !== 1) throw new Error(`${found.length} spans are named ${name}`);
    return found[0] as ReadableSpan;
  }

  /** An attempt that has taken these events; what comes next is the caller's. */
  attempt(
    events: readonly TracingEvent[],
    state: State = FRESH,
    options: ExecutionOptions = {},
  ): TracingEventReceiver<GuestSpan> {
    const receiver = new TracingEventReceiver<GuestSpan>(state.metadata, state.spans, state.local, {
      relay: this.relay.execution(options),
      onError: (error) => this.errors.push(error),
    });
    for (const event of events) receiver.tryReceive(event);
    return receiver;
  }

  /** An attempt that is committed. */
  commit(events: readonly TracingEvent[], state: State = FRESH, options: ExecutionOptions = {}): State {
    return persist(this.attempt(events, state, options));
  }

  /** An attempt that is rolled back. */
  rollBack(events: readonly TracingEvent[], state: State = FRESH, options: ExecutionOptions = {}): void {
    this.attempt(events, state, options)[Symbol.dispose]();
  }
}

/** Commit an attempt. */
export function persist(receiver: TracingEventReceiver<GuestSpan>): State {
  const metadata = receiver.persistMetadata();
  const { spans, localSpans } = receiver.persist();
  return { metadata, spans, local: localSpans };
}
