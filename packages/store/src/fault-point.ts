/** The transactions of a store. */
export type Transaction =
  | "migrate"
  | "acquire"
  | "renew"
  | "commit"
  | "roll back"
  | "unpark"
  | "claim"
  | "acknowledge"
  | "postpone"
  | "prune";

/**
 * A place in the code of a store where tests let something fail: before a transaction, in it after what is named, and after it is
 * committed. Of an export `delivered` says that what was claimed is out and not yet acknowledged.
 */
export type FaultPoint =
  | `${Transaction}:${"before" | "after"}`
  | "migrate:written"
  | "acquire:written"
  | `commit:${"program" | "execution" | "state" | "outbox"}`
  | `roll back:${"outbox" | "execution"}`
  | "claim:written"
  | "acknowledge:written"
  | `prune:${"executions" | "programs"}`
  | `export:${"before" | "delivered"}`;

/** Called at every fault point by a store that is given one: may throw, or kill the process. Only tests give one. */
export type FaultHook = (point: FaultPoint) => void;
