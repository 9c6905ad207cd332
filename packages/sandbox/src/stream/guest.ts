import { type ByteStream, streamSender } from "@spanduct/transport/stream";
import type { ConnectOptions } from "../guest-sender.ts";
import { type ConnectedGuest, connectRemote } from "../remote.ts";

/**
 * Become the guest of the host at the other end of `stream`, once it has said hello. The clock is `performance`. The stream keeps the
 * process alive until `close`; a guest that ends without it is rolled back.
 *
 * @throws TunnelError "transport_closed": the host is gone, or is no host
 */
export function connect(stream: ByteStream, options: ConnectOptions = {}): Promise<ConnectedGuest> {
  return connectRemote(streamSender(stream), options);
}
