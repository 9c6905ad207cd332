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

const BY_LENGTH: readonly (readonly (keyof typeof Key)[])[] = [
  [],
  [],
  ["id"],
  ["int"],
  ["name", "kind", "bool", "file", "line", "type"],
  ["float", "u_int", "level", "error", "stack", "batch", "clock", "relay"],
  ["values", "object", "string", "parent", "target", "fields", "source"],
  ["message", "omitted", "version", "entered"],
  ["new_span", "sequence"],
  ["new_event", "parent_id", "ref_count"],
  [],
  ["metadata_id", "span_exited", "span_cloned", "module_path"],
  ["span_entered", "span_dropped", "follows_from"],
  ["new_call_site"],
  ["time_unix_nano", "dropped_events"],
  ["values_recorded"],
  [],
  [],
  [],
  ["base_time_unix_nano"],
];

/** The key whose name is the ASCII text `bytes[start, end)`. */
export function findKey(bytes: Uint8Array, start: number, end: number): Key {
  const candidates = BY_LENGTH[end - start];
  if (candidates === undefined) return Key.unknown;
  for (let i = 0; i < candidates.length; i++) {
    const name = candidates[i] as keyof typeof Key;
    let at = start;
    while (at < end && bytes[at] === name.charCodeAt(at - start)) at++;
    if (at === end) return Key[name];
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
