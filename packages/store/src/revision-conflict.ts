import { TunnelError } from "@spanduct/protocol";

/** What a store throws when a commit comes too late. */
export function revisionConflict(id: string, revision: number): TunnelError {
  return new TunnelError("revision_conflict", `execution ${JSON.stringify(id)} has gone on from revision ${revision} elsewhere`);
}
