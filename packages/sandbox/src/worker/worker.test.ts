import { sandboxContract } from "../../../../test/contract/sandbox.ts";
import { programSource } from "../../../../test/contract/sandbox-programs.ts";
import { traceWorker } from "./host.ts";

const GUEST = JSON.stringify(new URL("../../dist/worker/index.js", import.meta.url).href);
const SENDER = JSON.stringify(import.meta.resolve("@spanduct/sender"));

/** A worker whose code finds `spanduct`. */
function script(source: string): string {
  return `(async () => {
    const { connect } = await import(${GUEST});
    const spanduct = { ...(await import(${SENDER})), tracing: connect({ captureConsole: true }) };
    ${source}
  })()`;
}

sandboxContract("worker", {
  run(program, receiver, stop) {
    const { worker, outcome } = traceWorker(script(programSource(program)), receiver, { eval: true, stdout: true, stderr: true });
    stop.addEventListener("abort", () => worker.terminate());
    return outcome;
  },
});
