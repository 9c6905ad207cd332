import type { TracedError, ValueColumns } from "@spanduct/protocol";
import type { AttributeMap } from "./attribute-value.ts";

// What things take in memory, about, in bytes: what guests choose two for each UTF-16 unit, and a little more than is measured for
// the rest.

/** An event without values, with what its call site says. */
export const EVENT_BYTES = 384;

export const LINK_BYTES = 192;

const VALUE_BYTES = 16;

/** Level, place, how long it was busy and idle; what is text in these is shared. */
const OWN_ATTRIBUTE_BYTES = 6 * VALUE_BYTES;

/** What keeping these values takes. */
export function valueBytes({ raws, size }: ValueColumns): number {
  let bytes = VALUE_BYTES * size;
  for (let i = 0; i < size; i++) {
    const raw = raws[i];
    if (typeof raw === "string") bytes += 2 * raw.length;
    else if (typeof raw === "object") bytes += errorBytes(raw);
  }
  return bytes;
}

/** Messages stand in the stack trace once more. */
function errorBytes(error: TracedError): number {
  let bytes = 0;
  for (let link: TracedError | null = error; link !== null; link = link.source) {
    bytes += VALUE_BYTES + 2 * (2 * link.message.length + (link.type?.length ?? 0) + (link.stack?.length ?? 0));
  }
  return bytes;
}

/** What the attributes of a span take that are made of these values, with what its call site and its end add. */
export function spanValueBytes(values: ValueColumns): number {
  return valueBytes(values) + OWN_ATTRIBUTE_BYTES;
}

/** What these attributes take. */
export function attributeBytes(attributes: Readonly<AttributeMap>): number {
  let bytes = 0;
  for (const name of Object.keys(attributes)) {
    bytes += VALUE_BYTES;
    const value = attributes[name];
    if (typeof value === "string") bytes += 2 * value.length;
    else if (Array.isArray(value))
      for (const item of value) bytes += VALUE_BYTES + (typeof item === "string" ? 2 * item.length : 0);
  }
  return bytes;
}
