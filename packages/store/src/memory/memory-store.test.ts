import type { FaultHook, StateStore } from "@spanduct/store";
import { memoryStore } from "@spanduct/store/memory";
import { storeContract } from "../../../../test/contract/store.ts";

storeContract("memoryStore", async () => {
  let faults: FaultHook | undefined;
  const store = memoryStore({ faults: (point) => faults?.(point) });
  return {
    host(hook) {
      faults ??= hook;
      return store;
    },
    async damage(id) {
      // The memory of the process is the store: what it gives out is a copy, so damage has to be committed.
      const { execution } = (await store.acquire({
        id,
        program: "",
        seed: "",
        lease: "damage",
        holder: "",
        nowMs: 0,
        untilMs: 1,
      })) as { execution: Required<NonNullable<Awaited<ReturnType<StateStore["load"]>>>> };
      await store.commit({
        id,
        lease: "damage",
        revision: execution.revision,
        status: "open",
        program: { name: execution.program, digest: execution.programDigest },
        state: { ...execution.state, snapshot: new Uint8Array([255]) },
        liveSpans: 0,
        outbox: [],
        nowMs: 0,
      });
    },
    dispose: async () => undefined,
  };
});
