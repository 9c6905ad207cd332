import { type RawValue, type TracedError, type ValueColumns, ValueKind } from "@spanduct/protocol";
import { type AttributeValue, scalar, valueName } from "./attribute-value.ts";
import { type AttributeWriter, type CountedAttributes, NO_ATTRIBUTES } from "./attribute-writer.ts";
import { putError } from "./exception.ts";

/** Looks at a value before it becomes an attribute and says whether it took it. */
export type TakeValue = (name: string, kind: ValueKind, raw: RawValue) => boolean;

/** What one call site's spans, events or log records carry: attributes that never change, then those made of values. */
export class AttributePlan {
  readonly #fixed: CountedAttributes;
  /** With room for every field, so that a record of them all gets its shape at once; `undefined` where names need a closer look. */
  readonly #full: CountedAttributes | undefined;
  readonly #fields: readonly string[];
  readonly #message: string | undefined;
  /** Where the message is among the fields, or -1. */
  readonly #messageAt: number;

  /**
   * @param fixed names differ
   * @param fields names that values may have
   * @param message the one of them that does not become an attribute
   * @param countLimit attributes that fit
   */
  constructor(
    writer: AttributeWriter,
    fixed: readonly (readonly [string, AttributeValue])[],
    fields: readonly string[],
    message: string | undefined,
    countLimit: number,
  ) {
    writer.begin(NO_ATTRIBUTES);
    for (const [name, value] of fixed) writer.put(name, value);
    this.#fixed = { attributes: writer.attributes, count: writer.count, dropped: writer.dropped };
    // Not the call site's own, which is frozen: engines read frozen arrays several times slower.
    this.#fields = [...fields];
    this.#message = message;
    this.#messageAt = message === undefined ? -1 : fields.indexOf(message);

    const { attributes, count, dropped } = this.#fixed;
    const names = fields.filter((name) => name !== message);
    const isPlain =
      new Set(fields).size === fields.length && !names.some((name) => needsCare(name) || Object.hasOwn(attributes, name));
    if (isPlain && count + names.length <= countLimit) {
      // Text, because places for numbers only would hold each float in memory of their own.
      const room = Object.fromEntries(names.map((name) => [name, ""]));
      this.#full = { attributes: { ...attributes, ...room }, count: count + names.length, dropped };
    }
  }

  /**
   * Write the attributes of a record.
   *
   * @returns the message
   */
  write(writer: AttributeWriter, values: ValueColumns, take?: TakeValue): string | number | boolean | undefined {
    const fields = this.#fields;
    if (this.#full === undefined || values.size !== fields.length) return this.#writeAny(writer, values, take);
    writer.begin(this.#full);
    const { attributes } = writer;
    const { keys, kinds, raws } = values;
    const messageAt = this.#messageAt;
    let message: string | number | boolean | undefined;
    for (let i = 0; i < fields.length; i++) {
      const name = fields[i] as string;
      // Values that are not just the fields in their order, or an error, which makes more attributes than there is room for.
      if (keys[i] !== name || kinds[i] === ValueKind.error) return this.#writeAny(writer, values, take);
      const value = scalar(raws[i] as RawValue);
      if (i === messageAt) message = value;
      else attributes[name] = typeof value === "string" ? writer.cutText(value) : value;
    }
    return message;
  }

  /** Write more values to what the writer has. Otherwise as `write`. */
  add(writer: AttributeWriter, values: ValueColumns, take?: TakeValue): string | number | boolean | undefined {
    const { size, kinds, raws } = values;
    let message: string | number | boolean | undefined;
    for (let i = 0; i < size; i++) {
      const name = valueName(values, i);
      if (name === undefined) continue;
      const kind = kinds[i] as ValueKind;
      const raw = raws[i] as RawValue;
      if (take?.(name, kind, raw) === true) continue;
      if (kind === ValueKind.error) putError(writer, name, raw as TracedError);
      else if (name === this.#message) message = scalar(raw);
      else writer.put(name, scalar(raw));
    }
    return message;
  }

  #writeAny(writer: AttributeWriter, values: ValueColumns, take: TakeValue | undefined): string | number | boolean | undefined {
    writer.begin(this.#fixed);
    return this.add(writer, values, take);
  }
}

/** Names that are dropped, mean something to the span, or that an object treats in its own way. */
function needsCare(name: string): boolean {
  return name === "" || name === "__proto__" || name.startsWith("otel.");
}
