import type { TracedError } from "./event.ts";

/** One error of a chain, without its causes. */
export interface ErrorLink {
  readonly message: string;
  readonly type: string | undefined;
  readonly stack: string | undefined;
}

/** Chains nested deeper than this are refused whatever the limits say; a genuine crate reads 122. */
export const MAX_ERROR_NESTING = 128;

const MAX_U32 = 0xffff_ffff;

/**
 * The chain in its nested form.
 *
 * @param links outermost first; at least one
 * @param omitted how many further causes there were; what is above 2^32-1 is cut to that
 */
export function nestErrors(links: readonly ErrorLink[], omitted: number): TracedError {
  let error: TracedError | null = null;
  for (let i = links.length - 1; i >= 0; i--) {
    const { message, type, stack } = links[i] as ErrorLink;
    error = {
      message,
      source: error,
      ...(type !== undefined && { type }),
      ...(stack !== undefined && { stack }),
      ...(omitted > 0 && i === links.length - 1 && { omitted: Math.min(omitted, MAX_U32) }),
    };
  }
  return error as TracedError;
}
