import { once } from "node:events";
import { createConnection, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StreamEnds } from "./stream-pair.ts";

/** Both ends of a connection. @param address a path, or 0 for a free port of this machine */
export async function sockets(address: string | 0): Promise<StreamEnds & { readonly guest: Socket; readonly host: Socket }> {
  const server = createServer();
  await once(address === 0 ? server.listen(0, "127.0.0.1") : server.listen(address), "listening");
  const accepted = once(server, "connection");
  const bound = server.address() as string | { port: number };
  const guest = typeof bound === "string" ? createConnection(bound) : createConnection(bound.port, "127.0.0.1");
  const [[host]] = (await Promise.all([accepted, once(guest, "connect")])) as unknown as [[Socket]];
  server.close();
  return {
    guest,
    host,
    close() {
      guest.destroy();
      host.destroy();
    },
  };
}

let count = 0;

/** A path for a socket that nobody else has. */
export function socketPath(): string {
  return join(tmpdir(), `spanduct-${Date.now()}-${Math.random().toString(36).slice(2)}-${++count}.sock`);
}
