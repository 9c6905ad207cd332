import { type Attributes, type HrTime, SpanStatusCode } from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace";

interface Slice {
  readonly spanId: string;
  readonly end: number;
}

/** One row of the timeline, on which slices lie inside of each other or do not overlap. Slices come by their begin. */
class Track {
  readonly id: number;
  /** Open at the begin of what is added next, outermost first. */
  readonly #open: Slice[] = [];

  constructor(id: number) {
    this.id = id;
  }

  /** Put a slice right into the slice of its parent, or where nothing is. @returns whether there is such a place */
  add(slice: Slice, begin: number, parentId: string | undefined): boolean {
    while (this.#open.length > 0 && (this.#open.at(-1) as Slice).end <= begin) this.#open.pop();
    const around = this.#open.at(-1);
    if (around !== undefined && (around.spanId !== parentId || around.end < slice.end)) return false;
    this.#open.push(slice);
    return true;
  }
}

/**
 * Spans as Chrome's trace-event JSON, which https://ui.perfetto.dev opens. A process for each service; in it a track for each
 * instrumentation scope, and further ones for what overlaps (asynchronous work). Events of spans are instants. Times count from
 * the begin of the first span.
 */
export function perfettoTrace(spans: readonly ReadableSpan[]): string {
  const sorted = [...spans].sort((a, b) => nanos(b.startTime, a.startTime) || nanos(a.endTime, b.endTime));
  const epoch: HrTime = sorted[0]?.startTime ?? [0, 0];
  const metadata: object[] = [];
  const slices: object[] = [];
  const tracksOf = new Map<string, Track[]>();
  const trackOfSpan = new Map<string | undefined, Track>();
  const processes = new Map<string, number>();
  let lastTrack = 0;

  const processOf = (service: string): number => {
    let pid = processes.get(service);
    if (pid === undefined) {
      pid = processes.size + 1;
      processes.set(service, pid);
      metadata.push({ ph: "M", name: "process_name", pid, args: { name: service } });
    }
    return pid;
  };

  const trackOf = (pid: number, scope: string, slice: Slice, begin: number, parentId: string | undefined): number => {
    const key = `${pid} ${scope}`;
    const tracks = tracksOf.get(key) ?? [];
    tracksOf.set(key, tracks);
    const parentTrack = trackOfSpan.get(parentId);
    // The parent's first, then the others.
    const candidates = parentTrack !== undefined && tracks.includes(parentTrack) ? [parentTrack, ...tracks] : tracks;
    let track = candidates.find((track) => track.add(slice, begin, parentId));
    if (track === undefined) {
      track = new Track(++lastTrack);
      track.add(slice, begin, parentId);
      tracks.push(track);
      const name = tracks.length === 1 ? scope : `${scope} ${tracks.length}`;
      metadata.push({ ph: "M", name: "thread_name", pid, tid: track.id, args: { name } });
      metadata.push({ ph: "M", name: "thread_sort_index", pid, tid: track.id, args: { sort_index: track.id } });
    }
    trackOfSpan.set(slice.spanId, track);
    return track.id;
  };

  for (const span of sorted) {
    const begin = nanos(epoch, span.startTime);
    const end = Math.max(begin, nanos(epoch, span.endTime));
    const scope = span.instrumentationScope.name;
    const pid = processOf(String(span.resource.attributes["service.name"] ?? "unknown_service"));
    const { traceId, spanId } = span.spanContext();
    const parent = span.parentSpanContext?.spanId;
    const tid = trackOf(pid, scope, { spanId, end }, begin, parent);
    const status =
      span.status.code === SpanStatusCode.ERROR ? { status: "error", status_message: span.status.message ?? "" } : {};
    const ids = { trace_id: traceId, span_id: spanId, ...(parent !== undefined && { parent_span_id: parent }) };
    const args = { ...plain(span.attributes), ...status, ...ids };
    slices.push({ ph: "X", name: span.name, cat: scope, pid, tid, ts: micros(begin), dur: micros(end - begin), args });
    for (const { name, time, attributes = {} } of span.events) {
      slices.push({ ph: "i", s: "t", name, cat: scope, pid, tid, ts: micros(nanos(epoch, time)), args: plain(attributes) });
    }
  }
  const lines = [...metadata, ...slices].map((event) => JSON.stringify(event));
  return `{"traceEvents":[\n${lines.join(",\n")}\n]}\n`;
}

/** Values that every reader takes. */
function plain(attributes: Attributes): { [name: string]: string | number | boolean } {
  const entries = Object.entries(attributes).map(([name, value]) => {
    const isPlain = typeof value === "string" || typeof value === "number" || typeof value === "boolean";
    return [name, isPlain ? value : JSON.stringify(value)] as const;
  });
  return Object.fromEntries(entries);
}

/** Nanoseconds from `begin` to `end`. */
function nanos(begin: HrTime, end: HrTime): number {
  return (end[0] - begin[0]) * 1e9 + (end[1] - begin[1]);
}

/** Trace events count microseconds. Readers cut off what they cannot keep, so 0.1 ns more makes sure of the last nanosecond. */
function micros(nanos: number): number {
  return nanos === 0 ? 0 : (nanos * 10 + 1) / 10_000;
}
