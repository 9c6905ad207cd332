import { globSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const VECTORS = resolve(import.meta.dirname, "../vectors");

/** One recorded run of the crate's receiver, with our deliberate differences applied. */
export interface Vector {
  /** Path without suffix, for instance `streams/fib-80`. */
  readonly name: string;
  readonly input: Uint8Array;
  /** Lines of output. */
  readonly expected: readonly string[];
}

/** What our JSON reader is to make of a text. */
export interface Quirk {
  readonly in: string;
  /** How it is printed again. */
  readonly out?: string;
  /** It is refused; of our own refusals, part of the message. */
  readonly error?: string;
  readonly ours: boolean;
}

interface Difference {
  readonly name: string;
  readonly reason: string;
  readonly vectors: readonly { readonly file: string; readonly in: number; readonly ours: readonly string[] }[];
  readonly quirks: readonly Omit<Quirk, "ours">[];
}

/** What `differences.json` says. */
export const DIFFERENCES: readonly Difference[] = JSON.parse(readFileSync(join(VECTORS, "differences.json"), "utf8"));

/** All recorded runs. */
export function vectors(): Vector[] {
  return globSync("{streams,semantics}/*.jsonl", { cwd: VECTORS })
    .map((path) => path.replaceAll("\\", "/").replace(/\.jsonl$/, ""))
    .sort()
    .map((name) => ({
      name,
      input: readFileSync(join(VECTORS, `${name}.jsonl`)),
      expected: withDifferences(name, lines(`${name}.expected`)),
    }));
}

/** All recorded quirks of the JSON reader. */
export function quirks(): Quirk[] {
  const ours = new Map(DIFFERENCES.flatMap((difference) => difference.quirks).map((quirk) => [quirk.in, quirk]));
  return lines("json-quirks.jsonl").map((line) => {
    const quirk = JSON.parse(line) as Omit<Quirk, "ours">;
    return { ...(ours.get(quirk.in) ?? quirk), ours: ours.has(quirk.in) };
  });
}

/**
 * Output in the form that counts: exits of one drop or persist in any order, closes as well, and no wording of the crate's parser.
 */
export function comparable(output: readonly string[]): string[] {
  const result: string[] = [];
  let group: string[] = [];
  let groupKey = "";
  for (const line of output) {
    const { in: at, during, call, error } = JSON.parse(line) as { in: number; during: string; call?: string; error?: string };
    const key = during === "event" || call === undefined ? "" : `${at} ${during} ${call}`;
    if (key === "" || key !== groupKey) {
      result.push(...group.sort());
      group = [];
    }
    groupKey = key;
    group.push(error === "parse" ? line.replace(/"message":.*/, '"message":"…"}') : line);
  }
  return [...result, ...group.sort()];
}

function withDifferences(file: string, recorded: readonly string[]): string[] {
  const differing = DIFFERENCES.flatMap((difference) => difference.vectors).filter((vector) => vector.file === file);
  const result: string[] = [];
  const replaced = new Set<number>();
  for (const line of recorded) {
    const { in: at } = JSON.parse(line) as { in: number };
    const ours = differing.find((vector) => vector.in === at)?.ours;
    if (ours === undefined) result.push(line);
    else if (!replaced.has(at)) result.push(...ours);
    replaced.add(at);
  }
  const missing = differing.find((vector) => !replaced.has(vector.in));
  if (missing !== undefined) throw new Error(`${file} has no output for line ${missing.in}, which differences.json replaces`);
  return result;
}

function lines(path: string): string[] {
  return readFileSync(join(VECTORS, path), "utf8").trimEnd().split("\n");
}
