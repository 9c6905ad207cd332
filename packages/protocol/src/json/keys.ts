/**
 * Names that the protocol gives to keys, as small numbers. Those below 32 are members of objects and double as bits of a set;
 * `follows_from` is a kind of event, too.
 */
export const Key = {
  unknown: 0,
  id: 1,
  metadata_id: 2,
  parent_id: 3,
  parent: 4,
  follows_from: 5,
  values: 6,
  time_unix_nano: 7,
  kind: 8,
  name: 9,
  target: 10,
  level: 11,
  module_path: 12,
  file: 13,
  line: 14,
  fields: 15,
  message: 16,
  source: 17,
  type: 18,
  stack: 19,
  omitted: 20,
  version: 21,
  clock: 22,
  base_time_unix_nano: 23,
  sequence: 24,
  dropped_events: 25,
  ref_count: 26,
  entered: 27,
  relay: 28,
  new_call_site: 32,
  new_span: 33,
  span_entered: 34,
  span_exited: 35,
  span_cloned: 36,
  span_dropped: 37,
  values_recorded: 38,
  new_event: 39,
  batch: 40,
  bool: 41,
  int: 42,
  u_int: 43,
  float: 44,
  string: 45,
  object: 46,
  error: 47,
} as const;
export type Key = (typeof Key)[keyof typeof Key];

interface Named {
  readonly name: string;
  readonly key: Key;
}

/** Keys by the length of their names, the frequent ones first. */
const BY_LENGTH: readonly (readonly Named[] | undefined)[] = [
  undefined,
  undefined,
  [{ name: "id", key: Key.id }],
  [{ name: "int", key: Key.int }],
  [
    { name: "name", key: Key.name },
    { name: "kind", key: Key.kind },
    { name: "bool", key: Key.bool },
    { name: "file", key: Key.file },
    { name: "line", key: Key.line },
    { name: "type", key: Key.type },
  ],
  [
    { name: "float", key: Key.float },
    { name: "u_int", key: Key.u_int },
    { name: "level", key: Key.level },
    { name: "error", key: Key.error },
    { name: "stack", key: Key.stack },
    { name: "batch", key: Key.batch },
    { name: "clock", key: Key.clock },
    { name: "relay", key: Key.relay },
  ],
  [
    { name: "values", key: Key.values },
    { name: "object", key: Key.object },
    { name: "string", key: Key.string },
    { name: "parent", key: Key.parent },
    { name: "target", key: Key.target },
    { name: "fields", key: Key.fields },
    { name: "source", key: Key.source },
  ],
  [
    { name: "message", key: Key.message },
    { name: "omitted", key: Key.omitted },
    { name: "version", key: Key.version },
    { name: "entered", key: Key.entered },
  ],
  [
    { name: "new_span", key: Key.new_span },
    { name: "sequence", key: Key.sequence },
  ],
  [
    { name: "new_event", key: Key.new_event },
    { name: "parent_id", key: Key.parent_id },
    { name: "ref_count", key: Key.ref_count },
  ],
  undefined,
  [
    { name: "metadata_id", key: Key.metadata_id },
    { name: "span_exited", key: Key.span_exited },
    { name: "span_cloned", key: Key.span_cloned },
    { name: "module_path", key: Key.module_path },
  ],
  [
    { name: "span_entered", key: Key.span_entered },
    { name: "span_dropped", key: Key.span_dropped },
    { name: "follows_from", key: Key.follows_from },
  ],
  [{ name: "new_call_site", key: Key.new_call_site }],
  [
    { name: "time_unix_nano", key: Key.time_unix_nano },
    { name: "dropped_events", key: Key.dropped_events },
  ],
  [{ name: "values_recorded", key: Key.values_recorded }],
  undefined,
  undefined,
  undefined,
  [{ name: "base_time_unix_nano", key: Key.base_time_unix_nano }],
];

/** The key whose name is the ASCII text `bytes[start, end)`. */
export function findKey(bytes: Uint8Array, start: number, end: number): Key {
  const length = end - start;
  const candidates = length < BY_LENGTH.length ? BY_LENGTH[length] : undefined;
  if (candidates === undefined) return Key.unknown;
  for (let i = 0; i < candidates.length; i++) {
    const { name, key } = candidates[i] as Named;
    let at = 0;
    while (at < length && bytes[start + at] === name.charCodeAt(at)) at++;
    if (at === length) return key;
  }
  return Key.unknown;
}

/** The set of these keys, all below 32. */
export function keySet(...keys: readonly Key[]): number {
  return keys.reduce<number>((set, key) => set | (1 << key), 0);
}

/** Name of the first key in a set. */
export function firstName(set: number): string {
  return Object.entries(Key).find(([, key]) => key < 32 && (set & (1 << key)) !== 0)?.[0] ?? "";
}
