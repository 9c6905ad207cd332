import type { Context, HrTime } from "@opentelemetry/api";
import type { ValueColumns } from "@spanduct/protocol";
import { type AttributeMap, errorOf } from "./attribute-value.ts";
import { AttributeWriter } from "./attribute-writer.ts";
import type { CallSitePlan } from "./call-site.ts";
import type { OutgoingLogRecord } from "./delivery.ts";
import type { TimedEvent } from "./sdk.ts";

/** The conventional name of an event that is an error and nothing else. */
const EXCEPTION = "exception";

/** An event of a span, in the form that takes least memory. */
export class SpanEvent {
  readonly name: string;
  readonly seconds: number;
  readonly nanos: number;
  readonly attributes: AttributeMap;
  /** Only there when it is above 0. */
  declare readonly droppedAttributesCount?: number;

  constructor(name: string, seconds: number, nanos: number, attributes: AttributeMap, droppedAttributesCount: number) {
    this.name = name;
    this.seconds = seconds;
    this.nanos = nanos;
    this.attributes = attributes;
    if (droppedAttributesCount > 0) this.droppedAttributesCount = droppedAttributesCount;
  }

  get time(): HrTime {
    return [this.seconds, this.nanos];
  }

  /** The event as exporters read it. */
  get timed(): TimedEvent {
    const { name, time, attributes, droppedAttributesCount = 0 } = this;
    return { name, time, attributes, droppedAttributesCount };
  }
}

/**
 * An event as an event of a span. Its name is its message; without one `exception` when it carries an error and its call site has
 * no name of its own, else the name of its call site. That one is in `event.name` where events of the call site may have messages.
 */
export function spanEvent(
  writer: AttributeWriter,
  plan: CallSitePlan,
  values: ValueColumns,
  seconds: number,
  nanos: number,
): SpanEvent {
  const message = plan.eventAttributes.write(writer, values);
  let name = plan.givenName;
  if (message !== undefined && message !== "") name = typeof message === "string" ? message : String(message);
  else if (plan.name === undefined && errorOf(values) !== undefined) name = EXCEPTION;
  return new SpanEvent(name, seconds, nanos, writer.attributes, writer.dropped);
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
