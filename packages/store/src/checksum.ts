import { createHash } from "node:crypto";
import type { StoredState } from "./state-store.ts";

/**
 * Of a state together with whose it is, so that neither damage nor the state of another execution, program or revision goes for it.
 *
 * @returns 64 hexadecimal digits
 */
export function checksum(id: string, program: string, revision: number, state: Omit<StoredState, "checksum">): string {
  const hash = createHash("sha256");
  for (const part of [id, program, String(revision), state.spans, state.ownMetadata ?? "", state.trace]) {
    hash.update(`${Buffer.byteLength(part)}:`).update(part);
  }
  if (state.snapshot !== undefined) hash.update("snapshot:").update(state.snapshot);
  return hash.digest("hex");
}

/** Of a text: the same for the same text only. 64 hexadecimal digits. */
export function digest(metadata: string): string {
  return createHash("sha256").update(metadata).digest("hex");
}
