import { randomBytes, randomUUID } from "node:crypto";
import { hostname } from "node:os";

/** What a host takes from the machine. Tests give their own. */
export interface Environment {
  /** Milliseconds since the Unix epoch. */
  readonly nowMs: () => number;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** 64 random bits, for executions that are given no seed. */
  readonly seed: () => bigint;
  /** A text that nobody else has: names leases. */
  readonly unique: () => string;
  /** Resolves after `ms`, or when `signal` is aborted. `background`: it does not keep the process alive. */
  readonly wait: (ms: number, signal: AbortSignal, background?: "background") => Promise<void>;
}

/** That of the process. */
export const MACHINE: Environment = {
  nowMs: () => Date.now(),
  random: () => Math.random(),
  seed: () => randomBytes(8).readBigUInt64BE(),
  unique: () => randomUUID(),
  wait: (ms, signal, background) =>
    new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const timer = setTimeout(done, ms);
      if (background !== undefined) timer.unref();
      signal.addEventListener("abort", done, { once: true });
      function done(): void {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      }
    }),
};

/** Who this process is, for people who look at leases. */
export function hostName(): string {
  return `${hostname()}/${process.pid}`;
}
