import { createHash } from "node:crypto";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseCase, printCase } from "./case-text.ts";
import { kindOf, minimize } from "./minimize.ts";
import { Pristine } from "./pristine.ts";
import { Random } from "./random.ts";
import type { Target } from "./target.ts";

const CORPUS = resolve(import.meta.dirname, "corpus");

/** The input of one case. @param seed of the run */
export function makeCase(target: Target, seed: string, number: number): unknown[] {
  return target.make(new Random(`${seed} ${target.name} ${number}`));
}

/** Something that was found. */
export interface Finding {
  readonly target: Target;
  readonly items: readonly unknown[];
  readonly failure: unknown;
  /** How to see it again. */
  readonly command: string;
}

/** A case that keeps the processor for longer than this every time is found, too. */
const MAX_MILLISECONDS = 500;

/** Runs cases of one target, one after the other. */
export class Campaign {
  readonly target: Target;
  readonly #seed: string;
  readonly #pristine = new Pristine();
  readonly #kinds: Set<string> = new Set();
  cases = 0;
  events = 0;
  milliseconds = 0;
  /** Of the slowest case. */
  slowest = 0;
  readonly findings: Finding[] = [];

  constructor(target: Target, seed: string) {
    this.target = target;
    this.#seed = seed;
  }

  /** Run the next case. @returns what it found, if nothing of its kind was found before */
  next(): Finding | undefined {
    const number = this.cases++;
    const begin = performance.now();
    const items = makeCase(this.target, this.#seed, number);
    const made = performance.now();
    let failure: unknown;
    try {
      this.events += this.target.run(items);
      this.#pristine.check();
    } catch (error) {
      failure = error ?? new Error("nothing was thrown");
    }
    const end = performance.now();
    this.milliseconds += end - begin;
    this.slowest = Math.max(this.slowest, end - made);
    if (failure === undefined && end - made > MAX_MILLISECONDS) failure = this.#slow(items);
    if (failure === undefined) return undefined;
    const command = `pnpm fuzz --seed ${this.#seed} --case ${number} ${this.target.name}`;
    const finding: Finding = { target: this.target, items, failure, command };
    this.findings.push(finding);
    const kind = kindOf(failure);
    if (this.#kinds.has(kind)) return undefined;
    this.#kinds.add(kind);
    return finding;
  }

  /** Other processes and collectors of garbage can make any case slow, but not every time. */
  #slow(items: readonly unknown[]): Error | undefined {
    for (let times = 0; times < 3; times++) {
      const before = process.cpuUsage();
      this.target.run(items);
      const { user, system } = process.cpuUsage(before);
      if (user + system < MAX_MILLISECONDS * 1000) return undefined;
    }
    return new Error(`a case takes more than ${MAX_MILLISECONDS} ms`);
  }
}

/** Put a finding, made as small as it gets, into the corpus. @returns the file */
export function keep({ target, items }: Finding): string {
  const text = printCase(minimize(target, items));
  const path = join(CORPUS, `${target.name}-${createHash("sha256").update(text).digest("hex").slice(0, 8)}.json`);
  writeFileSync(path, text);
  return path;
}

/** The cases of the corpus: `<target>-<hash>.json`. */
export function corpus(): readonly { readonly file: string; readonly target: string; readonly items: readonly unknown[] }[] {
  return globSync("*.json", { cwd: CORPUS })
    .sort()
    .map((file) => ({ file, target: file.split("-")[0] as string, items: parseCase(readFileSync(join(CORPUS, file), "utf8")) }));
}
