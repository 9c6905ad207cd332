import type { TracingEventReceiver } from "@spanduct/receiver";
import { type ByteStream, streamReceiver } from "@spanduct/transport/stream";
import { type TracedRemote, type TraceRemoteOptions, traceRemote } from "../remote.ts";

/**
 * Take what the guest at the other end of `stream` sends to `receiver`, and settle that when the guest is done: `close()` there
 * commits; `close({ error })`, a connection that breaks or ends without a word, and bytes that are not a guest's roll back. All that
 * came before is taken in first.
 *
 * The stream is closed in the end. A peer that says nothing is waited for: give a socket that anybody can reach a timeout.
 */
export function traceStream<Span>(
  stream: ByteStream,
  receiver: TracingEventReceiver<Span>,
  options: TraceRemoteOptions = {},
): TracedRemote<Span> {
  return traceRemote(receiver, options, (onBatch, remoteOptions) => streamReceiver(stream, onBatch, remoteOptions));
}
