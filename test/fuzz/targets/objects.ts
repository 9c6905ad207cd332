import { DEFAULT_LIMITS, DecodeError, dispatchEvent, type Limits, recordEvents, type TracingEvent } from "@spanduct/protocol";
import { decodeEvent, printEvent } from "@spanduct/protocol/json";
import { HOSTILE_NAMES } from "../../support/arbitrary-events.ts";
import { replay, type SinkCall, sinkTo } from "../../support/sink-calls.ts";
import { mutateCalls } from "../mutations.ts";
import type { Random } from "../random.ts";
import { anyLimits } from "../steps.ts";
import { holds, same, show, type Target } from "../target.ts";
import { check } from "./decoder.ts";

type Item = { readonly limits: Partial<Limits> } | { readonly event: unknown };

/** Event objects as a guest in the same realm, or a structured clone, may give them. */
export function objectsTarget(streams: readonly (readonly SinkCall[])[]): Target<Item> {
  return {
    name: "objects",
    what: "objects of any kind are whole events or a coded error, and the same event as JSON",
    make(random) {
      const items: Item[] = [{ limits: anyLimits(random) }];
      replay(
        mutateCalls(random, random.pick(streams), streams),
        recordEvents((event) => items.push({ event: random.oneIn(3) ? event : mutateData(random, event) })),
      );
      return items;
    },
    run(items) {
      const { limits: own } = items.find((item) => "limits" in item) ?? {};
      const limits = { ...DEFAULT_LIMITS, ...own, maxItemsPerBatch: DEFAULT_LIMITS.maxItemsPerBatch };
      let events = 0;
      for (const item of items) {
        if ("limits" in item) continue;
        events++;
        tryEvent(enchant(item.event), limits);
      }
      return events;
    },
  };
}

function tryEvent(event: unknown, limits: Limits): void {
  const calls: SinkCall[] = [];
  const sink = sinkTo((call) => calls.push(call));
  try {
    dispatchEvent(event, sink, limits);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    check({ calls: [], errors: [error] }, new Uint8Array(), limits);
    holds("of an event that is refused the sink sees nothing", calls.length === 0);
    return;
  }
  holds("the sink sees one event", calls.filter(([method]) => method !== "timeBase").length === 1);
  const text = show(calls);
  // JSON has no lone surrogates, and the checks are for what was read from bytes.
  if (!text.isWellFormed() || /\\ud[89a-f]/i.test(text)) return;
  check({ calls, errors: [] }, new Uint8Array(1), limits);
  const plain: SinkCall[] = [];
  dispatchEvent(
    ownData(event),
    sinkTo((call) => plain.push(call)),
    limits,
  );
  same("what its own properties say", plain, calls);
  const again: SinkCall[] = [];
  decodeEvent(
    printEvent(event as TracingEvent),
    sinkTo((call) => again.push(call)),
    limits,
  );
  same("what JSON makes of it", again.map(withoutFloats), calls.map(withoutFloats));
}

/** What lies in the object and those in it, and nothing that they inherit; deeper, and of longer lists, nobody looks. */
function ownData(data: unknown, depth = 200): unknown {
  if (typeof data !== "object" || data === null || depth === 0) return data;
  try {
    return ownDataOf(data, depth);
  } catch {
    // Of a getter or proxy where nobody looks: the event was accepted.
    return undefined;
  }
}

function ownDataOf(data: object, depth: number): unknown {
  if (Array.isArray(data)) return data.length > 100_000 ? [] : data.map((item) => ownData(item, depth - 1));
  return Object.fromEntries(
    Object.keys(data).map((key) => [key, ownData((data as { readonly [key: string]: unknown })[key], depth - 1)]),
  );
}

/** Numbers that JSON has no word for come back as text. */
function withoutFloats(call: SinkCall): unknown {
  return JSON.parse(
    show(call)
      .replace(/"(?:-?Infinity|NaN)\."/g, '"?"')
      .replace(/"(?:-?inf|NaN)"/g, '"?"')
      .replace(/"kinds":\[[\d,]*\]/, '"kinds":[]'),
  );
}

/** Stand for objects that data cannot say. */
const SPELLS = ["@throws", "@proxy", "@revoked", "@class", "@function", "@cycle", "@huge array", "@symbol", "@heir"];

const JUNK: readonly unknown[] = [
  null,
  undefined,
  true,
  0,
  -0,
  -1,
  1.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  2 ** 53 - 1,
  2 ** 53,
  2n ** 64n,
  -1n,
  2n ** 127n,
  "",
  "7",
  "\ud800",
  [],
  [1],
  {},
  { __proto__: null },
  "x".repeat(70_000),
  ...SPELLS,
];

/** `data` with something else somewhere. */
export function mutateData(random: Random, data: unknown): unknown {
  if (random.oneIn(8) || typeof data !== "object" || data === null) return random.pick(JUNK);
  if (Array.isArray(data)) {
    const at = random.below(data.length + 1);
    if (random.oneIn(3)) return data.toSpliced(at, random.below(3), random.pick(JUNK));
    return at < data.length ? data.with(at, mutateData(random, data[at])) : data;
  }
  const entries = Object.entries(data);
  const at = random.below(entries.length + 1);
  const [key, value] = entries[at] ?? [random.pick(HOSTILE_NAMES), random.pick(JUNK)];
  switch (random.below(6)) {
    case 0:
      return ofEntries(entries.toSpliced(at, 1));
    case 1:
      return ofEntries(entries.toSpliced(at, 1, [random.pick(HOSTILE_NAMES), value]));
    case 2:
      return ofEntries(entries.toSpliced(at, 0, [random.pick(HOSTILE_NAMES), random.pick(JUNK)]));
    default:
      return ofEntries(entries.toSpliced(at, 1, [key, mutateData(random, value)]));
  }
}

/** Own properties, also of the name `__proto__`. */
function ofEntries(entries: readonly (readonly [string, unknown])[]): object {
  return Object.fromEntries(entries);
}

/** The objects that the spells among the data stand for. */
function enchant(data: unknown): unknown {
  switch (data) {
    case "@throws":
      return Object.defineProperty({}, "int", {
        enumerable: true,
        get() {
          throw new Error("of the guest");
        },
      });
    case "@proxy":
      return new Proxy({ int: 1 }, { ownKeys: () => ["int", "__proto__"], get: () => 1 });
    case "@revoked": {
      const { proxy, revoke } = Proxy.revocable({}, {});
      revoke();
      return proxy;
    }
    case "@class":
      return new (class {
        int = 1;
        readonly self = this;
      })();
    case "@function":
      return () => 1;
    case "@cycle": {
      const error: { message: string; source?: unknown } = { message: "again" };
      error.source = error;
      return error;
    }
    case "@huge array":
      return Object.assign([], { length: 2 ** 32 - 1 });
    case "@heir":
      return Object.create({ id: 1, metadata_id: 1, values: {}, message: "m", source: null, int: 1, new_event: {} });
    case "@symbol":
      return Symbol("of the guest");
  }
  if (Array.isArray(data)) return data.map(enchant);
  if (typeof data !== "object" || data === null) return data;
  return Object.fromEntries(Object.entries(data).map(([key, item]) => [key, enchant(item)]));
}
