import type { Level } from "./event.ts";

/** Levels as numbers: greater is more verbose, `off` lets nothing pass. The order of the wire and of the control word. */
export const LevelNumber: Readonly<Record<Level | "off", number>> = { off: 0, error: 1, warn: 2, info: 3, debug: 4, trace: 5 };

const NAMES: readonly Level[] = ["error", "warn", "info", "debug", "trace"];

/** The level with number `number` (1 to 5); `undefined` for any other number. */
export function levelFromNumber(number: number): Level | undefined {
  return NAMES[number - 1];
}
