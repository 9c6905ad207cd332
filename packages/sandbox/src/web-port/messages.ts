import type { TraceContext } from "@spanduct/protocol";
import type { PlainError } from "../plain-error.ts";

/** What is posted where the application posts as well: between a worker or a frame and its host. */
export type Greeting =
  /**
   * From the guest, with a port: its end of the tunnel, or where there is a ring of what is said besides. `again` if it has said so
   * before, and nobody may have listened.
   */
  | { readonly spanduct: "connect"; readonly again?: boolean; readonly ring?: Uint8Array }
  /** From the host of a frame, which may have begun to listen too late. */
  | { readonly spanduct: "knock" };

/** What the guest posts on the port besides batches. */
export type Note =
  /** Something was thrown that nobody caught. Said at once, because some runtimes end a worker in the same turn. */
  { readonly spanduct: "thrown"; readonly error: PlainError } | LastWord;

/** Nothing counts that comes after one of these. */
export type LastWord =
  /** It has come to its end. */
  | { readonly spanduct: "done" }
  /** No listener of the application's took care of what was thrown. */
  | { readonly spanduct: "failed" }
  /** Its page is being left. */
  | { readonly spanduct: "gone" };

/** What the host of a frame posts on the port first. A worker has it from its name. */
export interface Welcome {
  readonly spanduct: "welcome";
  /** Control word to begin with. */
  readonly control: number;
  readonly traceContext: TraceContext | undefined;
}

/** What a message that somebody posted says if it is one of the tunnel's, all its other members being anything. */
export function typeOf(message: unknown): unknown {
  return typeof message === "object" && message !== null ? (message as { readonly spanduct?: unknown }).spanduct : undefined;
}
