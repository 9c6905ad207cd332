/**
 * One of several hosts that work through the same executions, in a process of its own: now and then it is killed at a place where it
 * may be, or stops in the middle of an attempt (and says `paused`) until it is told to go on. Says `conflict` when it came too late.
 *
 *     node contention-child.ts <address> <seed> <executions> <lease, ms> <file for what is exported>
 */
import { appendFileSync, writeSync } from "node:fs";
import { FlushedSpanProcessor, OpenTelemetryRelay, type ReadableSpan } from "@spanduct/opentelemetry";
import { isTunnelError } from "@spanduct/protocol";
import { Executions } from "@spanduct/store";
import { spanData } from "../contract/opentelemetry/span-data.ts";
import { seedOf, workflow } from "../support/scripted-executions.ts";
import { openAddress } from "./address.ts";

const [address = "", seed = "", count = "", leaseMs = "", exportPath = ""] = process.argv.slice(2);
const KILLS = 1 / 2500;
const PAUSES = 1 / 200;
const FAILURES = 1 / 50;

let state = Number(seed);
/** Mulberry32. */
function random(): number {
  state = (state + 0x6d2b_79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}

const processor = new FlushedSpanProcessor({
  export(spans: readonly ReadableSpan[], done) {
    appendFileSync(exportPath, spans.map((span) => `${JSON.stringify(spanData(span))}\n`).join(""));
    done({ code: 0 });
  },
  shutdown: async () => undefined,
});
const executions = new Executions({
  store: openAddress(address, () => {
    if (random() < KILLS) process.kill(process.pid, "SIGKILL");
  }),
  relay: new OpenTelemetryRelay({ spanProcessors: [processor], clock: () => [1_767_312_000, 0] }),
  leaseMs: Number(leaseMs),
});

const script = workflow(2, 1);
const left = Array.from({ length: Number(count) }, (_, i) => `order ${i}`);

async function work(): Promise<void> {
  while (left.length > 0) {
    // All hosts are after the same few.
    const id = left[Math.floor(random() * Math.min(left.length, 24))] as string;
    try {
      const { done } = await executions.run(
        id,
        "script@1",
        async ({ receiver, snapshot }) => {
          const run = snapshot?.[0] ?? 0;
          for (const event of script[run] ?? []) receiver.receive(event);
          if (random() < PAUSES) {
            writeSync(1, "paused\n");
            process.kill(process.pid, "SIGSTOP");
          }
          if (random() < FAILURES) throw new Error("no luck");
          return { snapshot: new Uint8Array([run + 1]), done: run + 1 === script.length };
        },
        { seed: seedOf(id), ifBusy: "throw" },
      );
      const place = left.indexOf(id);
      if (done && place >= 0) left.splice(place, 1);
    } catch (error) {
      if (isTunnelError(error) && error.code === "revision_conflict") writeSync(1, "conflict\n");
      else if (!isTunnelError(error) && String(error) !== "Error: no luck") throw error;
    }
  }
}

// Several at a time, as hosts do.
await Promise.all(Array.from({ length: 4 }, work));
await executions.drain();
await executions.close();
