import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";
import { TracingEventReceiver } from "@spanduct/receiver";
import { batches, TracingEventSender } from "@spanduct/sender";
import { summary } from "../measure.ts";
import type { Result } from "../result.ts";
import { NOTHING } from "./receive.ts";

const FOLDER = resolve(import.meta.dirname, "../../../../test/interop/rust");
const SPANS = 100_000;
const ROUNDS = 7;
const WARM_UP_ROUNDS = 3;

/** Nanoseconds per event of the genuine crate, native and optimised: sender, JSON, receiver. */
function crateRound(): number {
  const { status, stdout, stderr } = spawnSync(join(FOLDER, "target/release/round-trip"), [String(SPANS)], { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
  const { events, nanoseconds } = JSON.parse(stdout) as { readonly events: number; readonly nanoseconds: number };
  return nanoseconds / events;
}

/** The same stream: sender, protobuf, receiver. */
function ourRound(): number {
  const receiver = new TracingEventReceiver({}, {}, [], { relay: NOTHING });
  const sender = new TracingEventSender(batches((batch) => receiver.receiveBatch(batch)));
  const begin = performance.now();
  const job = sender.span({ name: "job", target: "bench", fields: ["index", "kind", "ratio"] });
  for (let i = 0; i < SPANS; i++) {
    const span = job.start({ index: i, kind: "batch", ratio: i / 2 });
    span.enter();
    span.exit();
    span.close();
  }
  sender.flush();
  const elapsed = performance.now() - begin;
  if (receiver.stats.events !== 4 * SPANS + 1) throw new Error(JSON.stringify(receiver.stats));
  return (elapsed * 1e6) / receiver.stats.events;
}

/** Beside the genuine Rust crate; nothing where cargo is not there. */
export function crate(): Result[] {
  const env = { ...process.env, CARGO_TARGET_DIR: join(FOLDER, "target") };
  const args = ["build", "--release", "--locked", "--quiet", "--bin", "round-trip"];
  const built = spawnSync("cargo", args, { cwd: FOLDER, env, encoding: "utf8" });
  if (built.status !== 0) {
    console.log(
      `the genuine crate: skipped, cargo does not build it here: ${built.error?.message ?? built.stderr.split("\n")[0]}`,
    );
    return [];
  }
  const rounds: [number, number][] = [];
  for (let i = 0; i < ROUNDS + WARM_UP_ROUNDS; i++) {
    const pair: [number, number] = [ourRound(), crateRound()];
    if (i >= WARM_UP_ROUNDS) rounds.push(pair);
  }
  const name = `stream of ${SPANS} spans, sender, protobuf, receiver | the genuine crate, native, with JSON`;
  return [{ name, unit: "ns/event", ...summary(rounds), target: 1 / 1.5 }];
}
