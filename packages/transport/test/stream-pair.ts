import type { TransportPair, TransportSetup } from "../../../test/contract/transport.ts";
import { type ByteStream, streamReceiver, streamSender } from "../src/stream.ts";

/** Both ends of a stream. */
export interface StreamEnds {
  readonly guest: ByteStream;
  readonly host: ByteStream;
  close(): void;
}

/** Two web streams, one each way. */
export function webStreams(): StreamEnds {
  const [up, down] = [new TransformStream<Uint8Array>(), new TransformStream<Uint8Array>()];
  return {
    guest: { readable: down.readable, writable: up.writable },
    host: { readable: up.readable, writable: down.writable },
    close: () => undefined,
  };
}

/** For the contract of transports. */
export async function streamPair(ends: StreamEnds, { onBatch, maxInFlightBytes }: TransportSetup): Promise<TransportPair> {
  const guest = streamSender(ends.guest, { maxInFlightBytes });
  const host = streamReceiver(ends.host, onBatch);
  let sent = 0;
  await guest.hello;
  return {
    guest: {
      send(batch) {
        const word = guest.send(batch);
        sent++;
        return word;
      },
    },
    settle: () => until(() => host.stats.batches === sent && guest.inFlightBytes === 0),
    async closeHost() {
      host.close();
      await guest.closed;
    },
    async [Symbol.asyncDispose]() {
      host.close();
      ends.close();
    },
  };
}

/** Lets the event loop turn until `condition` holds. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 0));
}
