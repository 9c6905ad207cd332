import { readFileSync } from "node:fs";
import { DEFAULT_LIMITS } from "@spanduct/protocol";
import { json } from "@spanduct/protocol/json";
import { compare } from "../measure.ts";
import type { Result } from "../result.ts";

const STREAM = new URL("../../../../test/vectors/streams/fib-80.jsonl", import.meta.url);

/** The JSON codec on a stream of the genuine crate's: read and written again. */
export function jsonCodec(): Result[] {
  const bytes = readFileSync(STREAM);
  const lines = bytes.toString().trimEnd().split("\n");
  const decoder = json.createDecoder(DEFAULT_LIMITS);
  const encoder = json.createEncoder();
  const comparison = compare(
    lines.length,
    {
      run() {
        encoder.batch({ version: 1, clock: "none", baseTimeUnixNano: 0n, sequence: 0, droppedEvents: 0 });
        decoder.decode(bytes, encoder, (error) => {
          throw error;
        });
        return encoder.finish().length;
      },
    },
    {
      run() {
        let length = 0;
        for (const line of lines) length += JSON.stringify(JSON.parse(line)).length;
        return length;
      },
    },
  );
  const name = "JSON codec, the crate's fib stream, bytes to bytes | JSON.parse + JSON.stringify, string to string";
  return [{ name, unit: "ns/event", ...comparison, target: 1.6 }];
}
