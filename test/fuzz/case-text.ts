import { TracedValues } from "@spanduct/protocol";

// Cases as text that people can read: JSON, in which an object with one key that begins with $ stands for what JSON has no word for.

/** The items of a case as text. */
export function printCase(items: readonly unknown[]): string {
  const lines = items.map((item) => `  ${JSON.stringify(wrap(item))}`);
  return `[\n${lines.join(",\n")}\n]\n`;
}

/** What `printCase` printed. */
export function parseCase(text: string): unknown[] {
  return unwrap(JSON.parse(text)) as unknown[];
}

function wrap(value: unknown): unknown {
  if (typeof value === "bigint") return { $bigint: String(value) };
  if (value === undefined) return { $undefined: true };
  if (typeof value === "number" && (!Number.isFinite(value) || Object.is(value, -0))) {
    return { $number: Object.is(value, -0) ? "-0" : String(value) };
  }
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString("hex") };
  if (value instanceof TracedValues) {
    const { fields, keys, kinds, raws, size } = value;
    return { $values: wrap({ fields, keys: keys.slice(0, size), kinds: kinds.slice(0, size), raws: raws.slice(0, size) }) };
  }
  if (Array.isArray(value)) return value.map(wrap);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, wrap(item)]));
}

function unwrap(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unwrap);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value);
  const [tag, content] = entries.length === 1 ? (entries[0] as [string, unknown]) : ["", undefined];
  switch (tag) {
    case "$bigint":
      return BigInt(content as string);
    case "$undefined":
      return undefined;
    case "$number":
      return Number(content);
    case "$bytes":
      return Uint8Array.from(Buffer.from(content as string, "hex"));
    case "$values": {
      const { fields, keys, kinds, raws } = unwrap(content) as TracedValues;
      const values = new TracedValues(keys, kinds, raws);
      values.fields = fields;
      return values;
    }
    default:
      return Object.fromEntries(entries.map(([key, item]) => [key, unwrap(item)]));
  }
}
