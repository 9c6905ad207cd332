import { type ChildProcess, type SpawnOptions, type StdioOptions, spawn } from "node:child_process";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import type { TracingEventReceiver } from "@spanduct/receiver";
import { type ByteStream, type RemoteEnd, type RemoteReceiver, streamReceiver } from "@spanduct/transport/stream";
import { commit, type Outcome, rollBack } from "../outcome.ts";
import { greetingContext, settle, type TraceRemoteOptions } from "../remote.ts";
import { CHANNEL } from "./channel.ts";

/** Options of `spawn`. */
export interface TraceProcessOptions extends Omit<SpawnOptions, "stdio">, TraceRemoteOptions {
  /** As of `spawn`; the tunnel takes the two descriptors beyond these. Default `["ignore", "inherit", "inherit"]`. */
  readonly stdio?: StdioOptions;
  /**
   * Where the tunnel goes: `descriptors` of its own are the default. `stdio` takes the guest's standard input and output, for guests
   * that get nothing else: behind `docker run -i`, `ssh`, `kubectl exec -i`. Who writes to standard output otherwise breaks it.
   */
  readonly channel?: "descriptors" | "stdio";
}

/** A process that runs. */
export interface TracedProcess<Span = unknown> {
  readonly child: ChildProcess;
  /** Resolves when the process has ended and all that it sent is taken in. Never rejects. */
  readonly outcome: Promise<Outcome<void, Span>>;
}

/**
 * Start a process whose `connect()` sends to `receiver`, and settle that when the process has ended and all that it sent has been
 * taken in: exit code 0 commits; an uncaught error, another exit code, a signal, and a command that cannot be started roll back. So
 * does a process that sends what is not a guest's, which is killed ("malformed", "unsupported_version", "limit_exceeded"), and one of
 * exit code 0 that did not say that this was all ("transport_closed").
 *
 * The guest need not be in JavaScript: the environment variable `SPANDUCT_CHANNEL` says where the tunnel is, `proto/README.md` what
 * to write there. A process that never writes to it has traced nothing, which is fine.
 */
export function traceProcess<Span>(
  command: string,
  args: readonly string[],
  receiver: TracingEventReceiver<Span>,
  options: TraceProcessOptions = {},
): TracedProcess<Span> {
  const { stdio, channel, maxBatchBytes, pump, ...spawnOptions } = options;
  const plan = channel === "stdio" ? throughStdio(stdio) : throughDescriptors(stdio);
  const child = spawn(command, args, {
    ...spawnOptions,
    stdio: plan.stdio,
    env: { ...(options.env ?? process.env), [CHANNEL]: plan.channel },
  });
  const tunnel = streamReceiver(plan.stream(child), (bytes) => receiver.receiveBatch(bytes), {
    ...(maxBatchBytes !== undefined && { maxBatchBytes }),
    ...(pump && { pump }),
    control: receiver.control(),
    context: greetingContext(receiver),
  });
  void tunnel.ended.then((end) => {
    if (isViolation(end)) child.kill("SIGKILL");
  });
  const outcome = new Promise<Outcome<void, Span>>((resolve) => {
    child.on("error", (error) => {
      // Else it could not be killed, or not be sent a message.
      if (child.pid === undefined) resolve(rollBack(receiver, error));
    });
    child.on("exit", async (exitCode, signal) => {
      const end = await endOf(tunnel);
      if (exitCode === 0 && end.kind === "silent") return resolve(commit(receiver, undefined));
      if (exitCode === 0 || end.kind === "failed" || isViolation(end)) return resolve(settle(end, receiver));
      const how = signal === null ? `ended with exit code ${exitCode}` : `was ended by ${signal}`;
      resolve(rollBack(receiver, new Error(`the process ${how}`)));
    });
  });
  return { child, outcome };
}

/** Where the tunnel goes. */
interface Plan {
  readonly stdio: StdioOptions;
  /** What the guest is told. */
  readonly channel: string;
  stream(child: ChildProcess): ByteStream;
}

function throughDescriptors(stdio: StdioOptions | undefined): Plan {
  const list = listOf(stdio);
  const input = list.length;
  const output = input + 1;
  return {
    // One each way: what a guest wrote can be read also when it is gone, and writing to it fails.
    stdio: [...list, "pipe", "pipe"],
    channel: `${input},${output}`,
    stream: ({ stdio: streams }) => ({ readable: streams[output as 4], writable: streams[input as 3] }) as ByteStream,
  };
}

function throughStdio(stdio: StdioOptions | undefined): Plan {
  const [, , ...others] = listOf(stdio);
  return {
    stdio: ["pipe", "pipe", ...others],
    channel: "0,1",
    stream: ({ stdin, stdout }) => ({ readable: stdout, writable: stdin }) as ByteStream,
  };
}

function listOf(stdio: StdioOptions = ["ignore", "inherit", "inherit"]): Exclude<StdioOptions, string>[number][] {
  return typeof stdio === "string"
    ? [stdio, stdio, stdio]
    : Array.from({ length: Math.max(stdio.length, 3) }, (_, i) => stdio[i]);
}

/** Whether the guest sent what a guest does not. */
function isViolation(end: RemoteEnd): boolean {
  return end.kind === "broken" && !end.error.code.startsWith("transport_");
}

/** How long nothing has to come of a process that has ended before nothing more is waited for. */
const QUIET_MS = 1000;
const CHECKS = 10;

/** Take in what is still on its way. A process of the guest's own can keep the tunnel open, and say nothing. */
async function endOf(tunnel: RemoteReceiver): Promise<RemoteEnd> {
  const over = new AbortController();
  void tunnel.ended.then(() => over.abort());
  let batches = -1;
  for (let quiet = 0; quiet < CHECKS && !over.signal.aborted; quiet++) {
    if (batches !== tunnel.stats.batches) quiet = 0;
    batches = tunnel.stats.batches;
    await sleep(QUIET_MS / CHECKS, undefined, { signal: over.signal }).catch(() => undefined);
  }
  tunnel.close();
  return tunnel.ended;
}
