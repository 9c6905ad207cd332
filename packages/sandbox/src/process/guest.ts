import { readSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import process from "node:process";
import { isMainThread } from "node:worker_threads";
import { TracingEventSender } from "@spanduct/sender";
import { type DescriptorSender, descriptorSender } from "@spanduct/transport/descriptor";
import type { ConnectOptions } from "../guest-sender.ts";
import { follow, openSender, writeReason } from "../remote.ts";
import { CHANNEL } from "./channel.ts";

/** Where the sender of this process is kept, whichever copies of this package ask for it. */
const KEY = Symbol.for("@spanduct/sandbox/process");

/**
 * The sender of this process; the same one at every call, with the options of the first. Its clock is `performance`, and it delivers
 * what is batched when the process exits, also by `process.exit`. In a process that no `traceProcess` has started, in the workers
 * of one, and with a warning in Bun and Deno, a sender that is off.
 *
 * Where the tunnel goes through standard input and output, what is written to `process.stdout` goes to standard error from the first
 * call on.
 */
export function connect(options: ConnectOptions = {}): TracingEventSender {
  const scope = globalThis as { [KEY]?: TracingEventSender };
  scope[KEY] ??= open(options);
  return scope[KEY];
}

function open(options: ConnectOptions): TracingEventSender {
  const channel = process.env[CHANNEL];
  // Processes that this one starts are not the guest.
  delete process.env[CHANNEL];
  const isGuest = channel !== undefined && isMainThread && canReadWithoutWaiting();
  const remote = isGuest ? openChannel(channel) : undefined;
  if (remote === undefined) return new TracingEventSender(() => undefined, { maxLevel: "off" });
  const { tracing, flushLast } = openSender(remote, { ...options, isWatched: true });
  for (const end = performance.now() + HELLO_MS; remote.greeting === undefined && performance.now() < end; pause()) {
    remote.flush();
  }
  if (remote.greeting !== undefined) follow(tracing, remote.greeting);

  let failure: { readonly error: unknown } | undefined;
  process.on("uncaughtExceptionMonitor", (error) => {
    failure = { error };
  });
  process.on("exit", (exitCode) => {
    flushLast();
    void remote.close(exitCode !== 0 && failure !== undefined ? writeReason(failure.error) : undefined);
    deliver(remote);
  });
  return tracing;
}

/** A host says hello before it has started its guest; one that is stopped is not waited for. */
const HELLO_MS = 1000;
/** How long a guest that ends waits for a host that reads nothing. */
const LAST_WORDS_MS = 2000;
/** How often it is tried to write what had no room. */
const RETRY_MS = 5;

/** Bun and Deno cannot, and would wait for ever. */
function canReadWithoutWaiting(): boolean {
  const other = ["Bun", "Deno"].find((name) => name in globalThis);
  if (other === undefined) return true;
  process.emitWarning(
    `spanduct: nothing is traced, because ${other} cannot read a descriptor without waiting; connect by a socket`,
  );
  return false;
}

function openChannel(channel: string): DescriptorSender | undefined {
  const [input = Number.NaN, output = Number.NaN] = channel.split(",").map(Number);
  try {
    const sender = overDescriptors(input, output);
    if (output === 1) leaveStandardOutput();
    return sender;
  } catch {
    // The variable came from somewhere else than the descriptors did.
    return undefined;
  }
}

function leaveStandardOutput(): void {
  const { stderr } = process;
  Object.defineProperty(process, "stdout", { configurable: true, enumerable: true, get: () => stderr });
}

function overDescriptors(input: number, output: number): DescriptorSender {
  // Makes that nothing blocks, and is used for nothing else.
  for (const fd of new Set([input, output])) new Socket({ fd, readable: false });
  let isRetrying = false;
  const sender = descriptorSender({
    write(bytes) {
      const taken = unlessBusy(() => writeSync(output, bytes)) ?? 0;
      if (taken < bytes.length) retryLater();
      return taken;
    },
    read(bytes) {
      const count = unlessBusy(() => readSync(input, bytes));
      return count === 0 ? undefined : (count ?? 0);
    },
  });
  function retryLater(): void {
    if (isRetrying) return;
    isRetrying = true;
    const retry = setTimeout(() => {
      isRetrying = false;
      sender.flush();
    }, RETRY_MS);
    retry.unref();
  }
  return sender;
}

/** @returns `undefined` when it would have to wait */
function unlessBusy(action: () => number): number | undefined {
  try {
    return action();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EAGAIN") return undefined;
    throw error;
  }
}

/** Block until all is written, or the host has read nothing for too long. */
function deliver(remote: DescriptorSender): void {
  let least = Number.POSITIVE_INFINITY;
  let end = 0;
  for (let left = remote.flush(); left > 0; left = remote.flush()) {
    const now = performance.now();
    if (left < least) end = now + LAST_WORDS_MS;
    if (now >= end) return;
    least = left;
    pause();
  }
}

/** Block for a millisecond. */
function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
}
