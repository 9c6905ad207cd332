/**
 * Number of a call site or of a span, as the guest chose it: an unsigned 64-bit integer. Canonical form: `number` when it is
 * a safe integer, else `bigint`, so that equal ids are equal `Map` keys.
 */
export type Id = number | bigint;

/** Verbosity of a call site, least verbose first. The names are those of Rust's `tracing`. */
export type Level = "error" | "warn" | "info" | "debug" | "trace";

/** What a call site makes: spans, or events. */
export type CallSiteKind = "span" | "event";

/** What never changes about one place in the guest's code that opens spans or emits events. */
export interface CallSiteData {
  readonly kind: CallSiteKind;
  readonly name: string;
  /** The part of the system it belongs to, for instance a module path. OpenTelemetry's instrumentation scope. */
  readonly target: string;
  readonly level: Level;
  readonly module_path?: string;
  readonly file?: string;
  /** Line in `file`, from 1; unsigned, 32 bits. */
  readonly line?: number;
  /** Names of the values that spans or events of this call site may carry. */
  readonly fields: readonly string[];
}

/**
 * An error with its chain of causes, outermost first. `message` and `source` are the crate's; the other keys are ours and a
 * genuine crate ignores them.
 */
export interface TracedError {
  readonly message: string;
  readonly source: TracedError | null;
  /** Class of the error, for instance `TypeError`. Becomes `exception.type`. */
  readonly type?: string;
  /** Stack trace in the guest's own format. Becomes `exception.stacktrace`. */
  readonly stack?: string;
  /** On the last link of a chain that was cut: how many further causes there were. */
  readonly omitted?: number;
}

/**
 * A value with its type, as it travels. `int` and `u_int` are 128 bits wide: `number` when safe, else `bigint`. `object` is the
 * debug form of something that has no type here.
 */
export type TracedValue =
  | { readonly bool: boolean }
  | { readonly int: number | bigint }
  | { readonly u_int: number | bigint }
  | { readonly float: number }
  | { readonly string: string }
  | { readonly object: string }
  | { readonly error: TracedError };

/** Values by field name, in the order the guest gave them. */
export type TracedValueMap = { readonly [name: string]: TracedValue };

interface Timed {
  /** When it happened: nanoseconds since the Unix epoch. Ours; a genuine crate ignores it. Absent: the host stamps it. */
  readonly time_unix_nano?: number | bigint;
}

/**
 * One tracing event: the JSON form of the Rust crate `tracing-tunnel`, so guests and hosts of either kind understand each
 * other. Exactly one key.
 */
export type TracingEvent =
  | { readonly new_call_site: Timed & CallSiteData & { readonly id: Id } }
  | {
      readonly new_span: Timed & {
        readonly id: Id;
        /** Absent: the contextual parent, that is the span entered last. */
        readonly parent_id?: Id;
        readonly metadata_id: Id;
        readonly values: TracedValueMap;
      };
    }
  | { readonly follows_from: Timed & { readonly id: Id; readonly follows_from: Id } }
  | { readonly span_entered: Timed & { readonly id: Id } }
  | { readonly span_exited: Timed & { readonly id: Id } }
  | { readonly span_cloned: Timed & { readonly id: Id } }
  | { readonly span_dropped: Timed & { readonly id: Id } }
  | { readonly values_recorded: Timed & { readonly id: Id; readonly values: TracedValueMap } }
  | {
      readonly new_event: Timed & {
        readonly metadata_id: Id;
        /** Absent: the contextual parent, that is the span entered last. */
        readonly parent?: Id;
        readonly values: TracedValueMap;
      };
    };

type KeyOfUnion<T> = T extends unknown ? keyof T : never;

/** Name of one of the nine kinds of event. */
export type TracingEventKind = KeyOfUnion<TracingEvent>;
