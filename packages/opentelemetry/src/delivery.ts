import type { Context, HrTime, Span } from "@opentelemetry/api";
import type { AttributeMap } from "./attribute-value.ts";
import type { Logger, LogRecord, SpanProcessor } from "./sdk.ts";
import type { GuestSpan } from "./span.ts";

/** Something that goes out now or, when it is held, once the attempt is committed. */
export type Outgoing =
  | { readonly kind: "start"; readonly span: GuestSpan; readonly context: Context }
  | { readonly kind: "end"; readonly span: GuestSpan }
  | { readonly kind: "log"; readonly logger: Logger; readonly scope: string; readonly record: OutgoingLogRecord }
  | {
      readonly kind: "host event";
      /** The host's own span, for what happens outside of all guest spans. */
      readonly span: Span;
      readonly name: string;
      readonly attributes: AttributeMap;
      readonly time: HrTime;
    };

export type OutgoingLogRecord = LogRecord & { attributes: AttributeMap };

/** Where what an attempt does goes when nothing holds it back. */
export interface Outlet {
  start(span: GuestSpan, context: Context): void;
  /** A span has been closed. */
  end(span: GuestSpan): void;
  send(outgoing: Outgoing): void;
  /** Keep an error of the host's code, if it is the first. */
  fail(error: unknown): void;
  /** Throw the error that was kept, once. */
  throwFailure(): void;
}

/**
 * Hands spans to span processors and log records to loggers. What these throw does not stop anything: all of them get everything,
 * and the first error is kept for `throwFailure`.
 */
export class Delivery implements Outlet {
  readonly #processors: readonly SpanProcessor[];
  #failed = false;
  #failure: unknown;

  constructor(processors: readonly SpanProcessor[]) {
    this.#processors = processors;
  }

  start(span: GuestSpan, context: Context): void {
    for (const processor of this.#processors) {
      try {
        processor.onStart(span, context);
      } catch (error) {
        this.fail(error);
      }
    }
  }

  end(span: GuestSpan): void {
    for (const processor of this.#processors) {
      if (processor.onEnding === undefined) continue;
      try {
        processor.onEnding(span);
      } catch (error) {
        this.fail(error);
      }
    }
    span.markEnded();
    for (const processor of this.#processors) {
      try {
        processor.onEnd(span);
      } catch (error) {
        this.fail(error);
      }
    }
  }

  send(outgoing: Outgoing): void {
    switch (outgoing.kind) {
      case "start":
        return this.start(outgoing.span, outgoing.context);
      case "end":
        return this.end(outgoing.span);
      default:
        try {
          if (outgoing.kind === "log") outgoing.logger.emit(outgoing.record);
          else outgoing.span.addEvent(outgoing.name, outgoing.attributes, outgoing.time);
        } catch (error) {
          this.fail(error);
        }
    }
  }

  fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#failure = error;
  }

  throwFailure(): void {
    if (!this.#failed) return;
    const failure = this.#failure;
    this.#failed = false;
    this.#failure = undefined;
    throw failure;
  }
}
