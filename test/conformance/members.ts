import { DEFAULT_LIMITS } from "@spanduct/protocol";
import { JsonScanner } from "../../packages/protocol/src/json/scanner.ts";

/** The members of a JSON object with their values as text, so that no digit is lost; `undefined` for anything else. */
export function members(line: Uint8Array): ReadonlyMap<string, string> | undefined {
  const found = new Map<string, string>();
  const scanner = new JsonScanner(DEFAULT_LIMITS);
  try {
    scanner.reset(line, 0, line.length);
    scanner.open("the line");
    while (scanner.more()) {
      const name = scanner.name();
      const start = scanner.offset;
      scanner.skip();
      found.set(name, Buffer.from(line.subarray(start, scanner.offset)).toString());
    }
    scanner.expectEnd();
    return found;
  } catch {
    return undefined;
  }
}
