import {
  type BatchHeader,
  type CallSiteData,
  DEFAULT_LIMITS,
  type EventTime,
  type Id,
  type Limits,
  type PersistedMetadata,
  type PersistedSpan,
  type PersistedSpans,
  type TracedError,
  type TracedValue,
  type TracedValueMap,
  type TracingEvent,
  type TunnelErrorCode,
  tagged,
  type ValueColumns,
} from "@spanduct/protocol";
import { valueMap } from "../support/events.ts";
import { showName, showTime, showValues } from "../support/relay-log.ts";
import type { SinkCall } from "../support/sink-calls.ts";

/** Why an event or a batch is refused. */
export interface Refusal {
  readonly code: TunnelErrorCode;
  readonly id?: Id;
  readonly limit?: keyof Limits;
  readonly max?: number;
  readonly actual?: number;
}

/** The values of an event, and what an event object does not say. */
interface Told {
  readonly values: ReadonlyMap<string, TracedValue>;
  readonly time: EventTime;
  /** How many values came, where some came under the same name. */
  readonly size: number;
  /** An index among the keys that the call site does not have. */
  readonly stray: number | undefined;
}

interface ModelSpan {
  readonly id: Id;
  readonly site: Id;
  readonly parent: Id | undefined;
  refs: number;
  readonly values: Map<string, TracedValue>;
}

/** What the model persists; `local` is its spans by id, oldest first. */
export interface ModelState {
  readonly metadata: PersistedMetadata;
  readonly spans: PersistedSpans;
  readonly local: readonly (readonly [id: Id, span: number])[];
}

/** What models of one process share: call sites seen, and the number of the last span made. */
export class ModelProcess {
  readonly seen: Set<string> = new Set();
  lastSpan = 0;
}

/**
 * What a receiver must do, the slow and obvious way: the crate's rules (its receiver's source, and spec/tunnel.md where ours differ)
 * and our budgets over plain maps keyed by ids in decimal. What it dispatches are the lines of `RelayLog`.
 */
export class Model {
  /** What was dispatched. */
  readonly lines: string[] = [];
  /** Events applied. */
  applied = 0;
  readonly refused: { [code: string]: number } = {};
  lostBatches = 0;
  droppedEvents = 0;
  /** Whether the guest is to announce its call sites again. */
  announce = false;
  readonly #process: ModelProcess;
  readonly #restores: boolean;
  readonly #limits: Limits;
  readonly #sites: Map<string, CallSiteData> = new Map();
  readonly #spans: Map<string, ModelSpan> = new Map();
  readonly #local: Map<string, number> = new Map();
  /** All spans, open or only remembered, oldest first. */
  #order: Id[] = [];
  /** What the guest is inside of, outermost first. */
  #stack: Id[] = [];
  readonly #entered: Set<string> = new Set();
  readonly #uncommitted: Set<string> = new Set();
  readonly #links: Map<string, number> = new Map();
  readonly #events: Map<string, number> = new Map();
  #definitions = 0;
  #clock = "wall";
  /** Number of the next batch, and the last count of drops; undefined where nothing is known. */
  #sequence: { readonly next: number; readonly dropped: number } | undefined;

