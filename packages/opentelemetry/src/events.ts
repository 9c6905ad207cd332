import type { Context, HrTime } from "@opentelemetry/api";
import type { RawValue, ValueColumns } from "@spanduct/protocol";
import type { ValueShape } from "@spanduct/receiver";
import { type AttributeMap, errorOf } from "./attribute-value.ts";
import { AttributeWriter } from "./attribute-writer.ts";
import type { CallSitePlan } from "./call-site.ts";
import type { OutgoingLogRecord } from "./delivery.ts";
import type { TimedEvent } from "./sdk.ts";

/** The conventional name of an event that is an error and nothing else. */
const EXCEPTION = "exception";

/** An event of a span, with all that exporters look for. */
export interface GivenEvent extends TimedEvent {
  attributes: AttributeMap;
  droppedAttributesCount: number;
}

/** An event of a guest's span, of which nobody has read anything yet. */
export class GuestEvent {
  readonly #plan: CallSitePlan;
  readonly #shape: ValueShape;
  readonly #raws: readonly RawValue[];
  readonly #seconds: number;
  readonly #nanos: number;

  /** @param raws lent */
  constructor(plan: CallSitePlan, shape: ValueShape, raws: readonly RawValue[], seconds: number, nanos: number) {
    this.#plan = plan;
    this.#shape = shape;
    const { length } = shape.keys;
    const kept = new Array<RawValue>(length);
    for (let i = 0; i < length; i++) kept[i] = raws[i] as RawValue;
    this.#raws = kept;
    this.#seconds = seconds;
    this.#nanos = nanos;
  }

  /** The event as exporters read it. */
  read(writer: AttributeWriter): GivenEvent {
    return spanEvent(writer, this.#plan, valuesOf(this.#shape, this.#raws), [this.#seconds, this.#nanos]);
  }
}

/** Values that were kept. */
export function valuesOf({ keys, kinds }: ValueShape, raws: readonly RawValue[]): ValueColumns {
  return { fields: NO_FIELDS, keys, kinds, raws, size: raws.length };
}

const NO_FIELDS: readonly string[] = [];

/**
 * An event as an event of a span. Its name is its message; without one `exception` when it carries an error and its call site has
 * no name of its own, else the name of its call site. That one is in `event.name` where events of the call site may have messages.
 */
export function spanEvent(writer: AttributeWriter, plan: CallSitePlan, values: ValueColumns, time: HrTime): GivenEvent {
  const message = plan.eventAttributes.write(writer, values);
  let name = plan.givenName;
  if (message !== undefined && message !== "") name = typeof message === "string" ? message : String(message);
  else if (plan.name === undefined && errorOf(values) !== undefined) name = EXCEPTION;
  return { name, time, attributes: writer.attributes, droppedAttributesCount: writer.dropped };
}

/**
 * An event as a log record: body is its message, `eventName` the name of its call site. One that Rust's macros made up is left
 * out, and an error without message is named `exception` instead. Limits are the logger provider's.
 */
export function logRecord(
  plan: CallSitePlan,
  values: ValueColumns,
  time: HrTime,
  observed: HrTime,
  context: Context,
): OutgoingLogRecord {
  const writer = new AttributeWriter(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
  const body = plan.logAttributes.write(writer, values);
  const eventName = plan.name ?? (body === undefined && errorOf(values) !== undefined ? EXCEPTION : undefined);
  return {
    ...(eventName !== undefined && { eventName }),
    timestamp: time,
    observedTimestamp: observed,
    severityNumber: plan.severityNumber,
    severityText: plan.severityText,
    ...(body !== undefined && { body }),
    attributes: writer.attributes,
    context,
  };
}
