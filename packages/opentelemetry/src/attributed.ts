/** A value that both SDK lines keep, on spans, events, links and log records alike. */
export type AttributeValue = string | number | boolean | string[] | number[] | boolean[];

/** Attributes that a call site gives to everything it makes. */
export interface AttributeTemplate {
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  readonly count: number;
  /** How many did not fit the limit. */
  readonly dropped: number;
}

export const NO_ATTRIBUTES: AttributeTemplate = { attributes: {}, count: 0, dropped: 0 };

/** The first `countLimit` of `entries`, strings cut to `lengthLimit`. Names differ. */
export function attributeTemplate(
  entries: readonly (readonly [string, AttributeValue])[],
  countLimit: number,
  lengthLimit: number,
): AttributeTemplate {
  const target = new Attributed(NO_ATTRIBUTES);
  for (const [name, value] of entries) target.put(name, value, countLimit, lengthLimit);
  return { attributes: target.attributes, count: target.attributeCount, dropped: target.droppedAttributesCount };
}

/** Something that carries attributes within limits: a span, an event, a link, a log record. */
export class Attributed {
  /** A plain object; `__proto__` is a name like any other in it. */
  attributes: Record<string, AttributeValue>;
  droppedAttributesCount: number;
  #count: number;

  constructor(template: AttributeTemplate) {
    this.attributes = { ...template.attributes };
    this.droppedAttributesCount = template.dropped;
    this.#count = template.count;
  }

  /** How many attributes there are. */
  get attributeCount(): number {
    return this.#count;
  }

  /** Set an attribute, or count it as dropped: the empty name, as in the SDK, and a new name beyond `countLimit`. */
  put(name: string, value: AttributeValue, countLimit: number, lengthLimit: number): void {
    if (!Object.hasOwn(this.attributes, name)) {
      if (name === "" || this.#count >= countLimit) {
        this.droppedAttributesCount++;
        return;
      }
      this.#count++;
    }
    this.#set(name, cut(value, lengthLimit));
  }

  /** Set an attribute whatever the limits say. */
  force(name: string, value: AttributeValue): void {
    if (!Object.hasOwn(this.attributes, name)) this.#count++;
    this.#set(name, value);
  }

  /** Take over attributes as they are. */
  protected replaceAttributes(attributes: Record<string, AttributeValue>, dropped: number): void {
    this.attributes = attributes;
    this.droppedAttributesCount = dropped;
    this.#count = Object.keys(attributes).length;
  }

  #set(name: string, value: AttributeValue): void {
    if (name === "__proto__") {
      Object.defineProperty(this.attributes, name, { value, writable: true, enumerable: true, configurable: true });
    } else {
      this.attributes[name] = value;
    }
  }
}

/** `value` with strings, also those in arrays, of at most `lengthLimit` UTF-16 units. */
function cut(value: AttributeValue, lengthLimit: number): AttributeValue {
  if (typeof value === "string") return value.length > lengthLimit ? value.substring(0, lengthLimit) : value;
  if (Array.isArray(value) && typeof value[0] === "string") {
    return (value as string[]).map((text) => (text.length > lengthLimit ? text.substring(0, lengthLimit) : text));
  }
  return value;
}

/**
 * `value` as an attribute; `undefined` when it is of a kind that not both SDK lines keep (objects, bytes, null, mixed arrays,
 * bigints).
 */
export function attributeValue(value: unknown): AttributeValue | undefined {
  if (isScalar(value)) return value;
  if (!Array.isArray(value)) return undefined;
  const kind = typeof value[0];
  if (!value.every((item: unknown) => isScalar(item) && typeof item === kind)) return undefined;
  return value.slice() as string[];
}

function isScalar(value: unknown): value is string | number | boolean {
  return typeof value === "string" || typeof value === "number" || typeof value === "boolean";
}
