import { parentPort, workerData } from "node:worker_threads";
import { connect } from "@spanduct/sandbox/worker";

const tracing = connect();
const reduce = tracing.span({ name: "reduce", fields: ["n", "step"] });
const halve = tracing.event({ name: "halve", level: "debug", fields: ["n"] });
const other = tracing.event({ name: "times five, plus one", level: "debug", fields: ["n"] });

parentPort?.postMessage("at work");
for (const start of workerData.numbers) {
  using span = reduce.enter({ n: start });
  let step = 0;
  // Ends for 6. From 5 it gets into a circle, of which the first round is traced.
  for (let n = start; n !== 1; step++) {
    if (n % 2 === 0) {
      n /= 2;
      if (step < 12) halve.emit({ n });
    } else {
      n = 5 * n + 1;
      if (step < 12) other.emit({ n });
    }
  }
  span.record({ step });
}
