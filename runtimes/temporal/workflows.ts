// Bundled into the isolate of Temporal's workflows.
import { connect } from "@spanduct/sandbox/temporal/workflow";
import * as api from "@spanduct/sender";
import {
  ApplicationFailure,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  defineUpdate,
  proxySinks,
  setHandler,
  sleep,
  uuid4,
} from "@temporalio/workflow";
import { PROGRAMS, type ProgramName } from "../../test/contract/sandbox-programs.ts";

const tracing = connect({ captureConsole: true });

/** Does what the contract's guests do. */
export async function contract(name: ProgramName): Promise<void> {
  for (const _ of PROGRAMS[name]({ ...api, tracing }) ?? []);
}

/** Sleeps, waits for a signal, and ends. Its spans come from four tasks. */
export async function order(item: string): Promise<string> {
  const site = tracing.span({ name: "order", fields: ["item", "approved"] });
  const note = tracing.event({ name: "note", fields: ["text"] });
  let approvedBy = "";
  setHandler(defineSignal<[string]>("approve"), (name) => {
    tracing.span({ name: "approve" }).run(undefined, () => {
      approvedBy = name;
    });
  });
  setHandler(defineQuery<string>("status"), () =>
    tracing.span({ name: "asked" }).run(undefined, () => {
      note.emit({ text: "somebody asks" });
      return `approved by ${approvedBy}`;
    }),
  );
  setHandler(
    defineUpdate<string, [string]>("rename"),
    (name: string) => tracing.span({ name: "rename", fields: ["name"] }).run({ name }, () => `now ${name}`),
    {
      validator: (_name: string) => {
        tracing.span({ name: "validate" }).start().close();
      },
    },
  );

  const span = site.enter({ item });
  tracing.span({ name: "prepare" }).run(undefined, () => undefined);
  await sleep("1 minute");
  note.emit({ text: "slept" });
  await condition(() => approvedBy !== "");
  span.record({ approved: approvedBy });
  tracing.span({ name: "ship" }).run(undefined, () => undefined);
  span.close();
  return "done";
}

/** Ends in the way that it is told to. */
export async function ending(how: "returns" | "fails" | "continues" | "breaks"): Promise<void> {
  tracing.span({ name: "forgotten" }).enter();
  tracing.span({ name: "deeper" }).start();
  if (how === "fails") throw ApplicationFailure.nonRetryable("no such order", "NotFound");
  if (how === "continues") await continueAsNew<typeof ending>("returns");
  if (how === "breaks") throw new TypeError("a bug", { cause: new Error("a typo") });
}

/** Says which headers it would send along. */
export async function propagating(): Promise<readonly unknown[]> {
  const seen: unknown[] = [tracing.traceparent()];
  const span = tracing.span({ name: "before" }).enter();
  seen.push(tracing.traceparent(span));
  await sleep("1 minute");
  span.close();
  tracing.span({ name: "after" }).run(undefined, (span) => seen.push(tracing.traceparent(span)));
  return seen;
}

/** Uses what has to be the same whenever it is replayed; traced or not. */
export async function deterministic(traced: boolean): Promise<readonly unknown[]> {
  const seen: unknown[] = [];
  const step = (name: string): void => {
    seen.push(name);
  };
  const span = traced ? tracing.span({ name: "step", fields: ["name"] }) : undefined;
  const one = async (name: string): Promise<void> => {
    const run = async (): Promise<void> => {
      await Promise.resolve();
      step(`${name}1`);
      await Promise.resolve();
      step(`${name}2`);
    };
    if (span === undefined) return run();
    const opened = span.start({ name });
    await run();
    opened.close();
  };
  await Promise.all([one("a"), one("b"), one("c")]);
  seen.push(Math.random(), uuid4(), Date.now());
  await sleep(1000);
  seen.push(Math.random(), Date.now());
  return seen;
}

/** Puts into the sink what does not belong there. */
export async function hostile(): Promise<void> {
  const { spanduct } = proxySinks<{ spanduct: { tell(message: unknown): void } }>();
  const junk = [undefined, null, 7, "text", [], {}, { kind: "begin" }, { kind: "begin", activation: "2" }, { kind: "nothing" }];
  for (const message of [...junk, { kind: "failed", error: { message: 5 } }, new Uint8Array([255, 255])]) spanduct.tell(message);
}
