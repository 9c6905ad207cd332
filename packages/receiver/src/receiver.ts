import {
  type BatchHeader,
  type CallSiteData,
  type ClockDomain,
  type Codec,
  controlWord,
  DecodeError,
  dispatchEvent,
  type EventSink,
  type EventTime,
  type Id,
  type Limits,
  type OpenSpan,
  type PersistedMetadata,
  type PersistedSpans,
  type RawValue,
  ReceiveError,
  type ReceiveErrorDetail,
  readMetadata,
  readSpans,
  type TraceContext,
  TracedValues,
  type TracingEvent,
  type TunnelError,
  type TunnelErrorCode,
  type ValueColumns,
  type ValueKind,
} from "@spanduct/protocol";
import { protobuf } from "@spanduct/protocol/protobuf";
import { CallSite, MetadataArena } from "./arena.ts";
import { CallSiteTable } from "./call-site-table.ts";
import { bytesAt, declaredValues, type NamedValues, rawBytes } from "./named-values.ts";
import type { Loss, Relay, RelayedValues } from "./relay.ts";
import { Scratch } from "./scratch.ts";
import { SequenceTracker } from "./sequence.ts";
import { readSequence, readSpan, writeSpans } from "./snapshot.ts";
import { SpanStack, SpanState } from "./span-state.ts";
import { SpanTable } from "./span-table.ts";

/** After so many refusals in one batch the rest are counted, but no errors are built for them. */
const MAX_ERRORS_PER_BATCH = 16;
const CLOSED = "the receiver was persisted or disposed of";

/** The relay's spans by the guest's number: what this host process remembers of an execution, and may lose. `[]` is nothing. */
export type LocalSpans<Span> = Iterable<readonly [id: Id, span: Span]>;

/** How a receiver is set up. */
export interface ReceiverOptions<Span> {
  /** Where events go: one relay object per receiver. */
  readonly relay: Relay<Span>;
  /** Budgets that differ from `DEFAULT_LIMITS`. */
  readonly limits?: Partial<Limits>;
  /** Call sites shared with other receivers of the process. Default: an arena of its own. */
  readonly arena?: MetadataArena;
  /**
   * What identifies the guest's program in the arena, for instance `"checkout@3"`. Default: something unique, so that its call
   * sites are freed with the receiver.
   */
  readonly program?: unknown;
  /** Wire form of `receiveBatch`. Default: protobuf. */
  readonly codec?: Codec;
  /** The most verbose level that this host wants, 0 (off) to 5 (trace, the default). Can be changed later: `maxLevel`. */
  readonly maxLevel?: number;
  /** Told what was refused or failed, at most 16 a batch; `stats` counts all. What it throws is ignored. */
  readonly onError?: (error: TunnelError) => void;
}

/** Counts of one receiver since it was made. */
export interface ReceiverStats {
  /** Events applied. */
  readonly events: number;
  /** Batches that were looked into: all but those refused for their size or because the receiver is closed. */
  readonly batches: number;
  /** Bytes of those batches. */
  readonly bytes: number;
  /** Events and batches refused and relay failures, by error code. */
  readonly refused: { readonly [code in TunnelErrorCode]?: number };
  readonly lostBatches: number;
  /** Events that the guest said it dropped. */
  readonly droppedEvents: number;
  /** Spans open now, those included that only `LocalSpans` remembers. */
  readonly liveSpans: number;
  /** Ids of call sites known now. */
  readonly callSites: number;
}

/**
 * Host side of the tunnel for one attempt at an execution. Events come in through `receiveBatch`, `receive`, or the methods of
 * `EventSink`; what they mean goes to the relay. Persisting is the commit; disposing without it is the rollback.
 *
 * Semantics are those of the crate's `TracingEventReceiver`, with budgets: an event that is refused changes nothing.
 */
export class TracingEventReceiver<Span = unknown> implements EventSink, Disposable {
  readonly #relay: Relay<Span>;
  readonly #limits: Limits;
  readonly #arena: MetadataArena;
  readonly #program: unknown;
  readonly #codec: Codec;
  readonly #onError: ((error: TunnelError) => void) | undefined;

  readonly #callSites: CallSiteTable;
  readonly #spans: SpanTable<Span>;
  readonly #stack: SpanStack<Span> = new SpanStack();
  readonly #sequence: SequenceTracker;

