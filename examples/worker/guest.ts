import { parentPort, workerData } from "node:worker_threads";
import { connect } from "@spanduct/sandbox/worker";

const tracing = connect({ captureConsole: true });
const resize = tracing.span({ name: "resize", fields: ["image", "bytes"] });

let total = 0;
for (const image of workerData.images) {
  using span = resize.enter({ image });
  const bytes = image.length * 1000;
  console.log(`made ${image} smaller`);
  span.record({ bytes });
  total += bytes;
}
parentPort?.postMessage(total);
