/** Guest of the case `worker`: what happens is posted as it happens, an object for each record. */
import { parentPort } from "node:worker_threads";
import { record } from "../corpus.ts";

parentPort?.on("message", (count: number) => {
  const begin = performance.now();
  for (let i = 0; i < count; i++) {
    for (const message of record(i, performance.timeOrigin + performance.now())) parentPort?.postMessage(message);
  }
  parentPort?.postMessage({ busy: performance.now() - begin });
});
