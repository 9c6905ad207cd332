import type { ClockDomain } from "./sink.ts";

/** Clock domains as numbers of the binary wire forms. */
export const ClockNumber: Readonly<Record<ClockDomain, number>> = { wall: 1, frozen: 2, logical: 3, none: 4 };

const NAMES: readonly ClockDomain[] = ["wall", "frozen", "logical", "none"];

/** The clock domain with number `number` (1 to 4); `undefined` for any other number. */
export function clockFromNumber(number: number): ClockDomain | undefined {
  return NAMES[number - 1];
}
