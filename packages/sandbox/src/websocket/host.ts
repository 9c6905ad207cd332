import type { TracingEventReceiver } from "@spanduct/receiver";
import { type WebSocketLike, webSocketReceiver } from "@spanduct/transport/websocket";
import { type TracedRemote, type TraceRemoteOptions, traceRemote } from "../remote.ts";

/**
 * Take what the guest at the other end of a WebSocket sends to `receiver`, and settle that when the guest is done, as `traceStream`
 * does. The socket is that of the package `ws`, or any standard one; the guest has asked for the subprotocol `spanduct.v1`.
 */
export function traceWebSocket<Span>(
  socket: WebSocketLike,
  receiver: TracingEventReceiver<Span>,
  options: TraceRemoteOptions = {},
): TracedRemote<Span> {
  return traceRemote(receiver, options, (onBatch, remoteOptions) => webSocketReceiver(socket, onBatch, remoteOptions));
}
