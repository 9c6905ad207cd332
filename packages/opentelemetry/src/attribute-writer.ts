import type { AttributeMap, AttributeValue } from "./attribute-value.ts";

/** Attributes with how many they are and how many did not fit. */
export interface CountedAttributes {
  readonly attributes: AttributeMap;
  readonly count: number;
  readonly dropped: number;
}

export const NO_ATTRIBUTES: CountedAttributes = { attributes: {}, count: 0, dropped: 0 };

/** Writes attributes within limits, to one set after the other. Who calls `begin` or `resume` takes the results before the next. */
export class AttributeWriter {
  readonly #countLimit: number;
  readonly #lengthLimit: number;
  attributes: AttributeMap = {};
  count = 0;
  dropped = 0;

  /** @param lengthLimit UTF-16 units of a string value */
  constructor(countLimit: number, lengthLimit: number) {
    this.#countLimit = countLimit;
    this.#lengthLimit = lengthLimit;
  }

  /** Start a new set with what `template` has. */
  begin(template: CountedAttributes): void {
    this.attributes = { ...template.attributes };
    this.count = template.count;
    this.dropped = template.dropped;
  }

  /** Go on with a set that exists. */
  resume(attributes: AttributeMap, count: number, dropped: number): void {
    this.attributes = attributes;
    this.count = count;
    this.dropped = dropped;
  }

  /** Set an attribute, or count it as dropped: the empty name, as in the SDK, and a new name beyond the limit. */
  put(name: string, value: AttributeValue): void {
    const { attributes } = this;
    if (!Object.hasOwn(attributes, name)) {
      if (name === "" || this.count >= this.#countLimit) {
        this.dropped++;
        return;
      }
      this.count++;
    }
    setAttribute(attributes, name, this.cut(value));
  }

  /** `value` with strings, also those in arrays, of at most the limit's length. */
  cut(value: AttributeValue): AttributeValue {
    if (typeof value === "string") return this.cutText(value);
    if (typeof value !== "object" || typeof value[0] !== "string") return value;
    return (value as string[]).map((text) => this.cutText(text));
  }

  /** `text` of at most the limit's length. */
  cutText(text: string): string {
    return text.length > this.#lengthLimit ? text.substring(0, this.#lengthLimit) : text;
  }
}

/** Set an attribute whatever its name. */
export function setAttribute(attributes: AttributeMap, name: string, value: AttributeValue): void {
  if (name === "__proto__") {
    Object.defineProperty(attributes, name, { value, writable: true, enumerable: true, configurable: true });
  } else {
    attributes[name] = value;
  }
}
