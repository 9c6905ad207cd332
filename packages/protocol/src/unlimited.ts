import { DEFAULT_LIMITS, type Limits } from "./limits.ts";

/** For what this side made or kept itself: its size was checked when it came in. */
export const UNLIMITED: Limits = {
  ...DEFAULT_LIMITS,
  maxStringBytes: Number.POSITIVE_INFINITY,
  maxValuesPerRecord: Number.POSITIVE_INFINITY,
  maxFieldsPerCallSite: Number.POSITIVE_INFINITY,
  maxErrorDepth: Number.POSITIVE_INFINITY,
};
