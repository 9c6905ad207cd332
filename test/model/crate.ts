import type {
  CallSiteData,
  Id,
  PersistedMetadata,
  PersistedSpan,
  PersistedSpans,
  TracedValue,
  TracedValueMap,
  TracingEvent,
} from "@spanduct/protocol";
import { valueMap } from "../support/events.ts";
import { showName, showValues } from "../support/relay-log.ts";

/** Why an event is refused, as far as the model says. */
export interface Refusal {
  readonly code: "unknown_metadata_id" | "unknown_span_id" | "too_many_values";
  readonly id?: Id;
  readonly max?: number;
  readonly actual?: number;
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
 * over plain maps keyed by ids in decimal. What it dispatches are the lines of `RelayLog`.
 */
export class Model {
  /** What was dispatched. */
  readonly lines: string[] = [];
  /** Events applied. */
  applied = 0;
  readonly refused: { [code: string]: number } = {};
  readonly #process: ModelProcess;
  readonly #restores: boolean;
  readonly #sites: Map<string, CallSiteData> = new Map();
  readonly #spans: Map<string, ModelSpan> = new Map();
  readonly #local: Map<string, number> = new Map();
  /** All spans, open or only remembered, oldest first. */
  #order: Id[] = [];
  /** What the guest is inside of, outermost first. */
  #stack: Id[] = [];
  readonly #entered: Set<string> = new Set();
  readonly #uncommitted: Set<string> = new Set();

  /** @param restores whether the relay goes on with the spans of another process */
  constructor(process: ModelProcess, restores: boolean, { metadata, spans, local }: ModelState) {
    this.#process = process;
    this.#restores = restores;
    for (const [id, data] of Object.entries(metadata)) this.#define(BigInt(id), data);
    const entered: [number, Id][] = [];
    for (const [key, span] of Object.entries(spans)) {
      const id = canonical(BigInt(key));
      const { metadata_id: site, parent_id: parent, ref_count: refs, values, entered: position } = span;
      this.#order.push(id);
      this.#spans.set(key, { id, site, parent, refs, values: new Map(Object.entries(values)) });
      if (position !== undefined) entered.push([position, id]);
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

  receive(event: TracingEvent): Refusal | undefined {
    const refusal = this.#apply(event);
    if (refusal === undefined) this.applied++;
    else this.refused[refusal.code] = (this.refused[refusal.code] ?? 0) + 1;
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

  #siteOf(event: TracingEvent): Id | undefined {
    if ("new_span" in event) return event.new_span.metadata_id;
    if ("new_event" in event) return event.new_event.metadata_id;
    return "values_recorded" in event ? this.#spans.get(String(event.values_recorded.id))?.site : undefined;
  }

  #apply(event: TracingEvent): Refusal | undefined {
    if ("new_call_site" in event) {
      const { id, ...data } = event.new_call_site;
      this.#define(id, data);
      return undefined;
    }
    if ("new_span" in event) {
      const { id, parent_id: parent, metadata_id: site, values } = event.new_span;
      const tooMany = refuseMany(values);
      if (tooMany !== undefined) return tooMany;
      const span: ModelSpan = { id, site, parent, refs: 1, values: new Map(Object.entries(values)) };
      if (!this.#local.has(String(id))) {
        const refusal = this.#create(span);
        if (refusal !== undefined) return refusal;
      }
      if (!this.#order.includes(id)) this.#order.push(id);
      this.#spans.set(String(id), span);
      this.#uncommitted.add(String(id));
      return undefined;
    }
    if ("follows_from" in event) {
      const { id, follows_from: followed } = event.follows_from;
      if (!this.#knows(id)) return unknownSpan(id);
      if (!this.#knows(followed)) return unknownSpan(followed);
      const [one, other] = [this.#local.get(String(id)), this.#local.get(String(followed))];
      if (one !== undefined && other !== undefined) this.lines.push(`follows ${one} ${other}`);
      return undefined;
    }
    if ("span_entered" in event) {
      const { id } = event.span_entered;
      if (!this.#knows(id)) return unknownSpan(id);
      if (!this.#local.has(String(id))) {
        const refusal = this.#create(this.#spans.get(String(id)) as ModelSpan);
        if (refusal !== undefined) return refusal;
      }
      this.#entered.add(String(id));
      if (!this.#stack.includes(id)) this.#stack.push(id);
      this.lines.push(`enter ${this.#local.get(String(id))}`);
      return undefined;
    }
    if ("span_exited" in event) {
      const { id } = event.span_exited;
      if (!this.#knows(id)) return unknownSpan(id);
      const local = this.#local.get(String(id));
      if (local !== undefined) this.lines.push(`exit ${local}`);
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
      this.#spans.delete(String(id));
      this.#local.delete(String(id));
      this.#uncommitted.delete(String(id));
      this.#order = this.#order.filter((one) => one !== id);
      this.#leave(id);
      if (local !== undefined) this.lines.push(`close ${local}`);
      return undefined;
    }
    if ("values_recorded" in event) {
      const { id, values } = event.values_recorded;
      const tooMany = refuseMany(values);
      if (tooMany !== undefined) return tooMany;
      const span = this.#spans.get(String(id));
      // The crate panics where only the process remembers the span.
      if (span === undefined) return unknownSpan(id);
      const local = this.#local.get(String(id));
      if (local !== undefined) {
        const site = this.#sites.get(String(span.site));
        if (site === undefined) return unknownMetadata(span.site);
        this.lines.push(`record ${local} ${declared(site, new Map(Object.entries(values)))}`);
      }
      for (const [name, value] of Object.entries(values)) span.values.set(name, value);
      return undefined;
    }
    const { metadata_id: siteId, parent, values } = event.new_event;
    const tooMany = refuseMany(values);
    if (tooMany !== undefined) return tooMany;
    const site = this.#sites.get(String(siteId));
    if (site === undefined) return unknownMetadata(siteId);
    if (parent !== undefined && !this.#knows(parent)) return unknownSpan(parent);
    this.lines.push(`event ${showName(site.name)}${declared(site, new Map(Object.entries(values)))}${this.#parent(parent)}`);
    return undefined;
  }

  #define(id: Id, data: CallSiteData): void {
    this.#sites.set(String(id), data);
    const content = JSON.stringify(Object.entries(data).sort());
    if (this.#process.seen.has(content)) return;
    this.#process.seen.add(content);
    this.lines.push(`call site ${showName(data.name)}`);
  }

  #create({ id, site, parent, values }: ModelSpan): Refusal | undefined {
    const data = this.#sites.get(String(site));
    if (data === undefined) return unknownMetadata(site);
    if (parent !== undefined && !this.#knows(parent)) return unknownSpan(parent);
    const local = ++this.#process.lastSpan;
    this.lines.push(`new ${local} ${showName(data.name)}${declared(data, values)}${this.#parent(parent)}`);
    this.#local.set(String(id), local);
    return undefined;
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

const MAX_VALUES = 32;

function refuseMany(values: TracedValueMap): Refusal | undefined {
  const actual = Object.keys(values).length;
  return actual > MAX_VALUES ? { code: "too_many_values", max: MAX_VALUES, actual } : undefined;
}

function unknownSpan(id: Id): Refusal {
  return { code: "unknown_span_id", id };
}

function unknownMetadata(id: Id): Refusal {
  return { code: "unknown_metadata_id", id };
}

function declared(site: CallSiteData, values: ReadonlyMap<string, TracedValue>): string {
  return showValues([...values].filter(([name]) => site.fields.includes(name)));
}

function canonical(id: bigint): Id {
  return id <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(id) : id;
}
