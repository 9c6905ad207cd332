import type { BatchHeader, Codec, Limits, PersistedMetadata, PersistedSpans, TunnelError } from "@spanduct/protocol";
import { parseMetadata, parseSpans, printState } from "@spanduct/protocol/json";
import { type LocalSpans, MetadataArena, type Relay, TracingEventReceiver } from "@spanduct/receiver";
import { encodeBatches, type HostStep, type Step, setupOf } from "./steps.ts";
import { holds } from "./target.ts";

/** What a life needs of who runs it. */
export interface LifeOptions<Span> {
  /** The relay of one attempt. */
  readonly relay: () => Relay<Span>;
  readonly onError: (error: TunnelError) => void;
  /** The host process ends and another one begins. */
  readonly onNewProcess?: () => void;
  /** Shared with other lives. Default: one of its own. */
  readonly arena?: MetadataArena;
}

interface State<Span> {
  readonly metadata: PersistedMetadata;
  readonly spans: PersistedSpans;
  readonly local: LocalSpans<Span>;
}

/** One guest's execution, attempt after attempt, as its host sees it. */
export class Life<Span> {
  readonly #options: LifeOptions<Span>;
  readonly #codec: Codec;
  readonly #limits: Limits;
  readonly #arena: MetadataArena;
  readonly #program: object = {};
  #sequence = 0;
  #state: State<Span> = { metadata: {}, spans: {}, local: [] };
  #older: LocalSpans<Span> = [];
  #receiver: TracingEventReceiver<Span>;
  /** Events that were applied, by receivers that are closed. */
  #applied = 0;
  /** Spans that the receiver was made with; those that only a stale `LocalSpans` knows are among them. */
  #restored = 0;

  constructor(steps: readonly Step[], options: LifeOptions<Span>) {
    const { codec, limits } = setupOf(steps);
    this.#codec = codec;
    this.#limits = limits;
    this.#options = options;
    this.#arena = options.arena ?? new MetadataArena();
    this.#receiver = this.#open(this.#state);
  }

  /** The receiver of the attempt at hand. */
  get receiver(): TracingEventReceiver<Span> {
    return this.#receiver;
  }

  /** What was committed last. */
  get state(): State<Span> {
    return this.#state;
  }

  /** Events applied, and refused for whatever reason. */
  get events(): number {
    const { events, refused } = this.#receiver.stats;
    return this.#applied + events + Object.values(refused).reduce((sum, count) => sum + count, 0);
  }

  run(step: Step): void {
    switch (step.step) {
      case "setup":
        return;
      case "bytes":
        return this.#batch(step.bytes);
      case "calls":
        for (const calls of step.alone ? step.calls.map((call) => [call]) : [step.calls]) {
          const header: BatchHeader = {
            version: 1,
            clock: "none",
            baseTimeUnixNano: 0n,
            sequence: this.#sequence,
            droppedEvents: 0,
          };
          if (calls[0]?.[0] !== "batch") this.#sequence++;
          for (const batch of encodeBatches(this.#codec, calls, header)) this.#batch(batch);
        }
        return;
      default:
        this.#host(step);
    }
  }

  /** Roll back what is open. @returns events looked at */
  end(): number {
    this.#receiver[Symbol.dispose]();
    return this.events;
  }

  /** Commit. */
  persist(): void {
    const metadata = this.#receiver.persistMetadata();
    const { spans, localSpans } = this.#receiver.persist();
    this.#older = this.#state.local;
    // As a store keeps it.
    this.#state = { metadata: parseMetadata(printState(metadata)), spans: parseSpans(printState(spans)), local: [...localSpans] };
  }

  #batch(bytes: Uint8Array): void {
    this.#receiver.receiveBatch(bytes);
    const { liveSpans, callSites } = this.#receiver.stats;
    holds("live spans are within their budget", liveSpans <= Math.max(this.#limits.maxLiveSpans, this.#restored));
    holds("call sites are within their budget", callSites <= this.#limits.maxCallSites);
  }

  #host(step: HostStep): void {
    if (step.step === "persist" || (step.step === "new process" && step.persists)) this.persist();
    else this.#receiver[Symbol.dispose]();
    this.#applied = this.events;
    const { metadata, spans } = this.#state;
    if (step.step === "new process") {
      this.#options.onNewProcess?.();
      this.#older = [];
      this.#state = { metadata, spans, local: [] };
      this.#receiver = this.#open(this.#state);
      return;
    }
    const local = step.memory === "kept" ? this.#state.local : step.memory === "older" ? this.#older : [];
    // A host that lost its program's call sites lost what relays kept, too: that is for the model of the receiver alone.
    this.#receiver = this.#open({ metadata, spans, local });
  }

  #open({ metadata, spans, local }: State<Span>): TracingEventReceiver<Span> {
    const receiver = new TracingEventReceiver(metadata, spans, local, {
      relay: this.#options.relay(),
      arena: this.#arena,
      program: this.#program,
      codec: this.#codec,
      limits: this.#limits,
      onError: this.#options.onError,
    });
    this.#restored = receiver.stats.liveSpans;
    return receiver;
  }
}
