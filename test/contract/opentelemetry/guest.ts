import type { CallSiteData, Id, TracedValueMap, TracingEvent } from "@spanduct/protocol";

/** 2026-01-01T00:00:00Z in nanoseconds. */
export const EPOCH = 1_767_225_600_000_000_000n;

/** The moment `nanos` after `EPOCH`, as exporters have it. */
export function at(nanos: number): [number, number] {
  const time = EPOCH + BigInt(nanos);
  return [Number(time / 1_000_000_000n), Number(time % 1_000_000_000n)];
}

/** A call site as most tests want it. */
export function callSite(name: string, more: Partial<CallSiteData> = {}): CallSiteData {
  return { kind: "span", name, target: "guest", level: "info", fields: ["a", "b", "message", "error"], ...more };
}

/** Events of a guest, each 1 µs after the one before unless a time is given; `undefined` leaves it out. */
export class Guest {
  readonly events: TracingEvent[] = [];
  #now = 0;
  #nextSite = 1;
  #nextSpan = 1;

  /** Nanoseconds since `EPOCH` of the latest event. */
  get now(): number {
    return this.#now;
  }

  callSite(data: CallSiteData): number {
    const id = this.#nextSite++;
    this.events.push({ new_call_site: { id, ...data } });
    return id;
  }

  open(site: number, values: TracedValueMap = {}, more: { parent?: Id; id?: Id } = {}): Id {
    const id = more.id ?? this.#nextSpan++;
    const parent = more.parent === undefined ? {} : { parent_id: more.parent };
    this.events.push({ new_span: { id, metadata_id: site, values, ...parent, ...this.#tick() } });
    return id;
  }

  enter(id: Id): void {
    this.events.push({ span_entered: { id, ...this.#tick() } });
  }

  exit(id: Id): void {
    this.events.push({ span_exited: { id, ...this.#tick() } });
  }

  close(id: Id): void {
    this.events.push({ span_dropped: { id, ...this.#tick() } });
  }

  record(id: Id, values: TracedValueMap): void {
    this.events.push({ values_recorded: { id, values, ...this.#tick() } });
  }

  clone(id: Id): void {
    this.events.push({ span_cloned: { id, ...this.#tick() } });
  }

  follows(id: Id, other: Id): void {
    this.events.push({ follows_from: { id, follows_from: other, ...this.#tick() } });
  }

  emit(site: number, values: TracedValueMap = {}, parent?: Id): void {
    const named = parent === undefined ? {} : { parent };
    this.events.push({ new_event: { metadata_id: site, values, ...named, ...this.#tick() } });
  }

  /** Time passes. */
  wait(nanos: number): void {
    this.#now += nanos;
  }

  #tick(): { time_unix_nano: bigint } {
    this.#now += 1000;
    return { time_unix_nano: EPOCH + BigInt(this.#now) };
  }
}
