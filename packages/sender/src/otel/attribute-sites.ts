import { type CallSiteData, type CallSiteKind, INT, type Level, LevelNumber, ValueList } from "@spanduct/protocol";
import { addValues } from "../convert.ts";
import type { Emitter, SiteState } from "../emitter.ts";
import { ExplicitClock } from "./explicit-clock.ts";

/** Definitions that one provider sends: new call sites, and known ones with more fields. Hosts have a limit for each guest. */
const MAX_DEFINITIONS = 1024;
/** Fields of one call site, and so distinct attributes of one span: what hosts keep of one. */
const MAX_FIELDS = 128;
/** Values in one record, as in the crate. */
const MAX_VALUES = 32;

/** Names that the OpenTelemetry specification gives to these counts where they are attributes. */
export const DROPPED_ATTRIBUTES = "otel.dropped_attributes_count";
export const DROPPED_LINKS = "otel.dropped_links_count";

/** Declared from the start: what most call sites come to, and what stands for that which cannot be declared. */
const FIELDS: Readonly<Record<CallSiteKind, readonly string[]>> = {
  span: [DROPPED_ATTRIBUTES, DROPPED_LINKS, "otel.kind", "otel.name", "otel.status_code", "otel.status_description"],
  event: [DROPPED_ATTRIBUTES, "message"],
};

/** Attributes as libraries give them, whatever the types of the API say. */
export type AttributeMap = { readonly [name: string]: unknown };

/** Attributes as records of a call site; those after the first only when there are more than fit. */
export interface Records {
  readonly first: ValueList;
  readonly more: readonly ValueList[];
  /** Attributes that there is no field for. */
  readonly dropped: number;
}

/** A call site whose fields are the names of attributes as they come up: it is announced again, under its number, with more. */
export class AttributeSite {
  readonly data: CallSiteData;
  readonly state: SiteState;
  readonly #sites: AttributeSites;
  readonly #fields: Map<string, number>;

  constructor(sites: AttributeSites, data: CallSiteData) {
    this.data = data;
    this.state = sites.emitter.newSite(data, LevelNumber[data.level]);
    this.#sites = sites;
    this.#fields = new Map(data.fields.map((field, index) => [field, index]));
  }

  /** Null and undefined are left out. @param special come first, and instead of attributes of the same name */
  records(special: AttributeMap, attributes: AttributeMap): Records {
    const first = new ValueList();
    const more: ValueList[] = [];
    const fields = this.#fields;
    const declared = fields.size;
    let record = first;
    let dropped = 0;
    for (const from of [special, attributes]) {
      for (const name of Object.keys(from)) {
        if (from === attributes && Object.hasOwn(special, name)) {
          dropped++;
          continue;
        }
        if (record.size === MAX_VALUES) {
          record = new ValueList();
          more.push(record);
        }
        const size = record.size;
        const known = fields.get(name);
        addValues(record, from, [name], known ?? fields.size);
        if (known !== undefined || record.size === size) continue;
        if (fields.size < MAX_FIELDS && this.#sites.definitions < MAX_DEFINITIONS) {
          fields.set(name, fields.size);
        } else {
          record.size = size;
          dropped++;
        }
      }
    }
    if (fields.size > declared) {
      // A definition that was not sent yet is only made larger.
      if (this.state.epoch > 0) this.#sites.definitions++;
      this.state.data = { ...this.data, fields: [...fields.keys()] };
      this.state.epoch = 0;
    }
    for (const each of [first, ...more]) each.fields = this.state.data.fields;
    return { first, more, dropped };
  }
}

/** The call sites of one provider, no more than hosts take. */
export class AttributeSites {
  readonly emitter: Emitter;
  readonly clock: ExplicitClock;
  definitions = 0;
  readonly #scopes: Map<string, SiteScope> = new Map();

  constructor(emitter: Emitter) {
    this.emitter = emitter;
    this.clock = ExplicitClock.of(emitter);
  }

  /** Whether what has this level is sent at present. */
  isEnabled(level: Level): boolean {
    return this.emitter.wants(LevelNumber[level]);
  }

  /** The call sites of a kind and level in an instrumentation scope: the same object every time, for the first 1024. */
  scope(kind: CallSiteKind, level: Level, target: string): SiteScope {
    const key = `${kind} ${level} ${target}`;
    const known = this.#scopes.get(key);
    if (known !== undefined) return known;
    const scope = new SiteScope(this, kind, level, target);
    if (this.#scopes.size < MAX_DEFINITIONS) this.#scopes.set(key, scope);
    return scope;
  }

  /** What call sites share that there are too many for. */
  rest(kind: CallSiteKind, level: Level): AttributeSite {
    const name = `other ${kind}s`;
    return this.scope(kind, level, name).declare(name);
  }

  /**
   * Emit an event.
   *
   * @param special as in `records`
   * @param parent number of its span; without one it belongs to the span that was entered last
   * @param unixNano when it happened; without it now
   */
  emit(site: AttributeSite, special: AttributeMap, attributes: AttributeMap, parent?: number, unixNano?: bigint): void {
    const { first, more, dropped } = site.records(special, attributes);
    let lost = more.reduce((sum, { size }) => sum + size, dropped);
    if (lost > 0) {
      // An event is one record: the count takes the place of what does not fit.
      if (first.size === MAX_VALUES) {
        first.size--;
        lost++;
      }
      first.push(FIELDS.event.indexOf(DROPPED_ATTRIBUTES), INT, lost);
    }
    this.clock.at(unixNano, () => this.emitter.newEvent(site.state, first, parent));
  }
}

/** Call sites of one kind and level in one instrumentation scope, by name. */
export class SiteScope {
  readonly #sites: AttributeSites;
  readonly #kind: CallSiteKind;
  readonly #level: Level;
  readonly #target: string;
  readonly #byName: Map<string, AttributeSite> = new Map();

  constructor(sites: AttributeSites, kind: CallSiteKind, level: Level, target: string) {
    this.#sites = sites;
    this.#kind = kind;
    this.#level = level;
    this.#target = target;
  }

  /** The call site of this name. Where there are too many, the rest share one of another name. */
  get(name: string): AttributeSite {
    const known = this.#byName.get(name);
    if (known !== undefined) return known;
    return this.#sites.definitions < MAX_DEFINITIONS ? this.declare(name) : this.#sites.rest(this.#kind, this.#level);
  }

  /** The call site of this name, even where there are too many. */
  declare(name: string): AttributeSite {
    let site = this.#byName.get(name);
    if (site === undefined) {
      const kind = this.#kind;
      site = new AttributeSite(this.#sites, {
        kind,
        name: String(name),
        target: this.#target,
        level: this.#level,
        fields: FIELDS[kind],
      });
      this.#sites.definitions++;
      this.#byName.set(name, site);
    }
    return site;
  }
}
