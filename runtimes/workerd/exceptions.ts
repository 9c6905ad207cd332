import type { Exception } from "../../test/contract/sandbox.ts";

/** What Workers cannot do. */
export const EXCEPTIONS: readonly Exception[] = [
  { reason: "what a Worker does not yield after does not leave it, and only the platform ends it", programs: ["stuck"] },
];
