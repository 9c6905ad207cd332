import { type CallSiteData, TunnelError, type TunnelErrorCode, type ValueColumns, type ValueKind } from "@spanduct/protocol";
import { ScratchPool } from "./scratch.ts";
import { ValueShape } from "./value-shape.ts";

/** Shapes that a call site keeps: which fields are there, and whether a number is an integer, makes few in honest programs. */
const MAX_SHAPES = 8;

/** A call site as a host keeps it: one object for equal data, shared by all executions of all programs. */
export class CallSite {
  /** Position in the arena's order of first sight, from 0; never given twice. */
  readonly index: number;
  readonly data: CallSiteData;
  /** Whether no field name stands twice, so that different indices are different names. */
  readonly distinct: boolean;
  /** @internal `data.fields` again, to be read only: engines read frozen arrays several times slower. */
  readonly names: readonly string[];
  readonly #fields: ReadonlySet<string>;
  readonly #shapes: ValueShape[] = [];
  #latestShape: ValueShape | undefined;

  /** @internal Made by the arena. Takes a copy of `data`, because many share it. */
  constructor(index: number, data: CallSiteData) {
    this.index = index;
    this.names = data.fields.map(asPropertyName);
    this.data = Object.freeze({ ...data, fields: Object.freeze([...this.names]) });
    this.#fields = new Set(this.names);
    this.distinct = this.#fields.size === data.fields.length;
  }

  /** Whether values of this name are relayed. */
  declares(name: string): boolean {
    return this.#fields.has(name);
  }

  /**
   * @internal One object for all values of the same names and types. Numeric keys index the call site's fields.
   *
   * @returns `undefined` with names that are undeclared or come twice, with more shapes than are kept, and where the writer has fields of
   * its own
   */
  shapeOf(values: ValueColumns): ValueShape | undefined {
    if (values.fields.length > 0) return undefined;
    const latest = this.#latestShape;
    if (latest?.fits(values) === true) return latest;
    const shape = this.#shapes.find((one) => one.fits(values)) ?? this.#newShape(values);
    if (shape !== undefined) this.#latestShape = shape;
    return shape;
  }

  #newShape({ keys, kinds, size }: ValueColumns): ValueShape | undefined {
    if (this.#shapes.length === MAX_SHAPES) return undefined;
    const names = new Set<string>();
    const indices: number[] = [];
    for (let i = 0; i < size; i++) {
      const key = keys[i] as number | string;
      // Where a name stands twice, different indices may be the same name.
      const name = typeof key === "string" ? key : this.distinct ? this.names[key] : undefined;
      // One record may have a field by its name and by its index.
      if (name === undefined || !this.declares(name) || names.has(name)) return undefined;
      names.add(name);
      indices.push(this.distinct ? this.names.indexOf(name) : -1);
    }
    const shape = new ValueShape([...names], kinds.slice(0, size) as ValueKind[], indices);
    this.#shapes.push(shape);
    return shape;
  }
}

/**
 * The same text as engines keep names of properties, once for each. A string that came out of a buffer is looked up in the table of
 * all names whenever it is used as one, which costs more than all else that a relay does with a value.
 */
function asPropertyName(text: string): string {
  return Object.keys({ [text]: undefined })[0] as string;
}

/** What an arena holds. */
export interface ArenaStats {
  readonly callSites: number;
  /** As `ArenaLimits.maxStringUnits` counts. */
  readonly stringUnits: number;
  readonly programs: number;
}

/** Bounds of an arena, for all guests of a host together. */
export interface ArenaLimits {
  /** Distinct call sites. Default 262144. */
  readonly maxCallSites: number;
  /** UTF-16 units of all strings in them, and 128 for each field. Default 64 Mi. */
  readonly maxStringUnits: number;
  /** How much of both one program may use, so that a hostile one leaves room for others. Default 1/16. */
  readonly maxProgramShare: number;
}

const DEFAULT_ARENA_LIMITS: ArenaLimits = {
  maxCallSites: 262_144,
  maxStringUnits: 64 * 1024 * 1024,
  maxProgramShare: 1 / 16,
};

/** Place in lists and sets, and in all shapes that a call site keeps. */
const UNITS_PER_FIELD = 128;

interface Entry {
  readonly key: string;
  readonly callSite: CallSite;
  readonly stringUnits: number;
  /** Programs that use it. */
  programs: number;
}

/** @internal Why a call site is not taken. */
export interface Refusal {
  readonly code: TunnelErrorCode;
  readonly reason: string;
}

interface Program {
  readonly entries: Set<Entry>;
  stringUnits: number;
  holders: number;
}

