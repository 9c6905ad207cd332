/**
 * Reads events on standard input, one JSON object a line, and prints for each line what was parsed, or `{"error": …}`.
 *
 *     pnpm --silent json-roundtrip < input
 */
import { DEFAULT_LIMITS } from "@spanduct/protocol";
import { decodeEvent, JsonEncoder } from "@spanduct/protocol/json";
import { readLines } from "./lines.ts";

/** The line printed for a line of input. */
export function roundtrip(line: Uint8Array): string {
  const printer = new JsonEncoder();
  try {
    decodeEvent(line, printer, DEFAULT_LIMITS);
  } catch (error) {
    return JSON.stringify({ error: (error as Error).message });
  }
  return Buffer.from(printer.finish()).toString().trimEnd();
}

if (import.meta.main) {
  for await (const line of readLines(process.stdin)) process.stdout.write(`${roundtrip(line)}\n`);
}
