import { WEBSOCKET_PROTOCOL, type WebSocketLike, webSocketSender } from "@spanduct/transport/websocket";
import type { ConnectOptions } from "../guest-sender.ts";
import { type ConnectedGuest, connectRemote } from "../remote.ts";

/**
 * Become the guest of the host behind a `ws:` or `wss:` address, once it has said hello. The clock is `performance`. A guest that ends
 * without `close` is rolled back.
 *
 * @param to an address, or where the runtime has no `WebSocket` one that was opened for the subprotocol `spanduct.v1`
 * @throws TunnelError "transport_closed": the host cannot be reached, is gone, or is no host
 */
export async function connect(to: string | URL | WebSocketLike, options: ConnectOptions = {}): Promise<ConnectedGuest> {
  const isSocket = typeof to === "object" && "readyState" in to;
  return await connectRemote(webSocketSender(isSocket ? to : new WebSocket(to, WEBSOCKET_PROTOCOL)), options);
}
