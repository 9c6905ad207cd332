import { traceWorker } from "@spanduct/sandbox/worker";
import { type Exception, sandboxContract } from "../../../test/contract/sandbox.ts";
import { programSource } from "../../../test/contract/sandbox-programs.ts";

/** The contract, for runtimes other than Node that have `node:worker_threads`. */
export function workerSuite(exceptions: readonly Exception[]): void {
  sandboxContract(
    "node:worker_threads",
    {
      run(program, receiver, stop) {
        const options = { workerData: { code: programSource(program) }, stdout: true, stderr: true };
        const { worker, outcome } = traceWorker(new URL("./guest.js", import.meta.url), receiver, options);
        stop.addEventListener("abort", () => worker.terminate());
        return outcome;
      },
    },
    exceptions,
  );
}
