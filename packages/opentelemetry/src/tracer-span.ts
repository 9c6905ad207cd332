import {
  INVALID_SPAN_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  type SpanStatus,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import type { CallSitePlan } from "./call-site.ts";
import type { Placed } from "./open-roots.ts";
import {
  boolean,
  isRecord,
  readContext,
  readStatus,
  readTime,
  readTimings,
  type SavedSpanContext,
  writeContext,
} from "./saved-json.ts";
import type { Steered } from "./special-fields.ts";
import { mergeStatus } from "./status.ts";
import { type TimingState, Timings } from "./timings.ts";

const FORMAT = "spanduct.tracer/1";

/** A span as `saveSpan` gives it to the host to keep. */
export interface SavedTracerSpan extends TracerSpanState {
  readonly format: typeof FORMAT;
  /** Of the span that the tracer made. */
  readonly identity: SavedSpanContext;
  readonly parent?: SavedSpanContext;
  readonly root: boolean;
  readonly start: readonly [number, number];
}

/** What changes about a span while it is open, as far as the relay keeps it. */
export interface TracerSpanState {
  readonly status: SpanStatus;
  readonly timings: TimingState;
}

/** What never changes about a span. */
export interface TracerSpanOrigin {
  readonly plan: CallSitePlan;
  readonly startTime: readonly [number, number];
  readonly isRoot: boolean;
  /** Where it hangs when there is no `parent`. */
  readonly outerParent: SpanContext | undefined;
  /** The span that another process left open and that this one goes on with. */
  readonly continues: SpanContext | undefined;
}

/** A guest's span that a tracer makes: started when it is needed, with what the tracer does not tell kept beside. */
export class TracerSpan implements Steered, Placed {
  readonly origin: TracerSpanOrigin;
  /** The guest's span that it is in, until it starts: a span that is closed is not to be kept by those that were opened in it. */
  #parent: TracerSpan | undefined;
  #parentIdentity: SpanContext | undefined;
  name: string;
  kind: SpanKind = SpanKind.INTERNAL;
  status: SpanStatus = { code: SpanStatusCode.UNSET };
  readonly timings: Timings;
  rootPlace = -1;
  /** The attempt that opened it or took it over. */
  attempt: object | undefined;
  /** Whether there was no room to hold its start: nothing of it goes out. */
  isDropped = false;
  /** Whether the tracer has been told that it ended. */
  isEnded = false;
  /** About what its events and links take, in bytes. */
  keptBytes = 0;
  /** Makes it; set before anything else is asked. */
  start: (() => Span) | undefined;
  #span: Span | undefined;

  constructor(origin: TracerSpanOrigin, parent?: TracerSpan) {
    this.origin = origin;
    this.#parent = parent;
    this.name = origin.plan.givenName;
    this.timings = new Timings(origin.startTime[0], origin.startTime[1]);
  }

  /** The tracer's span, which starts with the first use. */
  get span(): Span {
    if (this.#span === undefined) {
      this.#span = (this.start as () => Span)();
      this.#letGo();
    }
    return this.#span;
  }

  /** There is no room to hold its start. */
  drop(): void {
    this.isDropped = true;
    this.#span = trace.wrapSpanContext(INVALID_SPAN_CONTEXT);
    this.#letGo();
  }

  #letGo(): void {
    this.#parentIdentity = this.#parent?.identity;
    this.#parent = undefined;
    this.start = undefined;
  }

  get isStarted(): boolean {
    return this.#span !== undefined;
  }

  /** False once it is clear that it is not recorded. */
  get mayRecord(): boolean {
    return !this.isDropped && (this.#span === undefined || this.#span.isRecording());
  }

  /** Of the tracer's span; before it has started, of the one that it goes on with. */
  get identity(): SpanContext | undefined {
    return this.isDropped ? undefined : (this.#span?.spanContext() ?? this.origin.continues);
  }

  get parentIdentity(): SpanContext | undefined {
    return this.#parentIdentity ?? this.#parent?.identity ?? this.origin.outerParent;
  }

  rename(name: string): void {
    this.name = name;
  }

  setKind(kind: SpanKind): void {
    this.kind = kind;
  }

  mergeStatus(code: SpanStatusCode, message?: string): void {
    this.status = mergeStatus(this.status, code, message);
  }

  get state(): TracerSpanState {
    return { status: this.status, timings: this.timings.state };
  }

  set state({ status, timings }: TracerSpanState) {
    this.status = status;
    this.timings.state = timings;
  }
}

/** `undefined` as long as it has no identity. */
export function writeTracerSpan(span: TracerSpan): SavedTracerSpan | undefined {
  const { identity, parentIdentity, origin, state } = span;
  if (identity === undefined) return undefined;
  return {
    format: FORMAT,
    identity: writeContext(identity),
    ...(parentIdentity !== undefined && { parent: writeContext(parentIdentity) }),
    root: origin.isRoot,
    start: origin.startTime,
    ...state,
  };
}

/**
 * What `writeTracerSpan` wrote, checked.
 *
 * @returns `undefined` when it is not this relay's, or of another version
 * @throws TunnelError "snapshot_mismatch": it says it is, but no relay can have written it
 */
export function readTracerSpan(
  saved: unknown,
  plan: CallSitePlan,
): { readonly origin: TracerSpanOrigin; readonly state: TracerSpanState } | undefined {
  if (!isRecord(saved) || saved["format"] !== FORMAT) return undefined;
  return {
    origin: {
      plan,
      startTime: readTime(saved["start"]),
      isRoot: boolean(saved["root"], "root"),
      outerParent: saved["parent"] === undefined ? undefined : readContext(saved["parent"]),
      continues: readContext(saved["identity"]),
    },
    state: { status: readStatus(saved["status"]), timings: readTimings(saved["timings"]) },
  };
}
