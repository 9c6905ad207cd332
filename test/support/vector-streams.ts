import { globSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { type BatchHeader, DEFAULT_LIMITS, dispatchEvent, type Id, TracedValues, type ValueColumns } from "@spanduct/protocol";
import { type SinkCall, sinkTo } from "./sink-calls.ts";

const VECTORS = resolve(import.meta.dirname, "../vectors");
const HEADER: BatchHeader = { version: 1, clock: "none", baseTimeUnixNano: 0n, sequence: 0, droppedEvents: 0 };

/** The recorded streams and semantic cases, each as one batch; lines that are no events are left out. */
export function vectorStreams(): { readonly name: string; readonly calls: readonly SinkCall[] }[] {
  const names = globSync("{streams,semantics}/*.jsonl", { cwd: VECTORS }).sort();
  if (names.length === 0) throw new Error(`no vectors in ${VECTORS}`);
  return names.map((name) => {
    const calls: SinkCall[] = [["batch", HEADER]];
    const indexed = indexing((call) => calls.push(call));
    for (const line of readFileSync(join(VECTORS, name), "utf8").split("\n")) {
      if (line === "" || line.startsWith('{"$control"')) continue;
      dispatchEvent(parseJson(line), sinkTo(indexed), DEFAULT_LIMITS);
    }
    return { name, calls };
  });
}

/** JSON in which integers that are not safe become `bigint`. */
export function parseJson(text: string): unknown {
  return JSON.parse(text, ((_key: string, value: unknown, { source }: { source: string }) =>
    typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(source) ? BigInt(source) : value) as (
    key: string,
    value: unknown,
  ) => unknown);
}

/** Keys of declared values become indices, as our sender does it. */
export function indexing(onCall: (call: SinkCall) => void): (call: SinkCall) => void {
  const fieldsOfSite = new Map<Id, readonly string[]>();
  const siteOfSpan = new Map<Id, Id>();
  const index = (values: ValueColumns, site: Id | undefined): TracedValues => {
    const fields = (site === undefined ? undefined : fieldsOfSite.get(site)) ?? [];
    const result = new TracedValues();
    result.clear(fields);
    for (let i = 0; i < values.size; i++) {
      const name = values.keys[i] as string;
      const at = fields.indexOf(name);
      result.push(at < 0 ? name : at, values.kinds[i] as never, values.raws[i] as never);
    }
    return result;
  };
  return (call) => {
    switch (call[0]) {
      case "newCallSite":
        fieldsOfSite.set(call[1], call[2].fields);
        return onCall(call);
      case "newSpan":
        siteOfSpan.set(call[1], call[3]);
        return onCall(["newSpan", call[1], call[2], call[3], index(call[4], call[3]), call[5]]);
      case "valuesRecorded":
        return onCall(["valuesRecorded", call[1], index(call[2], siteOfSpan.get(call[1])), call[3]]);
      case "newEvent":
        return onCall(["newEvent", call[1], call[2], index(call[3], call[1]), call[4]]);
      default:
        return onCall(call);
    }
  };
}
