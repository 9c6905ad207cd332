import { connect } from "@spanduct/sandbox/temporal/workflow";
import { condition, defineSignal, setHandler, sleep } from "@temporalio/workflow";

const tracing = connect({ captureConsole: true });

export async function order(item: string): Promise<string> {
  let approvedBy: string | undefined;
  setHandler(defineSignal<[string]>("approve"), (name) => {
    approvedBy = name;
  });

  const span = tracing.span({ name: "order", fields: ["item", "approvedBy"] }).enter({ item });
  tracing.span({ name: "reserve" }).run(undefined, () => undefined);
  await sleep("1 day");
  console.log("still nobody has approved");
  await condition(() => approvedBy !== undefined);
  span.record({ approvedBy });
  tracing.span({ name: "ship" }).run(undefined, () => undefined);
  span.close();
  return `${item} approved by ${approvedBy}`;
}