  /** The arena's while a batch is handled; one of its own once events come in another way. */
  #scratch: Scratch<Span> | undefined;
  readonly #refused: { [code in TunnelErrorCode]?: number } = {};
  #lastError: TunnelError | undefined;
  /** How many more errors may be built before the batch ends. */
  #errorBudget = MAX_ERRORS_PER_BATCH;
  /** Call sites defined so far, each time that the data behind an id changed. */
  #definitions = 0;
  /** What the values of all open spans cost. */
  #valueBytes = 0;
  /** What times mean, as the last batch said. */
  #clock: ClockDomain = "wall";
  #events = 0;
  #batches = 0;
  #bytes = 0;
  #lostBatches = 0;
  #droppedEvents = 0;
  /** Whether a batch was refused because of `maxExecutionBytes`. */
  #exhausted = false;
  #announce = false;
  #maxLevel: number;
  #closed = false;

  /**
   * @param metadata call sites of the program, as far as known; `{}` for a new one
   * @param spans open spans of the execution; `{}` for a new one
   * @param localSpans what this process remembers of them; `[]` when it remembers nothing
   * @throws TunnelError "snapshot_mismatch": state that no receiver can have written
   */
  constructor(metadata: PersistedMetadata, spans: PersistedSpans, localSpans: LocalSpans<Span>, options: ReceiverOptions<Span>) {
    this.#relay = options.relay;
    this.#arena = options.arena ?? new MetadataArena();
    const { scratch } = this.#arena;
    this.#limits = scratch.limits(options.limits);
    this.#callSites = new CallSiteTable(scratch.secrets);
    this.#spans = new SpanTable(scratch.secrets);
    this.#program = options.program ?? this;
    this.#codec = options.codec ?? protobuf;
    this.#maxLevel = options.maxLevel ?? 5;
    this.#onError = options.onError;

    const callSites = readMetadata(metadata);
    const opened = readSpans(spans);
    this.#arena.acquire(this.#program);
    for (const [id, data] of callSites) this.newCallSite(id, data, undefined);
    this.#events = 0;
    this.#restore(opened, localSpans);
    this.#sequence = new SequenceTracker(readSequence(opened), callSites.length === 0 && opened.length === 0);
  }

