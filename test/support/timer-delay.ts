import process from "node:process";

/**
 * Wait for a timer.
 *
 * @returns milliseconds that it was late because of what this thread did: what other processes of the machine took is not counted, on
 * Node.js from 23.9 on
 */
export async function timerDelay(ms: number = 5): Promise<number> {
  const before = process.threadCpuUsage?.();
  const start = performance.now();
  await new Promise((resolve) => setTimeout(resolve, ms));
  const late = performance.now() - start - ms;
  if (before === undefined) return late;
  const { user, system } = process.threadCpuUsage(before);
  return Math.min(late, (user + system) / 1000);
}
