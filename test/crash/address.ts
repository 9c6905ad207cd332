import type { FaultHook, StateStore } from "@spanduct/store";
import { sqliteStore } from "@spanduct/store/sqlite";

/** The store at an address: `sqlite:<path>`. */
export function openAddress(address: string, faults?: FaultHook): StateStore {
  const options = faults && { faults };
  if (address.startsWith("sqlite:")) return sqliteStore(address.slice("sqlite:".length), options);
  throw new Error(`no store at ${address}`);
}
