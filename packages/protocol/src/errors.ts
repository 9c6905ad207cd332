import type { Id } from "./event.ts";
import type { Limits } from "./limits.ts";

/** Why something was refused. Codes are only ever added. */
export type TunnelErrorCode =
  /** The bytes, text or object are not an event or a batch. */
  | "malformed"
  /** Understood, but above one of the `Limits`. */
  | "limit_exceeded"
  /** A batch of a wire version, or stored data of a format or schema, that this build does not know; a runtime that is too old. */
  | "unsupported_version"
  /** More values in a record than `Limits.maxValuesPerRecord`. */
  | "too_many_values"
  /** A span or event of a call site that was never announced. */
  | "unknown_metadata_id"
  /** A span that was never opened, or is closed. */
  | "unknown_span_id"
  /** A value keyed by an index that its call site does not have. */
  | "unknown_field"
  /** Persisted state that no receiver can have written, or that belongs to something else. */
  | "snapshot_mismatch"
  /** A batch that was received already. */
  | "duplicate_batch"
  /** The receiver was persisted or disposed of and takes no more events. */
  | "receiver_closed"
  /** The relay, or something it drives, threw. */
  | "relay_failed"
  /** The other side of a transport is gone. */
  | "transport_closed"
  /** A transport could not deliver. */
  | "transport_failed"
  /** The guest of a sandbox is in a run with another receiver. */
  | "guest_busy"
  /** A store could not be read or written: disk full, connection lost, file damaged. */
  | "store_failed"
  /** Another host has gone on with the execution: what this one did is rolled back. */
  | "revision_conflict"
  /** Another host works on the execution. */
  | "execution_busy"
  /** The execution was taken aside because its state cannot be used. */
  | "execution_parked";

/** Base of every error that spanduct reports. `message` is `[code] reason`. */
export class TunnelError extends Error {
  readonly code: TunnelErrorCode;
  /** What is wrong, without the code in front. */
  readonly reason: string;

  constructor(code: TunnelErrorCode, reason: string, options?: { readonly cause?: unknown }) {
    super(`[${code}] ${reason}`, options);
    this.name = "TunnelError";
    this.code = code;
    this.reason = reason;
  }
}

/** Input that a decoder refuses. */
export class DecodeError extends TunnelError {
  /** Where in the input: a byte offset, or for event objects the position in the enclosing list (0 for a single one). */
  readonly offset: number;

  constructor(
    code: "malformed" | "limit_exceeded" | "unsupported_version",
    reason: string,
    offset: number,
    options?: { readonly cause?: unknown },
  ) {
    super(code, `${reason} at offset ${offset}`, options);
    this.name = "DecodeError";
    this.offset = offset;
  }
}

/** What a `ReceiveError` is about, beyond its code. */
export interface ReceiveErrorDetail {
  /** The call site, span or field index that was not found. */
  readonly id?: Id;
  /** The budget that was exceeded. */
  readonly limit?: keyof Limits;
  /** The budget's value. */
  readonly max?: number;
  /** What the guest asked for. */
  readonly actual?: number;
  readonly cause?: unknown;
}

/** An event that the receiver understood and refuses; its state is as if the event had never come. */
export class ReceiveError extends TunnelError {
  readonly id: Id | undefined;
  readonly limit: keyof Limits | undefined;
  readonly max: number | undefined;
  readonly actual: number | undefined;

  constructor(code: TunnelErrorCode, reason: string, detail: ReceiveErrorDetail = {}) {
    super(code, reason, detail.cause === undefined ? undefined : { cause: detail.cause });
    this.name = "ReceiveError";
    this.id = detail.id;
    this.limit = detail.limit;
    this.max = detail.max;
    this.actual = detail.actual;
  }
}

const NAMES = new Set(["TunnelError", "DecodeError", "ReceiveError"]);

/** Whether `error` is one of ours, by name and code, so that two copies of this package agree. */
export function isTunnelError(error: unknown): error is TunnelError {
  if (typeof error !== "object" || error === null) return false;
  const { name, code } = error as { name?: unknown; code?: unknown };
  return typeof name === "string" && NAMES.has(name) && typeof code === "string";
}