/**
 * Call sites interned once per process. An entry lives as long as a program that uses it is loaded; a program stays loaded
 * until `release` has been called as often as `acquire`.
 */
export class MetadataArena {
  /** @internal */
  readonly scratch: ScratchPool = new ScratchPool();
  readonly #limits: ArenaLimits;
  readonly #entries: Map<string, Entry> = new Map();
  readonly #programs: Map<unknown, Program> = new Map();
  #nextIndex = 0;
  #stringUnits = 0;

  constructor(limits: Partial<ArenaLimits> = {}) {
    this.#limits = { ...DEFAULT_ARENA_LIMITS, ...limits };
  }

  /** What is held now. */
  get stats(): ArenaStats {
    return { callSites: this.#entries.size, stringUnits: this.#stringUnits, programs: this.#programs.size };
  }

  /** Load a program, or hold it once more. @param program any value that identifies it, for instance `"checkout@3"` */
  acquire(program: unknown): void {
    const held = this.#programs.get(program);
    if (held === undefined) this.#programs.set(program, { entries: new Set(), stringUnits: 0, holders: 1 });
    else held.holders++;
  }

  /** Undo one `acquire`. After the last one the call sites that no other program uses are freed. */
  release(program: unknown): void {
    const held = this.#programs.get(program);
    if (held === undefined || --held.holders > 0) return;
    this.#programs.delete(program);
    for (const entry of held.entries) {
      if (--entry.programs > 0) continue;
      this.#entries.delete(entry.key);
      this.#stringUnits -= entry.stringUnits;
    }
  }

  /** The call site with this content, if the arena has it. */
  find(data: CallSiteData): CallSite | undefined {
    return this.#entries.get(contentKey(data))?.callSite;
  }

  /**
   * The one call site with this content, for a program that is loaded. `onNew` is called first when the arena had none.
   *
   * @throws TunnelError "limit_exceeded": the arena is full, or the program's share of it; nothing has changed
   * @throws TunnelError "receiver_closed": the program is not loaded
   */
  intern(program: unknown, data: CallSiteData, onNew?: (callSite: CallSite) => void): CallSite {
    const interned = this.tryIntern(program, data, onNew);
    if (interned instanceof CallSite) return interned;
    throw new TunnelError(interned.code, interned.reason);
  }

  /** @internal As `intern`, with what it throws as a value: a guest can ask for many refusals, and making errors is expensive. */
  tryIntern(program: unknown, data: CallSiteData, onNew?: (callSite: CallSite) => void): CallSite | Refusal {
    const held = this.#programs.get(program);
    if (held === undefined) return { code: "receiver_closed", reason: "the program is not loaded; call acquire first" };
    const key = contentKey(data);
    let entry = this.#entries.get(key);
    if (entry !== undefined && held.entries.has(entry)) return entry.callSite;

    const stringUnits = key.length + UNITS_PER_FIELD * data.fields.length;
    const share = this.#limits.maxProgramShare;
    const tooMuch =
      this.#refusal("the program's share of the arena", held.entries.size, held.stringUnits, stringUnits, share) ??
      (entry === undefined ? this.#refusal("the arena", this.#entries.size, this.#stringUnits, stringUnits, 1) : undefined);
    if (tooMuch !== undefined) return tooMuch;
    if (entry === undefined) {
      entry = { key, callSite: new CallSite(this.#nextIndex, data), stringUnits, programs: 0 };
      onNew?.(entry.callSite);
      this.#nextIndex++;
      this.#entries.set(key, entry);
      this.#stringUnits += stringUnits;
    }
    held.entries.add(entry);
    held.stringUnits += stringUnits;
    entry.programs++;
    return entry.callSite;
  }

  #refusal(what: string, callSites: number, stringUnits: number, more: number, share: number): Refusal | undefined {
    const { maxCallSites, maxStringUnits } = this.#limits;
    if (callSites < maxCallSites * share && stringUnits + more <= maxStringUnits * share) return undefined;
    const reason = `${what} is full (${callSites} call sites, ${stringUnits} string units); release programs or raise ArenaLimits`;
    return { code: "limit_exceeded", reason };
  }
}

/** Equal for equal data and only then: every string is preceded by its length. */
function contentKey(data: CallSiteData): string {
  let key = `${data.kind[0]}${data.level[0]}${data.line ?? ""}`;
  for (const text of [data.name, data.target, data.module_path, data.file]) {
    key += text === undefined ? "|-" : `|${text.length}:${text}`;
  }
  for (const field of data.fields) key += `|${field.length}:${field}`;
  return key;
}
