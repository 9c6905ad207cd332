/**
 * Guest end of a transport: what a sender calls with its batches. Fits `(batch: Uint8Array) => number | undefined`.
 */
export interface GuestTransport {
  /**
   * Hand a batch over. Does not wait.
   *
   * @param batch copied; the caller may fill it again at once
   * @returns the control word that this guest is to follow, where the host has said one
   * @throws TunnelError "transport_failed": not accepted, the batch is lost and a later one may go through
   * @throws TunnelError "transport_closed": the host is gone
   */
  send(batch: Uint8Array): number | undefined;
}

/** What a host does with a batch: `receiver.receiveBatch`. The bytes are its own to keep. Returns the control word. */
export type BatchHandler = (bytes: Uint8Array) => number;
