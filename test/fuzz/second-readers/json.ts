import { type BatchHeader, DEFAULT_LIMITS, dispatchEvent, type Limits } from "@spanduct/protocol";
import { type SinkCall, sinkTo } from "../../support/sink-calls.ts";

const UNLIMITED: Limits = {
  ...DEFAULT_LIMITS,
  maxStringBytes: 1e9,
  maxValuesPerRecord: 1e9,
  maxFieldsPerCallSite: 1e9,
  maxErrorDepth: 1e9,
};

/** JSON lines as values, all of them first, then what they mean as event objects. */
export function readJson(bytes: Uint8Array): SinkCall[] {
  const calls: SinkCall[] = [];
  const sink = sinkTo((call) => calls.push(call));
  for (const line of Buffer.from(bytes).toString().split("\n")) {
    if (line.trim() === "") continue;
    const data = parse(line) as { readonly batch?: WrittenHeader };
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

function headerOf(written: WrittenHeader): BatchHeader {
  const { version, clock = "none", base_time_unix_nano: base = 0, sequence = 0, dropped_events: droppedEvents = 0 } = written;
  return { version, clock, baseTimeUnixNano: BigInt(base), sequence, droppedEvents };
}

const ESCAPES: { readonly [letter: string]: string } = { b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };

/** By the grammar; integers that are not safe are bigints. Not `JSON.parse`, which V8 has wrong for some keys with escapes. */
function parse(json: string): unknown {
  let at = 0;
  const space = (): void => {
    while (/[ \t\r\n]/.test(json[at] ?? "")) at++;
  };
  const next = (expected: string): void => {
    space();
    if (!json.startsWith(expected, at)) throw new SyntaxError(`no ${expected} at ${at}`);
    at += expected.length;
  };
  const is = (character: string): boolean => {
    space();
    return json[at] === character;
  };
  const text = (): string => {
    next('"');
    let result = "";
    for (; json[at] !== '"'; at++) {
      const character = json[at];
      if (character === undefined || character < " ") throw new SyntaxError(`no string at ${at}`);
      if (character !== "\\") {
        result += character;
        continue;
      }
      const letter = json[++at] as string;
      if (letter === "u") {
        result += String.fromCharCode(Number.parseInt(json.slice(at + 1, at + 5), 16));
        at += 4;
      } else {
        result += ESCAPES[letter] ?? letter;
      }
    }
    at++;
    return result;
  };
  const list = (end: string, item: () => void): void => {
    at++;
    for (let first = true; !is(end); first = false) {
      if (!first) next(",");
      item();
    }
    at++;
  };
  const value = (): unknown => {
    if (is('"')) return text();
    if (is("{")) {
      const entries: [string, unknown][] = [];
      list("}", () => {
        const key = text();
        next(":");
        entries.push([key, value()]);
      });
      return Object.fromEntries(entries);
    }
    if (is("[")) {
      const items: unknown[] = [];
      list("]", () => items.push(value()));
      return items;
    }
    const [token = ""] = /^(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null)/.exec(json.slice(at)) ?? [];
    next(token);
    if (token === "" || token === "null") return null;
    if (token === "true" || token === "false") return token === "true";
    const number = Number(token);
    return Number.isSafeInteger(number) || !/^-?\d+$/.test(token) ? number : BigInt(token);
  };
  const result = value();
  space();
  if (at < json.length) throw new SyntaxError(`more at ${at}`);
  return result;
}
