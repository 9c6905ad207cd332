import { type BatchHeader, DEFAULT_LIMITS, dispatchEvent, type Limits } from "@spanduct/protocol";
import { type SinkCall, sinkTo } from "../../support/sink-calls.ts";
import { parseJson } from "../../support/vector-streams.ts";

const UNLIMITED: Limits = {
  ...DEFAULT_LIMITS,
  maxStringBytes: 1e9,
  maxValuesPerRecord: 1e9,
  maxFieldsPerCallSite: 1e9,
  maxErrorDepth: 1e9,
};

/** What `JSON.parse` makes of JSON lines. V8's has its own ideas of keys with escapes now and then: those are not read. */
export function readJson(bytes: Uint8Array): readonly SinkCall[] | undefined {
  const text = Buffer.from(bytes).toString();
  if (text.includes("\\u")) return undefined;
  const calls: SinkCall[] = [];
  const sink = sinkTo((call) => calls.push(call));
  for (const line of text.split("\n")) {
    if (line.trim() === "") continue;
    const data = parseJson(line) as { readonly batch?: WrittenHeader };
    if (data.batch === undefined) dispatchEvent(data, sink, UNLIMITED);
    else calls.push(["batch", headerOf(data.batch)]);
  }
  return calls;
}

interface WrittenHeader {
  readonly version: number;
  readonly clock?: BatchHeader["clock"];
  readonly base_time_unix_nano?: number | bigint;
  readonly sequence?: number;
  readonly dropped_events?: number;
}

function headerOf({
  version,
  clock = "none",
  base_time_unix_nano: base = 0,
  sequence = 0,
  dropped_events: dropped = 0,
}: WrittenHeader): BatchHeader {
  return { version, clock, baseTimeUnixNano: BigInt(base), sequence, droppedEvents: dropped };
}
