import { connect } from "@spanduct/sandbox/process";

const tracing = connect({ captureConsole: true });
const pack = tracing.span({ name: "pack", fields: ["order"] });
const order = Number(process.argv[2]);

pack.run({ order }, () => {
  console.log(`packing order ${order}`);
  if (order === 2) {
    tracing.flush();
    while (true); // The tape is stuck.
  }
});
