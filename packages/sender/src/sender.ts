import { type Level, LevelNumber } from "@spanduct/protocol";
import { type CallSiteOptions, EventCallSite, SpanCallSite } from "./call-site.ts";
import type { Clock } from "./clock.ts";
import { Emitter } from "./emitter.ts";
import { eachEvent, type OnEvent, type SenderOutput } from "./output.ts";
import type { Span } from "./span.ts";

/** How a sender is set up. */
export interface SenderOptions {
  /** Default: none, and the host stamps events as they arrive. */
  readonly clock?: Clock;
  /** `target` of call sites that do not name one. Default `guest`. */
  readonly target?: string;
  /** The most verbose level to send until the host says otherwise. Default `trace`, everything. */
  readonly maxLevel?: Level | "off";
  /** Whether the host sees for itself what nobody catches in the guest, and traces it; then `captureErrors` does nothing. Default false. */
  readonly isWatched?: boolean;
}

/**
 * Guest side of the tunnel; one per guest. Synchronous and deterministic, and it never throws into the application: what cannot
 * be sent is counted, and the count travels in the next batch.
 */
export class TracingEventSender {
  /** @internal What the other entry points of this package write through. */
  readonly emitter: Emitter;
  /** See `SenderOptions.isWatched`. */
  readonly isWatched: boolean;
  readonly #target: string;

  /** @param output `batches(send)` for bytes, or a function that is called with every event object, as in the crate */
  constructor(output: SenderOutput | OnEvent, options: SenderOptions = {}) {
    const maxLevel = LevelNumber[options.maxLevel ?? "trace"];
    const to = typeof output === "function" ? eachEvent(output, (word) => this.control(word)) : output;
    this.emitter = new Emitter(to, options.clock, maxLevel);
    this.#target = options.target ?? "guest";
    this.isWatched = options.isWatched === true;
  }

  /** The most verbose level that is sent, 0 (off) to 5 (trace). */
  get maxLevel(): number {
    this.emitter.wants(5);
    return this.emitter.maxLevel;
  }

  /** Events that could not be made or delivered. The host learns of them with the next batch. */
  get droppedEvents(): number {
    return this.emitter.dropped;
  }

  /** Declare a call site that opens spans. Do it once, not at every use. */
  span<const Field extends string = never>(options: CallSiteOptions<Field>): SpanCallSite<Field> {
    return new SpanCallSite(this.emitter, this.#target, options);
  }

  /** Declare a call site that emits events. Do it once, not at every use. */
  event<const Field extends string = never>(options: CallSiteOptions<Field>): EventCallSite<Field> {
    return new EventCallSite(this.emitter, this.#target, options);
  }

  /**
   * The W3C header `traceparent` that makes what it is given to a child of `span` in the host's trace. Without a span, and for one
   * that is filtered or closed, of the host's span above the guest. `undefined` where that is not known, see `propagate`.
   */
  traceparent(span?: Span): string | undefined {
    return this.emitter.propagation?.traceparent(span?.id);
  }

  /** Deliver what is batched. Call it before the guest is left to itself: at the end of a task, a request, a step. */
  flush(): void {
    this.emitter.flush();
  }

  /** Take a control word that came on a way of its own, for instance on a port. Anything else is ignored. */
  control(word: unknown): void {
    this.emitter.control(word);
  }
}
