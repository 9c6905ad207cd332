// For everyone.
export type {
  CallSiteData,
  CallSiteKind,
  Id,
  Level,
  TracedError,
  TracedValue,
  TracedValueMap,
  TracingEvent,
  TracingEventKind,
} from "./event.ts";
export { DecodeError, isTunnelError, ReceiveError, TunnelError } from "./errors.ts";
export type { ReceiveErrorDetail, TunnelErrorCode } from "./errors.ts";
export { DEFAULT_LIMITS } from "./limits.ts";
export type { Limits } from "./limits.ts";
export { normalize } from "./normalize.ts";
export type { PersistedMetadata, PersistedSpan, PersistedSpans } from "./state.ts";
export type { TraceContext } from "./trace-context.ts";

// For authors of codecs, transports, senders and receivers.
export type { BatchDecoder, BatchEncoder, Codec } from "./codec.ts";
export { controlAnnounce, controlLevel, controlWord, isControlWord } from "./control.ts";
export { dispatchEvent } from "./dispatch.ts";
export { IdMap, SecretSource } from "./id-map.ts";
export { attemptKey, deriveKeys, IdPermutation, mix32, SPAN_IDS } from "./id-permutation.ts";
export { LevelNumber, levelFromNumber } from "./level.ts";
export { recordEvents } from "./recorder.ts";
export { FieldResolver } from "./resolve.ts";
export type { BatchHeader, ClockDomain, EventSink, EventTime } from "./sink.ts";
export type { OpenSpan } from "./state.ts";
export { readMetadata, readSpans } from "./state.ts";
export { BOOL, ERROR, FLOAT, INT, OBJECT, STRING, U_INT } from "./value-kinds.ts";
export { canonicalInteger, tagged, toValueMap, TracedValues, ValueKind, ValueList, valueName } from "./values.ts";
export type { RawValue, ValueColumns } from "./values.ts";
