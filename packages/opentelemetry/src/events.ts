import type { Context, HrTime } from "@opentelemetry/api";
import { type RawValue, type TracedError, type TracedValues, ValueKind } from "@spanduct/protocol";
import { Attributed } from "./attributed.ts";
import { putValue, scalar, valueName } from "./attributes.ts";
import type { CallSitePlan } from "./call-site.ts";
import type { OutgoingLogRecord } from "./delivery.ts";
import { GuestEvent } from "./span.ts";

/** The field that is an event's text rather than one of its attributes. */
const MESSAGE = "message";

/** The conventional name of an event that is an error and nothing else. */
const EXCEPTION = "exception";

const NONE = Number.POSITIVE_INFINITY;

/**
 * An event as an event of a span. Its name is its message; without one `exception` when it carries an error, else the name of
 * its call site. A call site's own name that is not the event's goes into `event.name`.
 */
export function spanEvent(
  plan: CallSitePlan,
  values: TracedValues,
  time: HrTime,
  countLimit: number,
  lengthLimit: number,
): GuestEvent {
  const event = new GuestEvent(plan.eventAttributes, plan.givenName, time);
  const message = putEventValues(event, values, countLimit, lengthLimit);
  if (message !== undefined && message !== "") {
    event.name = String(message);
    if (plan.name !== undefined) event.put("event.name", plan.name, countLimit, lengthLimit);
  } else if (plan.name === undefined && errorOf(values) !== undefined) {
    event.name = EXCEPTION;
  }
  return event;
}

/**
 * An event as a log record: body is its message, `eventName` the name of its call site. One that Rust's macros made up is left
 * out, and an error without message is named `exception` instead. Limits are the logger provider's.
 */
export function logRecord(
  plan: CallSitePlan,
  values: TracedValues,
  time: HrTime,
  observed: HrTime,
  context: Context,
): OutgoingLogRecord {
  const target = new Attributed(plan.logAttributes);
  const body = putEventValues(target, values, NONE, NONE);
  const eventName = plan.name ?? (body === undefined && errorOf(values) !== undefined ? EXCEPTION : undefined);
  return {
    ...(eventName !== undefined && { eventName }),
    timestamp: time,
    observedTimestamp: observed,
    severityNumber: plan.severityNumber,
    severityText: plan.severityText,
    ...(body !== undefined && { body }),
    attributes: target.attributes,
    context,
  };
}

/** The first error among the values. */
export function errorOf({ size, kinds, raws }: TracedValues): TracedError | undefined {
  for (let i = 0; i < size; i++) if (kinds[i] === ValueKind.error) return raws[i] as TracedError;
  return undefined;
}

/** What a failed span says: its error's message, else the event's. */
export function failureMessage(values: TracedValues): string | undefined {
  const error = errorOf(values);
  if (error !== undefined) return error.message;
  for (let i = 0; i < values.size; i++) if (valueName(values, i) === MESSAGE) return String(scalar(values.raws[i] as RawValue));
  return undefined;
}

/** Attributes of all values but the message. @returns the message */
function putEventValues(
  target: Attributed,
  values: TracedValues,
  countLimit: number,
  lengthLimit: number,
): string | number | boolean | undefined {
  const { size, kinds, raws } = values;
  let message: string | number | boolean | undefined;
  for (let i = 0; i < size; i++) {
    const name = valueName(values, i);
    if (name === undefined) continue;
    const kind = kinds[i] as ValueKind;
    const raw = raws[i] as RawValue;
    if (name === MESSAGE && kind !== ValueKind.error) message = scalar(raw);
    else putValue(target, name, kind, raw, countLimit, lengthLimit);
  }
  return message;
}
