import type { PlainError } from "../plain-error.ts";

/**
 * What a workflow tells its host, through a sink: batches, and where in its life they belong. The SDK collects what a workflow says
 * in one activation and hands it to the host when that is over.
 */
export type WorkflowMessage = Uint8Array | WorkflowMark;

/** A place in the life of a workflow. */
export type WorkflowMark =
  /** An activation begins, numbered from 1 in each instance of the guest. */
  | { readonly kind: "begin"; readonly activation: number }
  /** It has come to its end. `end` if the workflow did as well: its time, in milliseconds since the Unix epoch. */
  | { readonly kind: "concluded"; readonly end: number | undefined }
  /** Something was thrown that fails the workflow, or its task, which then is not concluded. */
  | { readonly kind: "failed"; readonly error: PlainError };

/** The sink. */
export interface SpanductSinks {
  readonly spanduct: { tell(message: WorkflowMessage): void };
}