  /** What happened so far. */
  get stats(): ReceiverStats {
    return {
      events: this.#events,
      batches: this.#batches,
      bytes: this.#bytes,
      refused: { ...this.#refused },
      lostBatches: this.#lostBatches,
      droppedEvents: this.#droppedEvents,
      liveSpans: this.#spans.size,
      callSites: this.#callSites.size,
    };
  }

  /**
   * The most verbose level that this host wants, 0 (off) to 5 (trace); the guest learns of a change with the next control word. It is
   * off once `maxExecutionBytes` is used up.
   */
  get maxLevel(): number {
    if (this.#exhausted) return 0;
    return Math.min(this.#maxLevel, this.#attempt(() => this.#relay.maxLevel) ?? 5);
  }

  set maxLevel(level: number) {
    this.#maxLevel = level;
  }

  /**
   * What to hand to the guest before it runs, so that it can propagate its spans; `undefined` when there is no span of the host's
   * above it. Belongs to this receiver: the guest gets that of the next when it goes on with the next.
   */
  get traceContext(): TraceContext | undefined {
    return this.#attempt(() => this.#relay.traceContext);
  }

  /** Apply one event. @throws TunnelError what `tryReceive` returns */
  receive(event: TracingEvent): void {
    const error = this.tryReceive(event);
    if (error !== undefined) throw error;
  }

  /**
   * Apply one event, which may be anything a guest cares to send.
   *
   * @returns why it was refused (`DecodeError` "malformed", "limit_exceeded"; `ReceiveError` "too_many_values",
   * "unknown_metadata_id", "unknown_span_id", "unknown_field", "limit_exceeded", "receiver_closed") or, though it was applied,
   * that the relay failed ("relay_failed"); `undefined` when all is well
   */
  tryReceive(event: TracingEvent): TunnelError | undefined {
    this.#errorBudget = MAX_ERRORS_PER_BATCH;
    this.#lastError = undefined;
    this.#withScratch(() => {
      try {
        dispatchEvent(event, this, this.#limits);
      } catch (error) {
        if (!(error instanceof DecodeError)) throw error;
        this.#report(error);
      }
    });
    return this.#lastError;
  }

  /**
   * Apply a batch of bytes. Never throws because of what the bytes are: what is refused is counted in `stats` and told to
   * `onError`, and the rest of the batch is applied where its place can be found.
   *
   * @param bytes borrowed for the call
   * @returns the control word to give back to the guest
   */
  receiveBatch(bytes: Uint8Array): number {
    this.#errorBudget = MAX_ERRORS_PER_BATCH;
    const { maxBatchBytes, maxExecutionBytes } = this.#limits;
    if (this.#closed) {
      this.#refuse("receiver_closed", CLOSED);
    } else if (bytes.length > maxBatchBytes) {
      this.#announce = true;
      this.#exceed("maxBatchBytes", bytes.length);
    } else if (this.#bytes + bytes.length > maxExecutionBytes) {
      this.#exhausted = true;
      this.#exceed("maxExecutionBytes", this.#bytes + bytes.length);
    } else {
      this.#batches++;
      this.#bytes += bytes.length;
      this.#withScratch((scratch) => {
        try {
          scratch.decoder(this.#codec, this.#limits).decode(bytes, this, (error) => this.#report(error));
        } catch (error) {
          if (!(error instanceof ReceiveError)) throw error;
          this.#report(error);
        }
      });
    }
    return this.control();
  }

  /**
   * The control word to give back to the guest after events that came one by one, which it makes a batch. A request to announce
   * is made once.
   */
  control(): number {
    const announce = this.#announce;
    this.#announce = false;
    const word = controlWord(this.maxLevel, announce);
    this.#errorBudget = MAX_ERRORS_PER_BATCH;
    return word;
  }

  /**
   * Say that the guest is not new, that it has sent batches to other receivers: whatever number its next batch has, nothing is lost
   * before it, and the next control word asks the guest to announce its call sites.
   */
  joinGuest(): void {
    this.#sequence.join();
    this.#announce = true;
  }

  /** All call sites known so far, those given to the constructor included: merge them into what is stored for the program. */
  persistMetadata(): PersistedMetadata {
    const metadata = Object.create(null) as { [id: string]: CallSiteData };
    for (const [id, { data }] of this.#callSites.entries()) metadata[String(id)] = data;
    return metadata;
  }

  /**
   * Commit: what this attempt did stands. The receiver is closed; go on with a new one made from what is returned.
   *
   * @throws ReceiveError "receiver_closed"
   */
  persist(): { spans: PersistedSpans; localSpans: LocalSpans<Span> } {
    if (this.#closed) throw new ReceiveError("receiver_closed", CLOSED);
    this.#errorBudget = MAX_ERRORS_PER_BATCH;
    this.#attempt(() => this.#relay.suspend?.());
    this.#exitEntered();
    const save = (span: Span): unknown => this.#attempt(() => this.#relay.saveSpan?.(span));
    const spans = writeSpans(this.#spans.values(), this.#stack, this.#sequence.state, save);
    const localSpans: [Id, Span][] = [];
    for (const { id, local } of this.#spans.values()) if (local !== undefined) localSpans.push([id, local]);
    this.#attempt(() => this.#relay.commit?.());
    this.#close();
    return { spans, localSpans };
  }

  /** Roll back, unless persisted: entered spans are exited, then the spans that this attempt opened are closed. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#errorBudget = MAX_ERRORS_PER_BATCH;
    this.#attempt(() => this.#relay.rollback?.());
    this.#exitEntered();
    for (const { uncommitted, local } of [...this.#spans.values()].reverse()) {
      if (uncommitted && local !== undefined) this.#attempt(() => this.#relay.tryClose(local, undefined));
    }
    this.#close();
  }

  // EventSink: what the decoder, `receive` or a sender joined without a tunnel calls.

  /** @throws ReceiveError "duplicate_batch", "receiver_closed" */
  batch(header: BatchHeader): void {
    if (this.#closed) throw new ReceiveError("receiver_closed", CLOSED);
    const loss = this.#sequence.see(header);
    this.#clock = header.clock;
    this.#attempt(() => this.#relay.timeBase?.(header.baseTimeUnixNano, header.clock));
    if (loss !== undefined) this.#lost(loss);
  }

  timeBase(unixNano: bigint): void {
    // The event that follows is refused.
    if (this.#closed) return;
    this.#attempt(() => this.#relay.timeBase?.(unixNano, this.#clock));
  }

  newCallSite(id: Id, data: CallSiteData, _time: EventTime): void {
    if (this.#isClosed()) return;
    const { maxCallSites } = this.#limits;
    const known = this.#callSites.get(id);
    if (this.#definitions >= maxCallSites && (known === undefined || known !== this.#arena.find(data))) {
      return this.#exceed("maxCallSites", this.#definitions + 1);
    }
    const callSite = this.#arena.tryIntern(this.#program, data, (fresh) => {
      this.#attempt(() => this.#relay.registerCallSite?.(fresh));
    });
    if (!(callSite instanceof CallSite)) return this.#refuse(callSite.code, callSite.reason);
    if (known !== callSite) {
      this.#definitions++;
      this.#callSites.set(id, callSite);
    }
    this.#events++;
  }

  newSpan(id: Id, parentId: Id | undefined, metadataId: Id, values: ValueColumns, time: EventTime): void {
    if (this.#isClosed() || this.#tooMany(values)) return;
    const known = this.#spans.get(id);
    if (known !== undefined) return this.#openAgain(known, parentId, metadataId, values, time);
    const callSite = this.#callSites.get(metadataId);
    if (callSite === undefined) return this.#unknownMetadata(metadataId);
    if (parentId !== undefined && this.#spans.get(parentId) === undefined) return this.#unknownSpan(parentId);
    if (this.#spans.size >= this.#limits.maxLiveSpans) return this.#exceed("maxLiveSpans", this.#spans.size + 1);
    const named = this.#spanValues(values, callSite, metadataId);
    if (named === undefined || !this.#reserve(undefined, named.size, named.bytes)) return;

    const span = new SpanState<Span>(id);
    span.open(metadataId, parentId, named);
    this.#spans.add(span);
    this.#createLocal(span, callSite, named.shape === undefined ? this.#declaredBy(callSite, named) : named, time);
    this.#events++;
  }

  /** A new span under the number of one that is there, as the crate has it: its data change, the relay's span stays. */
  #openAgain(span: SpanState<Span>, parentId: Id | undefined, metadataId: Id, values: ValueColumns, time: EventTime): void {
    const callSite = this.#callSites.get(metadataId);
    const isLocal = span.local !== undefined;
    // The relay's span is not made again, so nothing is asked about it.
    if (!isLocal) {
      if (callSite === undefined) return this.#unknownMetadata(metadataId);
      if (parentId !== undefined && this.#spans.get(parentId) === undefined) return this.#unknownSpan(parentId);
    }
    const { named } = this.#scratch ?? this.#ownScratch();
    const unknown = named.fill(values, callSite);
    if (unknown >= 0) return this.#unknownField(unknown, callSite, metadataId);
    if (!this.#reserve(span, named.size, named.bytes)) return;
    span.open(metadataId, parentId, named);
    if (!isLocal && callSite !== undefined) this.#createLocal(span, callSite, this.#declaredBy(callSite, named), time);
    this.#events++;
  }

  followsFrom(id: Id, followsFrom: Id, time: EventTime): void {
    if (this.#isClosed()) return;
    const span = this.#spans.get(id);
    if (span === undefined) return this.#unknownSpan(id);
    const followed = this.#spans.get(followsFrom);
    if (followed === undefined) return this.#unknownSpan(followsFrom);
    const extras = span.withExtras();
    if (extras.links >= this.#limits.maxLinksPerSpan) return this.#exceed("maxLinksPerSpan", extras.links + 1);
    extras.links++;
    this.#events++;
    if (span.local === undefined || followed.local === undefined) return;
    try {
      this.#relay.recordFollowsFrom(span.local, followed.local, time);
    } catch (error) {
      this.#relayFailed(error);
    }
  }

  spanEntered(id: Id, time: EventTime): void {
    if (this.#isClosed()) return;
    const span = this.#spans.get(id);
    if (span === undefined) return this.#unknownSpan(id);
    if (span.local === undefined) {
      const callSite = this.#callSites.get(span.metadataId);
      if (callSite === undefined) return this.#unknownMetadata(span.metadataId);
      if (span.parentId !== undefined && this.#spans.get(span.parentId) === undefined) return this.#unknownSpan(span.parentId);
      this.#createLocal(span, callSite, this.#declaredBy(callSite, span.values), time);
    }
    span.withExtras().entered = true;
    this.#stack.push(span);
    this.#events++;
    if (span.local === undefined) return;
    try {
      this.#relay.enter(span.local, time);
    } catch (error) {
      this.#relayFailed(error);
    }
  }

  spanExited(id: Id, time: EventTime): void {
    if (this.#isClosed()) return;
    const span = this.#spans.get(id);
    if (span === undefined) return this.#unknownSpan(id);
    if (span.extras !== undefined) span.extras.entered = false;
    this.#stack.remove(span);
    this.#events++;
    if (span.local === undefined) return;
    try {
      this.#relay.exit(span.local, time);
    } catch (error) {
      this.#relayFailed(error);
    }
  }

  spanCloned(id: Id, _time: EventTime): void {
    if (this.#isClosed()) return;
    const span = this.#spans.get(id);
    if (!span?.alive) return this.#unknownSpan(id);
    span.refCount++;
    this.#events++;
  }

  spanDropped(id: Id, time: EventTime): void {
    if (this.#isClosed()) return;
    const span = this.#spans.get(id);
    if (!span?.alive) return this.#unknownSpan(id);
    this.#events++;
    if (--span.refCount > 0) return;
    this.#spans.delete(span);
    this.#stack.remove(span);
    this.#valueBytes -= span.valueBytes;
    if (span.local === undefined) return;
    try {
      this.#relay.tryClose(span.local, time);
    } catch (error) {
      this.#relayFailed(error);
    }
  }

  valuesRecorded(id: Id, values: ValueColumns, time: EventTime): void {
    if (this.#isClosed() || this.#tooMany(values)) return;
    const span = this.#spans.get(id);
    if (!span?.alive) return this.#unknownSpan(id);
    const callSite = this.#callSites.get(span.metadataId);
    if (span.local !== undefined && callSite === undefined) return this.#unknownMetadata(span.metadataId);
    const { named } = this.#scratch ?? this.#ownScratch();
    const unknown = named.fill(values, callSite);
    if (unknown >= 0) return this.#unknownField(unknown, callSite, span.metadataId);
    if (!this.#merge(span, named)) return;
    this.#events++;
    if (span.local === undefined || callSite === undefined) return;
    try {
      this.#relay.record(span.local, this.#declaredBy(callSite, named), time);
    } catch (error) {
      this.#relayFailed(error);
    }
  }

  newEvent(metadataId: Id, parent: Id | undefined, values: ValueColumns, time: EventTime): void {
    if (this.#isClosed() || this.#tooMany(values)) return;
    const callSite = this.#callSites.get(metadataId);
    if (callSite === undefined) return this.#unknownMetadata(metadataId);
    const explicit = parent === undefined ? undefined : this.#spans.get(parent);
    if (parent !== undefined && explicit === undefined) return this.#unknownSpan(parent);
    const declared = this.#eventValues(values, callSite, metadataId);
    if (declared === undefined) return;
    const owner = explicit ?? this.#stack.innermost;
    if (owner !== undefined) {
      if (owner.events >= this.#limits.maxEventsPerSpan) return this.#exceed("maxEventsPerSpan", owner.events + 1);
      owner.events++;
    }
    this.#events++;
    try {
      this.#relay.event(callSite, declared, this.#parentOf(explicit), time);
    } catch (error) {
      this.#relayFailed(error);
    }
  }

  /** A new span's values, in memory of their own where they have a shape; `undefined` when they are refused. */
  #spanValues(values: ValueColumns, callSite: CallSite, metadataId: Id): NamedValues | undefined {
    const shape = callSite.shapeOf(values);
    const scratch = this.#scratch ?? this.#ownScratch();
    if (shape === undefined) return this.#anySpanValues(values, callSite, metadataId, scratch);
    const { size } = values;
    // Several times as fast as `slice` for the few values that a record has.
    const raws = new Array<RawValue>(size);
    let bytes = shape.fixedBytes;
    for (let i = 0; i < size; i++) {
      const raw = values.raws[i] as RawValue;
      raws[i] = raw;
      bytes += rawBytes(raw);
    }
    scratch.shaped.show(shape, raws, bytes);
    return scratch.shaped;
  }

  /** Those that the writer has fields of its own for, by name and by index at once, undeclared. */
  #anySpanValues(
    values: ValueColumns,
    callSite: CallSite,
    metadataId: Id,
    { named, shaped }: Scratch<Span>,
  ): NamedValues | undefined {
    const unknown = named.fill(values, callSite);
    if (unknown >= 0) {
      this.#unknownField(unknown, callSite, metadataId);
      return undefined;
    }
    const shape = callSite.shapeOf(named);
    if (shape === undefined) return named;
    shaped.show(shape, named.raws.slice(0, named.size), named.bytes);
    return shaped;
  }

  /** What of an event's values is relayed; `undefined` when they are refused. */
  #eventValues(values: ValueColumns, callSite: CallSite, metadataId: Id): RelayedValues | undefined {
    const { shaped, named } = this.#scratch ?? this.#ownScratch();
    const shape = callSite.shapeOf(values);
    if (shape !== undefined) {
      shaped.show(shape, values.raws, 0);
      return shaped;
    }
    const unknown = named.fill(values, callSite);
    if (unknown < 0) return this.#declaredBy(callSite, named);
    this.#unknownField(unknown, callSite, metadataId);
    return undefined;
  }

  #declaredBy(callSite: CallSite, values: TracedValues): RelayedValues {
    return declaredValues(values, callSite, (this.#scratch ?? this.#ownScratch()).declared);
  }

  #ownScratch(): Scratch<Span> {
    this.#scratch = new Scratch();
    return this.#scratch;
  }

  /** Work with the arena's scratch memory, unless there is one of its own. */
  #withScratch(work: (scratch: Scratch<Span>) => void): void {
    if (this.#scratch !== undefined) return work(this.#scratch);
    const pool = this.#arena.scratch;
    const scratch = pool.take<Span>();
    this.#scratch = scratch;
    try {
      work(scratch);
    } finally {
      this.#scratch = undefined;
      pool.giveBack(scratch);
    }
  }

  /** Lost parents count as contextual, as in the crate. */
  #parentOf(explicit: SpanState<Span> | undefined): { readonly span: Span | undefined; readonly explicit: boolean } {
    const local = explicit?.local;
    const { parent } = this.#scratch ?? this.#ownScratch();
    parent.explicit = local !== undefined;
    parent.span = local ?? this.#stack.innermost?.local;
    return parent;
  }

  #createLocal(span: SpanState<Span>, callSite: CallSite, values: RelayedValues, time: EventTime): void {
    const parent = span.parentId === undefined ? undefined : this.#spans.get(span.parentId);
    try {
      span.local = this.#relay.newSpan(callSite, span.id, values, this.#parentOf(parent), time);
    } catch (error) {
      this.#relayFailed(error);
    }
  }

  /** Add values to what a span has gathered, unless that breaks a budget. */
  #merge(span: SpanState<Span>, named: NamedValues): boolean {
    const values = span.ownValues();
    let bytes = span.valueBytes + named.bytes;
    let count = values.size;
    for (let i = 0; i < named.size; i++) {
      const at = values.indexOf(named.keys[i] as string);
      if (at < 0) count++;
      else bytes -= bytesAt(values, at);
    }
    if (!this.#reserve(span, count, bytes)) return false;
    for (let i = 0; i < named.size; i++) {
      values.set(named.keys[i] as string, named.kinds[i] as ValueKind, named.raws[i] as RawValue);
    }
    span.valueBytes = bytes;
    return true;
  }

  /**
   * Whether a span may have so many values, of so many bytes, which then count as kept. What is above a budget from before may
   * stay, but not grow.
   */
  #reserve(span: SpanState<Span> | undefined, count: number, bytes: number): boolean {
    const { maxValuesPerSpan, maxSpanValueBytes, maxLiveValueBytes } = this.#limits;
    const growth = bytes - (span?.valueBytes ?? 0);
    const total = this.#valueBytes + growth;
    if (count > maxValuesPerSpan && count > (span?.valueCount ?? 0)) this.#exceed("maxValuesPerSpan", count);
    else if (bytes > maxSpanValueBytes && growth > 0) this.#exceed("maxSpanValueBytes", bytes);
    else if (total > maxLiveValueBytes && growth > 0) this.#exceed("maxLiveValueBytes", total);
    else {
      this.#valueBytes = total;
      return true;
    }
    return false;
  }

  #restore(opened: readonly (readonly [id: Id, span: OpenSpan])[], localSpans: LocalSpans<Span>): void {
    for (const [id, saved] of opened) {
      const span = readSpan<Span>(id, saved, this.#callSites.get(saved.metadataId));
      this.#spans.add(span);
      this.#valueBytes += span.valueBytes;
    }
    for (const [id, local] of localSpans) {
      const known = this.#spans.get(id);
      const span = known ?? new SpanState<Span>(id);
      if (known === undefined) this.#spans.add(span);
      span.local = local;
    }
    const entered: [position: number, span: SpanState<Span>][] = [];
    for (const [id, { entered: position, relay }] of opened) {
      const span = this.#spans.get(id) as SpanState<Span>;
      this.#restoreLocal(span, relay);
      if (position !== undefined) entered.push([position, span]);
    }
    entered.sort(([a], [b]) => a - b);
    for (const [, span] of entered) this.#stack.push(span);
  }

  #restoreLocal(span: SpanState<Span>, saved: unknown): void {
    const callSite = this.#callSites.get(span.metadataId);
    if (this.#relay.restoreSpan === undefined || callSite === undefined) return;
    const { id, local } = span;
    const values = declaredValues(span.values, callSite, new TracedValues());
    span.local = this.#attempt(() => this.#relay.restoreSpan?.({ callSite, id, values, local, saved }));
  }

  #lost(loss: Loss): void {
    this.#lostBatches += loss.batches;
    this.#droppedEvents += loss.events;
    this.#announce = true;
    this.#attempt(() => this.#relay.loss?.(loss));
  }

  #exitEntered(): void {
    for (const { entered, local } of this.#stack) {
      if (entered && local !== undefined) this.#attempt(() => this.#relay.exit(local, undefined));
    }
  }

  #close(): void {
    this.#closed = true;
    this.#arena.release(this.#program);
  }

  #isClosed(): boolean {
    if (this.#closed) this.#refuse("receiver_closed", CLOSED);
    return this.#closed;
  }

  #tooMany(values: ValueColumns): boolean {
    const max = this.#limits.maxValuesPerRecord;
    const actual = values.size;
    if (actual <= max) return false;
    this.#refuse("too_many_values", `too many values provided (${actual}), should be no more than ${max}`, { max, actual });
    return true;
  }

  #unknownMetadata(id: Id): void {
    // Where it would be refused anyway, there is no use in hearing it again.
    if (this.#definitions < this.#limits.maxCallSites) this.#announce = true;
    this.#refuse("unknown_metadata_id", `unknown metadata ID: ${id}`, { id });
  }

  #unknownSpan(id: Id): void {
    this.#refuse("unknown_span_id", `unknown span ID: ${id}`, { id });
  }

  /** The guest may have defined the call site anew, in a batch that was lost. */
  #unknownField(index: number, callSite: CallSite | undefined, metadataId: Id): void {
    if (callSite === undefined) return this.#unknownMetadata(metadataId);
    this.#announce = true;
    this.#refuse("unknown_field", `the call site has no field ${index}`, { id: index });
  }

  #exceed(limit: keyof Limits, actual: number): void {
    const max = this.#limits[limit];
    this.#refuse("limit_exceeded", `${limit} is ${max}, this would be ${actual}`, { limit, max, actual });
  }

  #relayFailed(cause: unknown): void {
    this.#refuse("relay_failed", `the relay threw: ${cause instanceof Error ? cause.message : typeof cause}`, { cause });
  }

  /** Call the relay where speed does not matter. */
  #attempt<T>(call: () => T): T | undefined {
    try {
      return call();
    } catch (error) {
      this.#relayFailed(error);
      return undefined;
    }
  }

  #refuse(code: TunnelErrorCode, reason: string, detail?: ReceiveErrorDetail): void {
    if (this.#errorBudget > 0) this.#report(new ReceiveError(code, reason, detail));
    else this.#count(code);
  }

  #report(error: TunnelError): void {
    this.#count(error.code);
    this.#lastError = error;
    if (this.#errorBudget-- <= 0) return;
    try {
      this.#onError?.(error);
    } catch {
      // How a host reports is no reason to lose what the guest did.
    }
  }

  #count(code: TunnelErrorCode): void {
    this.#refused[code] = (this.#refused[code] ?? 0) + 1;
  }
}