  /** @param restores whether the relay goes on with the spans of another process */
  constructor(process: ModelProcess, restores: boolean, state: ModelState, limits: Limits = DEFAULT_LIMITS) {
    const { metadata, spans, local } = state;
    this.#process = process;
    this.#restores = restores;
    this.#limits = limits;
    for (const [id, data] of Object.entries(metadata)) this.refuse(this.#define(canonical(BigInt(id)), data));
    const entered: [number, Id][] = [];
    for (const [key, span] of Object.entries(spans)) {
      const id = canonical(BigInt(key));
      const { metadata_id: site, parent_id: parent, ref_count: refs, values, entered: position } = span;
      this.#order.push(id);
      this.#spans.set(key, { id, site, parent, refs, values: new Map(Object.entries(values)) });
      if (position !== undefined) entered.push([position, id]);
    }
    if (this.#sites.size + this.#spans.size === 0) this.#sequence = { next: 0, dropped: 0 };
    for (const { sequence, dropped_events: dropped = 0 } of Object.values(spans)) {
      if (sequence !== undefined) this.#sequence = { next: sequence, dropped };
    }
    this.#stack = entered.sort(([a], [b]) => a - b).map(([, id]) => id);
    for (const [id, span] of local) {
      if (!this.#knows(id)) this.#order.push(id);
      this.#local.set(String(id), span);
    }
    if (!restores) return;
    for (const [key, { relay }] of Object.entries(spans)) {
      const span = this.#spans.get(key) as ModelSpan;
      const site = this.#sites.get(String(span.site));
      if (site === undefined) continue;
      const remembered = this.#local.get(key);
      const saved = (relay as { span: number } | undefined)?.span;
      this.lines.push(
        `restore ${key} ${showName(site.name)}${declared(site, span.values)} local ${remembered ?? "-"} saved ${saved ?? "-"}`,
      );
      const restored = remembered ?? saved;
      if (restored !== undefined) this.#local.set(key, restored);
    }
  }

  get liveSpans(): number {
    return this.#order.length;
  }

  get callSites(): number {
    return this.#sites.size;
  }

  /** Names that the event's call site declares, as far as the model knows it. */
  fieldsOf(event: TracingEvent): readonly string[] {
    return this.#sites.get(String(this.#siteOf(event)))?.fields ?? [];
  }

  /** Apply what a decoder made of the bytes of a guest. */
  call(call: SinkCall): Refusal | undefined {
    if (call[0] === "batch") return this.refuse(this.#batch(call[1]));
    if (call[0] === "timeBase") {
      this.lines.push(`time base ${call[1]} ${this.#clock}`);
      return undefined;
    }
    const event = eventOf(call);
    const columns = call.find((arg): arg is ValueColumns => typeof arg === "object" && "kinds" in arg);
    const fields = this.fieldsOf(event);
    const values = new Map<string, TracedValue>();
    let stray: number | undefined;
    for (let i = 0; i < (columns?.size ?? 0); i++) {
      const key = columns?.keys[i] as number | string;
      const name = typeof key === "string" ? key : fields[key];
      if (name === undefined) stray ??= key as number;
      else values.set(name, tagged(columns?.kinds[i] as never, columns?.raws[i] as never));
    }
    return this.#count(event, { values, time: call.at(-1) as EventTime, size: columns?.size ?? 0, stray });
  }

  receive(event: TracingEvent): Refusal | undefined {
    const [body] = Object.values(event) as [{ readonly values?: TracedValueMap }];
    const values = new Map(Object.entries(body.values ?? {}));
    return this.#count(event, { values, time: undefined, size: values.size, stray: undefined });
  }

  /** Count a refusal, if it is one. */
  refuse(refusal: Refusal | undefined): Refusal | undefined {
    if (refusal !== undefined) this.refused[refusal.code] = (this.refused[refusal.code] ?? 0) + 1;
    return refusal;
  }

  persist(): ModelState {
    this.lines.push("suspend");
    this.#exitEntered();
    const spans: { [id: string]: PersistedSpan } = {};
    const local: [Id, number][] = [];
    for (const id of this.#order) {
      const span = this.#spans.get(String(id));
      const mine = this.#local.get(String(id));
      if (mine !== undefined) local.push([id, mine]);
      if (span === undefined) continue;
      if (mine !== undefined && this.#restores) this.lines.push(`save ${mine}`);
      const position = this.#stack.indexOf(id) + 1;
      spans[String(id)] = {
        metadata_id: span.site,
        ...(span.parent !== undefined && { parent_id: span.parent }),
        ref_count: span.refs,
        values: valueMap(span.values),
        ...(position > 0 && { entered: position }),
        ...(Object.keys(spans).length === 0 && this.#sequenceState()),
        ...(mine !== undefined && this.#restores && { relay: { span: mine } }),
      };
    }
    this.lines.push("commit");
    return { metadata: Object.fromEntries(this.#sites), spans, local };
  }

  rollBack(): void {
    this.lines.push("rollback");
    this.#exitEntered();
    for (const id of this.#order.toReversed()) {
      const local = this.#local.get(String(id));
      if (this.#uncommitted.has(String(id)) && local !== undefined) this.lines.push(`close ${local}`);
    }
  }

  #count(event: TracingEvent, told: Told): Refusal | undefined {
    const refusal = this.#apply(event, told);
    if (refusal === undefined) this.applied++;
    return this.refuse(refusal);
  }

  #batch({ clock, baseTimeUnixNano, sequence, droppedEvents }: BatchHeader): Refusal | undefined {
    const { next, dropped } = this.#sequence ?? { next: sequence, dropped: sequence === 0 ? 0 : droppedEvents };
    // Number 0 is a new sender.
    const isNew = sequence === 0 && next > 0;
    if (sequence < next && !isNew) return { code: "duplicate_batch", actual: sequence };
    const batches = isNew ? 0 : sequence - next;
    const events = Math.max(0, droppedEvents - (sequence === 0 ? 0 : dropped));
    this.#sequence = { next: sequence + 1, dropped: droppedEvents };
    this.#clock = clock;
    this.lines.push(`time base ${baseTimeUnixNano} ${clock}`);
    if (batches + events === 0) return undefined;
    this.lines.push(`loss of ${batches} batches, ${events} events`);
    this.lostBatches += batches;
    this.droppedEvents += events;
    this.announce = true;
    return undefined;
  }

  /** What the first span says. */
  #sequenceState(): { readonly sequence?: number; readonly dropped_events?: number } {
    const { next, dropped } = this.#sequence ?? { next: 0, dropped: 0 };
    if (next === 0 || !Number.isSafeInteger(next)) return {};
    return { sequence: next, ...(dropped > 0 && { dropped_events: dropped }) };
  }

  #siteOf(event: TracingEvent): Id | undefined {
    if ("new_span" in event) return event.new_span.metadata_id;
    if ("new_event" in event) return event.new_event.metadata_id;
    return "values_recorded" in event ? this.#spans.get(String(event.values_recorded.id))?.site : undefined;
  }

  #apply(event: TracingEvent, { values, time, size, stray }: Told): Refusal | undefined {
    const line = (text: string): void => void this.lines.push(`${text}${showTime(time)}`);
    if ("new_call_site" in event) {
      const { id, ...data } = event.new_call_site;
      return this.#define(id, data);
    }
    if ("new_span" in event) {
      const { id, parent_id: parent, metadata_id: site } = event.new_span;
      const tooMany = this.#tooMany(size);
      if (tooMany !== undefined) return tooMany;
      const span: ModelSpan = { id, site, parent, refs: 1, values: new Map(values) };
      const isLocal = this.#local.has(String(id));
      const refusal =
        (isLocal ? undefined : this.#homeless(span)) ??
        (this.#knows(id) ? undefined : this.#exceeds("maxLiveSpans", this.#order.length + 1)) ??
        this.#strays(stray, site) ??
        this.#grows(id, span.values);
      if (refusal !== undefined) return refusal;
      if (!isLocal) this.#create(span, time);
      if (!this.#order.includes(id)) this.#order.push(id);
      this.#spans.set(String(id), span);
      this.#uncommitted.add(String(id));
      return undefined;
    }
    if ("follows_from" in event) {
      const { id, follows_from: followed } = event.follows_from;
      if (!this.#knows(id)) return unknownSpan(id);
      if (!this.#knows(followed)) return unknownSpan(followed);
      const links = (this.#links.get(String(id)) ?? 0) + 1;
      const refusal = this.#exceeds("maxLinksPerSpan", links);
      if (refusal !== undefined) return refusal;
      this.#links.set(String(id), links);
      const [one, other] = [this.#local.get(String(id)), this.#local.get(String(followed))];
      if (one !== undefined && other !== undefined) line(`follows ${one} ${other}`);
      return undefined;
    }
    if ("span_entered" in event) {
      const { id } = event.span_entered;
      if (!this.#knows(id)) return unknownSpan(id);
      if (!this.#local.has(String(id))) {
        const span = this.#spans.get(String(id)) as ModelSpan;
        const refusal = this.#homeless(span);
        if (refusal !== undefined) return refusal;
        this.#create(span, time);
      }
      this.#entered.add(String(id));
      if (!this.#stack.includes(id)) this.#stack.push(id);
      line(`enter ${this.#local.get(String(id))}`);
      return undefined;
    }
    if ("span_exited" in event) {
      const { id } = event.span_exited;
      if (!this.#knows(id)) return unknownSpan(id);
      const local = this.#local.get(String(id));
      if (local !== undefined) line(`exit ${local}`);
      this.#leave(id);
      return undefined;
    }
    if ("span_cloned" in event) {
      const { id } = event.span_cloned;
      const span = this.#spans.get(String(id));
      if (span === undefined) return unknownSpan(id);
      span.refs++;
      return undefined;
    }
    if ("span_dropped" in event) {
      const { id } = event.span_dropped;
      const span = this.#spans.get(String(id));
      if (span === undefined) return unknownSpan(id);
      if (--span.refs > 0) return undefined;
      const local = this.#local.get(String(id));
      for (const map of [this.#spans, this.#local, this.#uncommitted, this.#links, this.#events]) map.delete(String(id));
      this.#order = this.#order.filter((one) => one !== id);
      this.#leave(id);
      if (local !== undefined) line(`close ${local}`);
      return undefined;
    }
    if ("values_recorded" in event) {
      const { id } = event.values_recorded;
      const tooMany = this.#tooMany(size);
      if (tooMany !== undefined) return tooMany;
      const span = this.#spans.get(String(id));
      // The crate panics where only the process remembers the span.
      if (span === undefined) return unknownSpan(id);
      const local = this.#local.get(String(id));
      const site = this.#sites.get(String(span.site));
      if (local !== undefined && site === undefined) return this.#unknownSite(span.site);
      const merged = new Map([...span.values, ...values]);
      const refusal = this.#strays(stray, span.site) ?? this.#grows(id, merged);
      if (refusal !== undefined) return refusal;
      if (local !== undefined && site !== undefined) line(`record ${local} ${declared(site, values)}`);
      for (const [name, value] of values) span.values.set(name, value);
      return undefined;
    }
    const { metadata_id: siteId, parent } = event.new_event;
    const tooMany = this.#tooMany(size);
    if (tooMany !== undefined) return tooMany;
    const site = this.#sites.get(String(siteId));
    if (site === undefined) return this.#unknownSite(siteId);
    if (parent !== undefined && !this.#knows(parent)) return unknownSpan(parent);
    const owner = parent ?? this.#stack.at(-1);
    const events = (this.#events.get(String(owner)) ?? 0) + 1;
    const refusal = this.#strays(stray, siteId) ?? (owner === undefined ? undefined : this.#exceeds("maxEventsPerSpan", events));
    if (refusal !== undefined) return refusal;
    if (owner !== undefined) this.#events.set(String(owner), events);
    line(`event ${showName(site.name)}${declared(site, values)}${this.#parent(parent)}`);
    return undefined;
  }

  #define(id: Id, data: CallSiteData): Refusal | undefined {
    const content = contentOf(data);
    const known = this.#sites.get(String(id));
    if (known === undefined || contentOf(known) !== content) {
      const refusal = this.#exceeds("maxCallSites", this.#definitions + 1);
      if (refusal !== undefined) return refusal;
      this.#definitions++;
      this.#sites.set(String(id), data);
    }
    if (!this.#process.seen.has(content)) this.lines.push(`call site ${showName(data.name)}`);
    this.#process.seen.add(content);
    return undefined;
  }

  #create({ id, site, parent, values }: ModelSpan, time: EventTime): void {
    const data = this.#sites.get(String(site)) as CallSiteData;
    const local = ++this.#process.lastSpan;
    this.lines.push(`new ${local} ${showName(data.name)}${declared(data, values)}${this.#parent(parent)}${showTime(time)}`);
    this.#local.set(String(id), local);
  }

  /** A span that the relay would have to make without knowing what it is, or where. */
  #homeless({ site, parent }: ModelSpan): Refusal | undefined {
    if (!this.#sites.has(String(site))) return this.#unknownSite(site);
    return parent === undefined || this.#knows(parent) ? undefined : unknownSpan(parent);
  }

  #tooMany(size: number): Refusal | undefined {
    const max = this.#limits.maxValuesPerRecord;
    return size > max ? { code: "too_many_values", max, actual: size } : undefined;
  }

  #strays(stray: number | undefined, site: Id): Refusal | undefined {
    if (stray === undefined) return undefined;
    if (!this.#sites.has(String(site))) return this.#unknownSite(site);
    this.announce = true;
    return { code: "unknown_field", id: stray };
  }

  /** The budgets for values, were the span to have `values`: what is above them from before may stay, but not grow. */
  #grows(id: Id, values: ReadonlyMap<string, TracedValue>): Refusal | undefined {
    const before = this.#spans.get(String(id))?.values ?? new Map();
    const bytes = bytesOf(values);
    const growth = bytes - bytesOf(before);
    const total = [...this.#spans.values()].reduce((sum, span) => sum + bytesOf(span.values), growth);
    return (
      (values.size > before.size ? this.#exceeds("maxValuesPerSpan", values.size) : undefined) ??
      (growth > 0 ? (this.#exceeds("maxSpanValueBytes", bytes) ?? this.#exceeds("maxLiveValueBytes", total)) : undefined)
    );
  }

  #exceeds(limit: keyof Limits, actual: number): Refusal | undefined {
    const max = this.#limits[limit];
    return actual > max ? { code: "limit_exceeded", limit, max, actual } : undefined;
  }

  #unknownSite(id: Id): Refusal {
    if (this.#definitions < this.#limits.maxCallSites) this.announce = true;
    return { code: "unknown_metadata_id", id };
  }

  #knows(id: Id): boolean {
    return this.#spans.has(String(id)) || this.#local.has(String(id));
  }

  /** Explicit where the host has that span; else what was entered last, where the host has that. */
  #parent(id: Id | undefined): string {
    const explicit = this.#local.get(String(id));
    if (explicit !== undefined) return ` under ${explicit}`;
    const contextual = this.#local.get(String(this.#stack.at(-1)));
    return contextual === undefined ? "" : ` in ${contextual}`;
  }

  #leave(id: Id): void {
    this.#entered.delete(String(id));
    this.#stack = this.#stack.filter((one) => one !== id);
  }

  #exitEntered(): void {
    for (const id of this.#stack.toReversed()) {
      const local = this.#local.get(String(id));
      if (this.#entered.has(String(id)) && local !== undefined) this.lines.push(`exit ${local}`);
    }
  }
}

function unknownSpan(id: Id): Refusal {
  return { code: "unknown_span_id", id };
}

function contentOf(data: CallSiteData): string {
  return JSON.stringify(Object.entries(data).sort());
}

function declared(site: CallSiteData, values: ReadonlyMap<string, TracedValue>): string {
  return showValues([...values].filter(([name]) => site.fields.includes(name)));
}

/** 16 bytes for each value and each error of a chain, and two for each UTF-16 unit. */
function bytesOf(values: ReadonlyMap<string, TracedValue>): number {
  let bytes = 0;
  for (const [name, value] of values) {
    bytes += 16 + 2 * name.length;
    const text = "string" in value ? value.string : "object" in value ? value.object : "";
    bytes += 2 * text.length;
    let link: TracedError | null = "error" in value ? value.error : null;
    for (; link !== null; link = link.source) {
      bytes += 16 + 2 * [link.message, link.type, link.stack].join("").length;
    }
  }
  return bytes;
}

/** The call as an event without values. */
function eventOf(call: Exclude<SinkCall, readonly ["batch" | "timeBase", ...unknown[]]>): TracingEvent {
  switch (call[0]) {
    case "newCallSite":
      return { new_call_site: { id: call[1], ...call[2] } };
    case "newSpan":
      return {
        new_span: { id: call[1], ...(call[2] !== undefined && { parent_id: call[2] }), metadata_id: call[3], values: {} },
      };
    case "followsFrom":
      return { follows_from: { id: call[1], follows_from: call[2] } };
    case "spanEntered":
      return { span_entered: { id: call[1] } };
    case "spanExited":
      return { span_exited: { id: call[1] } };
    case "spanCloned":
      return { span_cloned: { id: call[1] } };
    case "spanDropped":
      return { span_dropped: { id: call[1] } };
    case "valuesRecorded":
      return { values_recorded: { id: call[1], values: {} } };
    case "newEvent":
      return { new_event: { metadata_id: call[1], ...(call[2] !== undefined && { parent: call[2] }), values: {} } };
  }
}

function canonical(id: bigint): Id {
  return id <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(id) : id;
}
