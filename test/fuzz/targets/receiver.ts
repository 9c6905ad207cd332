import {
  type BatchHeader,
  type Codec,
  controlWord,
  DecodeError,
  type Limits,
  ReceiveError,
  type TunnelError,
} from "@spanduct/protocol";
import { parseMetadata, parseSpans, printState } from "@spanduct/protocol/json";
import { MetadataArena, TracingEventReceiver } from "@spanduct/receiver";
import { Model, ModelProcess, type ModelState, type Refusal } from "../../model/crate.ts";
import { RelayLog, RestoringRelayLog } from "../../support/relay-log.ts";
import { type SinkCall, sinkTo } from "../../support/sink-calls.ts";
import { encodeBatches, type HostStep, makeSteps, type Step, setupOf } from "../steps.ts";
import { holds, same, type Target } from "../target.ts";

const PROGRAM = "guest";
const NOTHING: ModelState = { metadata: {}, spans: {}, local: [] };
/** Errors that a receiver makes of one batch. */
const MAX_ERRORS = 16;

/** The receiver beside the naive model, which is told what a decoder of its own makes of the same bytes. */
export function receiverTarget(streams: readonly (readonly SinkCall[])[]): Target<Step> {
  return {
    name: "receiver",
    what: "does what the naive model does, after every batch and every persist, restore and rollback",
    make: (random) => makeSteps(random, streams),
    run(steps) {
      const pair = new Pair(steps);
      for (const step of steps) pair.run(step);
      return pair.end();
    },
  };
}

/** The receiver under test and the model, with what outlives both. */
class Pair {
  readonly #codec: Codec;
  readonly #limits: Limits;
  readonly #restores: boolean;
  #log: RelayLog;
  #arena = new MetadataArena();
  #process = new ModelProcess();
  #receiver!: TracingEventReceiver<number>;
  #model!: Model;
  readonly #errors: TunnelError[] = [];
  /** Number of the next batch of the honest part of the guest. */
  #sequence = 0;
  #bytes = 0;
  #isExhausted = false;
  #events = 0;
  /** What was persisted last; what the process remembered at earlier times. */
  #state = NOTHING;
  readonly #memories: ModelState["local"][] = [[]];

  constructor(steps: readonly Step[]) {
    const { codec, limits, restores } = setupOf(steps);
    this.#codec = codec;
    this.#limits = limits;
    this.#restores = restores;
    this.#log = this.#newLog();
    // Loaded for as long as the process lives.
    this.#arena.acquire(PROGRAM);
    this.#open(NOTHING);
  }

  run(step: Step): void {
    switch (step.step) {
      case "setup":
        return;
      case "bytes":
        return this.#batch(step.bytes);
      case "calls":
        for (const calls of step.alone ? step.calls.map((call) => [call]) : [step.calls]) this.#send(calls);
        return;
      default:
        this.#host(step);
    }
  }

  /** @returns events looked at */
  end(): number {
    this.#rollBack();
    this.#arena.release(PROGRAM);
    same("what the arena holds without programs", this.#arena.stats, { callSites: 0, stringUnits: 0, programs: 0 });
    return this.#events;
  }

  #send(calls: readonly SinkCall[]): void {
    const header: BatchHeader = { version: 1, clock: "none", baseTimeUnixNano: 0n, sequence: this.#sequence, droppedEvents: 0 };
    const batches = encodeBatches(this.#codec, calls, header);
    if (calls[0]?.[0] !== "batch") this.#sequence++;
    for (const batch of batches) this.#batch(batch);
  }

  #batch(bytes: Uint8Array): void {
    const refusals = this.#expect(bytes);
    const word = this.#receiver.receiveBatch(bytes);
    const said = this.#errors.splice(0).map(refusalOf);
    same("what is refused", said, refusals.slice(0, MAX_ERRORS));
    same("the control word", word, controlWord(this.#isExhausted ? 0 : 5, this.#model.announce));
    this.#model.announce = false;
    this.#compare();
  }

  /** Have the model do what the bytes say. @returns what it refuses, in order */
  #expect(bytes: Uint8Array): (Refusal | undefined)[] {
    const model = this.#model;
    const { maxBatchBytes, maxExecutionBytes } = this.#limits;
    const exceeded = (limit: keyof Limits, actual: number): [Refusal | undefined] => [
      model.refuse({ code: "limit_exceeded", limit, max: this.#limits[limit], actual }),
    ];
    if (bytes.length > maxBatchBytes) {
      model.announce = true;
      return exceeded("maxBatchBytes", bytes.length);
    }
    if (this.#bytes + bytes.length > maxExecutionBytes) {
      this.#isExhausted = true;
      return exceeded("maxExecutionBytes", this.#bytes + bytes.length);
    }
    this.#bytes += bytes.length;
    const read: (SinkCall | DecodeError)[] = [];
    this.#codec.createDecoder(this.#limits).decode(
      bytes,
      sinkTo((call) => read.push(call)),
      (error) => read.push(error),
    );
    this.#events += read.length;
    const refusals: (Refusal | undefined)[] = [];
    for (const item of read) {
      const refusal = item instanceof DecodeError ? model.refuse({ code: item.code }) : model.call(item);
      if (refusal !== undefined) refusals.push(refusal);
      // Nothing of a batch that was received already counts.
      if (refusal?.code === "duplicate_batch") break;
    }
    return refusals;
  }

  #host(step: HostStep): void {
    switch (step.step) {
      case "persist":
        this.#persist();
        break;
      case "roll back":
        this.#rollBack();
        break;
      case "new process":
        if (step.persists) this.#persist();
        else this.#receiver[Symbol.dispose]();
        this.#arena = new MetadataArena();
        this.#arena.acquire(PROGRAM);
        this.#process = new ModelProcess();
        this.#log = this.#newLog();
        return this.#open({ ...this.#state, local: [] });
    }
    const metadata = step.keepsMetadata ? this.#state.metadata : {};
    this.#open({ ...this.#state, metadata, local: this.#memory(step.memory) });
  }

  #persist(): void {
    const expected = this.#model.persist();
    const metadata = this.#receiver.persistMetadata();
    const { spans, localSpans } = this.#receiver.persist();
    const local = [...localSpans];
    same("what is persisted", sorted({ metadata, spans, local }), sorted(expected));
    this.#compareLines();
    this.#refusesAll();
    // Half of the time the state goes through a store that keeps text.
    const isText = this.#memories.length % 2 === 0;
    this.#state = {
      metadata: isText ? parseMetadata(printState(metadata)) : metadata,
      spans: isText ? parseSpans(printState(spans)) : spans,
      local,
    };
    this.#memories.push(local);
  }

  #rollBack(): void {
    this.#model.rollBack();
    this.#receiver[Symbol.dispose]();
    this.#compareLines();
    this.#refusesAll();
  }

