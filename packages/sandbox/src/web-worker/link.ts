import type { TraceContext } from "@spanduct/protocol";
import type { WorkerRingOptions } from "../worker/ring.ts";

/**
 * What the host tells its guest before the guest's first line runs. It is part of the worker's name, the one thing besides its URL that
 * a worker can read at once.
 */
export interface WorkerLink {
  /** Control word to begin with. */
  readonly control: number;
  readonly traceContext: TraceContext | undefined;
  /** To be made by the guest, which cannot be given memory before it yields. */
  readonly ring: WorkerRingOptions | undefined;
}

const MARK = "spanduct:";

/** @param name what the worker is called otherwise */
export function nameWithLink(name: string, link: WorkerLink): string {
  return `${name} ${MARK}${JSON.stringify(link)}`.trimStart();
}

/** @param name of the worker, if the runtime says it */
export function linkOf(name: unknown): WorkerLink | undefined {
  if (typeof name !== "string") return undefined;
  const at = name.lastIndexOf(`${MARK}{"control"`);
  if (at < 0) return undefined;
  try {
    return JSON.parse(name.slice(at + MARK.length)) as WorkerLink;
  } catch {
    return undefined;
  }
}
