import type { Random } from "./random.ts";

/** Something that reads what a hostile side sends. One row in `targets.ts`. */
export interface Target<Item = unknown> {
  readonly name: string;
  /** What it checks, in a line. */
  readonly what: string;
  /** The input of one case. Any part of it, in the same order, is an input too, so that cases can be made smaller. */
  make(random: Random): Item[];
  /**
   * Feed the input. What it throws was found.
   *
   * @returns how many events were looked at: accepted or refused
   */
  run(items: readonly Item[]): number;
}

/** Where what is should be differs from what is. */
export class Violation extends Error {
  constructor(what: string, is?: unknown, shouldBe?: unknown) {
    const both = is === undefined && shouldBe === undefined ? "" : `\n  is        ${show(is)}\n  should be ${show(shouldBe)}`;
    super(what + both);
    this.name = "Violation";
  }
}

/** Fail unless both are the same data. */
export function same(what: string, is: unknown, shouldBe: unknown): void {
  if (Object.is(is, shouldBe)) return;
  const [one, other] = [show(is), show(shouldBe)];
  if (one !== other) throw new Violation(`${what} differs`, is, shouldBe);
}

/** Fail unless it holds. */
export function holds(what: string, condition: boolean): void {
  if (!condition) throw new Violation(what);
}

/** Data as text, different for different data; keys of objects in their order. */
export function show(data: unknown): string {
  return (
    JSON.stringify(data, (_key, value: unknown) => {
      if (typeof value === "bigint") return `${value}n`;
      if (typeof value === "number" && (!Number.isFinite(value) || Object.is(value, -0)))
        return Object.is(value, -0) ? "-0." : `${value}.`;
      return value;
    }) ?? "nothing"
  );
}
