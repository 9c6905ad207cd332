import { appendFileSync } from "node:fs";
import type { FaultHook, StateStore } from "@spanduct/store";
import { impatient, type Script, ScriptedHost, workflow } from "../support/scripted-executions.ts";

/** What the hosts of the matrix work on: an execution that fails once on the way, and one with linked traces and pending spans. */
export const SCRIPTS: { readonly [id: string]: Script } = { plain: workflow(3), linked: workflow(2) };

/** When the first host lives, and when the one after it: later than every lease. */
export const FIRST_MS = 1_767_225_600_000;
export const SECOND_MS: number = FIRST_MS + 3_600_000;

/** A host that does the work of the matrix. */
export class Worker extends ScriptedHost {
  constructor(store: StateStore, startMs: number) {
    super(store, { environment: impatient(startMs) });
  }

  /** Everything, from wherever it was left. @param between called between any two things that it does */
  async work(between: () => void = () => undefined): Promise<void> {
    let hasFailed = false;
    const open = new Set(Object.keys(SCRIPTS));
    while (open.size > 0) {
      for (const id of open) {
        between();
        const script = SCRIPTS[id] as Script;
        const how = id === "linked" ? ({ traces: "linked", pendingSpans: true } as const) : {};
        if (id === "plain" && !hasFailed) {
          hasFailed = true;
          await this.step(id, script, { fail: new Error("no luck"), ...how }).catch(() => undefined);
          between();
        }
        if ((await this.step(id, script, how)).done) open.delete(id);
        between();
        await this.executions.drain();
      }
    }
    between();
  }
}

/**
 * The life of a host that is killed: in a process of its own.
 *
 * @param killAt the host dies when it comes to its nth place where it may
 * @param exportPath where its exporter puts what is exported, a span a line
 * @returns how many places it came to
 */
export async function liveAndDie(open: (faults: FaultHook) => StateStore, killAt: number, exportPath: string): Promise<number> {
  let places = 0;
  const mayDie = (): void => {
    if (++places === killAt) process.kill(process.pid, "SIGKILL");
  };
  const worker = new Worker(open(mayDie), FIRST_MS);
  const { exported } = worker;
  exported.push = (...spans) => {
    for (const span of spans) appendFileSync(exportPath, `${JSON.stringify(span)}\n`);
    return 0;
  };
  await worker.work(mayDie);
  await worker.executions.close();
  return places;
}
