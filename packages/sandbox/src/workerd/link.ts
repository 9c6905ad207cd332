import type { TraceContext } from "@spanduct/protocol";
import type { PlainError } from "../plain-error.ts";

/** What a guest has to know at the begin of a run. */
export interface Greeting {
  /** Control word to begin with. */
  readonly control: number;
  readonly traceContext?: TraceContext | undefined;
}

/**
 * What a guest tells its host: a batch, or what ended the run, just before it ends. The answer to a batch is a control word. To the
 * host these are claims: it is called with anything.
 */
export type Tell = (message: Uint8Array | PlainError) => number | PromiseLike<unknown>;

/** The argument of the RPC method `spanduct` of a traced Worker: a call of one of its own methods, and the way back. */
export interface TracedCall extends Greeting {
  readonly method: string;
  readonly argument: unknown;
  /** Belongs to this run and to nothing else. */
  readonly tell: Tell;
}

/** What `spanduct` returns. */
export interface TracedAnswer {
  /** What the method returned. */
  readonly value: unknown;
  /** What was batched last, which so costs no call of its own. */
  readonly batches: readonly Uint8Array[];
  /** There when the guest has handed promises to `ctx.waitUntil`: resolves once they have, again to what was batched last. */
  readonly end?: () => PromiseLike<readonly Uint8Array[]>;
}

/**
 * Where there is no RPC, a request to the guest has this header: an `HttpGreeting` as JSON. The guest tells its host by
 * `POST http://spanduct/<run>`: a batch, or a `PlainError` as JSON; the answer's text is a control word.
 */
export const HEADER = "spanduct";

/** A greeting, and the name of the run. */
export interface HttpGreeting extends Greeting {
  readonly run: string;
}

/** Content type of a `PlainError`. */
export const ERROR_TYPE = "application/json";
