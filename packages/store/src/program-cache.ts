import { type CallSiteData, type PersistedMetadata, TunnelError } from "@spanduct/protocol";
import { parseMetadata, printState } from "@spanduct/protocol/json";
import { digest } from "./checksum.ts";
import type { Commit, StateStore } from "./state-store.ts";

/** Programs whose call sites are remembered. */
const MAX_PROGRAMS = 256;

/** Call sites that all executions of a program share; what goes beyond, each execution keeps for itself. */
const MAX_SHARED = 4096;

interface Program {
  /** `undefined`: the store has none. */
  readonly digest: string | undefined;
  readonly metadata: PersistedMetadata;
}

/** What is written of an execution's call sites. */
export interface MetadataWrite {
  readonly program: Commit["program"];
  readonly ownMetadata: string | undefined;
}

/**
 * The call sites of programs as the store has them. Executions of one program mostly have the same, so they are stored once; where
 * an execution has another call site under the same id, it keeps that for itself.
 */
export class ProgramCache {
  readonly #store: StateStore;
  readonly #programs: Map<string, Program> = new Map();

  constructor(store: StateStore) {
    this.#store = store;
  }

  /**
   * Call sites of an execution.
   *
   * @param expected digest of the program, as the store had it together with the execution
   * @throws TunnelError "snapshot_mismatch": what is stored is not of a receiver
   */
  async metadata(name: string, expected: string | undefined, ownMetadata: string | undefined): Promise<PersistedMetadata> {
    if (this.#programs.get(name)?.digest !== expected) this.#programs.delete(name);
    const { metadata } = await this.#get(name);
    return ownMetadata === undefined ? metadata : { ...metadata, ...parseMetadata(ownMetadata) };
  }

  /** How an execution that has these call sites is written. */
  async write(name: string, metadata: PersistedMetadata): Promise<MetadataWrite> {
    const known = await this.#get(name);
    const added: { [id: string]: CallSiteData } = Object.create(null);
    const own: { [id: string]: CallSiteData } = Object.create(null);
    let room = MAX_SHARED - Object.keys(known.metadata).length;
    let isNew = known.digest === undefined;
    for (const id of Object.keys(metadata)) {
      const callSite = metadata[id] as CallSiteData;
      const shared = known.metadata[id];
      if (shared === undefined && room-- > 0) {
        added[id] = callSite;
        isNew = true;
      } else if (shared === undefined || !isSame(shared, callSite)) {
        own[id] = callSite;
      }
    }
    const next = isNew ? printState({ ...known.metadata, ...added }) : undefined;
    return {
      program: {
        name,
        ...(known.digest !== undefined && { digest: known.digest }),
        ...(next !== undefined && { next: { digest: digest(next), metadata: next } }),
      },
      ownMetadata: Object.keys(own).length === 0 ? undefined : printState(own),
    };
  }

  /** The store has taken what `write` gave. */
  written({ program: { name, next } }: MetadataWrite): void {
    if (next !== undefined) this.#set(name, { digest: next.digest, metadata: parseMetadata(next.metadata) });
  }

  /** The store has something else than was thought. */
  forget(name: string): void {
    this.#programs.delete(name);
  }

  async #get(name: string): Promise<Program> {
    const known = this.#programs.get(name);
    if (known !== undefined) return known;
    const stored = await this.#store.loadProgram(name);
    if (stored !== undefined && digest(stored.metadata) !== stored.digest) {
      throw new TunnelError("snapshot_mismatch", `the call sites of program ${JSON.stringify(name)} are not what was committed`);
    }
    const program = { digest: stored?.digest, metadata: parseMetadata(stored?.metadata ?? "{}") };
    this.#set(name, program);
    return program;
  }

  #set(name: string, program: Program): void {
    this.#programs.delete(name);
    this.#programs.set(name, program);
    if (this.#programs.size <= MAX_PROGRAMS) return;
    const [oldest] = this.#programs.keys();
    this.#programs.delete(oldest as string);
  }
}

function isSame(a: CallSiteData, b: CallSiteData): boolean {
  return (
    a === b ||
    (a.name === b.name &&
      a.target === b.target &&
      a.kind === b.kind &&
      a.level === b.level &&
      a.module_path === b.module_path &&
      a.file === b.file &&
      a.line === b.line &&
      a.fields.length === b.fields.length &&
      a.fields.every((field, i) => field === b.fields[i]))
  );
}
