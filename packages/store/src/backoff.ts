/** How often and how soon something is tried again. */
export interface RetryOptions {
  /** How often it is tried again after it failed. Default 8. */
  readonly attempts?: number;
  /** Milliseconds before the first time; twice as many before each further one. Default 50. */
  readonly firstMs?: number;
  /** Most that is ever waited, in milliseconds. Default 10000. */
  readonly maxMs?: number;
}

/**
 * How long to wait before trying again, in milliseconds: between half and all of what doubles with each failure, so that hosts that
 * failed together do not come back together.
 *
 * @param failures how many times it has failed, from 1
 * @param random a number from 0 up to 1
 */
export function backoffMs(failures: number, { firstMs = 50, maxMs = 10_000 }: RetryOptions, random: number): number {
  const most = Math.min(firstMs * 2 ** (failures - 1), maxMs);
  return most / 2 + (most / 2) * random;
}
