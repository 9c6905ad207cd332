/** Guest of the case `worker`: spans through the tunnel. Told how many at each message, it answers with how long it was busy. */
import { parentPort } from "node:worker_threads";
import { connect } from "@spanduct/sandbox/worker";
import { three } from "../corpus.ts";

const tracing = connect();
const units = new Map<number, () => void>();
parentPort?.on("message", (count: number) => {
  const unit = units.get(count) ?? three(count).tunnel(tracing);
  units.set(count, unit);
  const begin = performance.now();
  unit();
  tracing.flush();
  parentPort?.postMessage({ busy: performance.now() - begin });
});