  /** A receiver that is closed. */
  #refusesAll(): void {
    const { events } = this.#receiver.stats;
    this.#receiver.receiveBatch(Uint8Array.of(8, 1));
    this.#receiver.spanEntered(1, undefined);
    same(
      "what a closed receiver says",
      this.#errors.splice(0).map(({ code }) => code),
      ["receiver_closed", "receiver_closed"],
    );
    same("events that a closed receiver applies", this.#receiver.stats.events, events);
    this.#compareLines();
  }

  #memory(which: "kept" | "lost" | "older"): ModelState["local"] {
    if (which === "lost") return [];
    return which === "kept" ? this.#state.local : (this.#memories.at(-2) ?? []);
  }

  #open(state: ModelState): void {
    this.#bytes = 0;
    this.#isExhausted = false;
    // A guest that is rolled back is where it was, and a receiver that is given nothing expects its first batch.
    for (const { sequence } of Object.values(state.spans)) this.#sequence = sequence ?? this.#sequence;
    if (Object.keys({ ...state.metadata, ...state.spans }).length === 0) this.#sequence = 0;
    this.#receiver = new TracingEventReceiver<number>(state.metadata, state.spans, state.local, {
      relay: this.#log,
      arena: this.#arena,
      program: PROGRAM,
      codec: this.#codec,
      limits: this.#limits,
      onError: (error) => this.#errors.push(error),
    });
    this.#errors.length = 0;
    this.#model = new Model(this.#process, this.#restores, state, this.#limits);
    this.#compare();
  }

  #newLog(): RelayLog {
    return this.#restores ? new RestoringRelayLog() : new RelayLog();
  }

  #compare(): void {
    this.#compareLines();
    const { events, liveSpans, callSites, refused, lostBatches, droppedEvents } = this.#receiver.stats;
    const model = this.#model;
    same(
      "what is counted",
      { events, liveSpans, callSites, lostBatches, droppedEvents, refused: Object.entries(refused).sort() },
      {
        events: model.applied,
        liveSpans: model.liveSpans,
        callSites: model.callSites,
        lostBatches: model.lostBatches,
        droppedEvents: model.droppedEvents,
        refused: Object.entries(model.refused).sort(),
      },
    );
    holds("call sites are within their budget", callSites <= this.#limits.maxCallSites);
  }

  #compareLines(): void {
    same("what the relay is told", this.#log.take(), this.#model.lines.splice(0));
  }
}

/** Of what a decoder says, the code counts here. */
function refusalOf(error: TunnelError): Refusal {
  if (!(error instanceof ReceiveError)) return { code: error.code };
  const { code, id, limit, max, actual } = error;
  return {
    code,
    ...(id !== undefined && { id }),
    ...(limit !== undefined && { limit }),
    ...(max !== undefined && { max }),
    ...(actual !== undefined && { actual }),
  };
}

/** The same with the keys of all its objects in order, where the order says nothing; that of values does. */
function sorted({ metadata, spans, local }: ModelState): unknown {
  const ascending = (entries: { readonly [id: string]: object }): unknown =>
    Object.entries(entries)
      .sort(([a], [b]) => (BigInt(a) < BigInt(b) ? -1 : 1))
      .map(([id, { ...entry }]) => [id, Object.entries(entry).sort(([a], [b]) => (a < b ? -1 : 1))]);
  return [ascending(metadata), ascending(spans), local];
}
