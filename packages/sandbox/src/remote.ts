import { type TraceContext, TunnelError } from "@spanduct/protocol";
import type { TracingEventReceiver } from "@spanduct/receiver";
import { batches, type SendBatch, type SenderOptions, type TracingEventSender } from "@spanduct/sender";
import type { BatchHandler, Pump } from "@spanduct/transport";
import type { Hello, RemoteEnd, RemoteReceiver, RemoteReceiverOptions, RemoteSender } from "@spanduct/transport/stream";
import { beginRun, type ConnectOptions, guestSender } from "./guest-sender.ts";
import { commit, type Outcome, rollBack } from "./outcome.ts";
import { fromPlainError, toPlainError } from "./plain-error.ts";

/** Bytes of what ended a guest; more than transports hand on. */
const MAX_REASON_BYTES = 64 * 1024;

/** The rest of the greeting: where the guest is in the host's trace. */
export function greetingContext({ traceContext }: TracingEventReceiver): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(traceContext ?? null));
}

/** How the host's end of a connection is set up. */
export interface TraceRemoteOptions {
  /** Bytes of one batch; a guest that announces more is rolled back. Default 4 MiB: give it what the receiver's limit is. */
  readonly maxBatchBytes?: number;
  /** Shares the event loop with the other guests of this thread. Default: a pump of its own. */
  readonly pump?: Pump;
}

/** A guest at the other end of a connection. */
export interface TracedRemote<Span = unknown> {
  /** Resolves when the guest has closed its end, or is gone. Never rejects. */
  readonly outcome: Promise<Outcome<void, Span>>;
  /** Hang up now: the guest is rolled back, unless it has ended. */
  close(): void;
}

/** @param open makes the host's end of the transport */
export function traceRemote<Span>(
  receiver: TracingEventReceiver<Span>,
  options: TraceRemoteOptions,
  open: (onBatch: BatchHandler, options: RemoteReceiverOptions) => RemoteReceiver,
): TracedRemote<Span> {
  const tunnel = open((bytes) => receiver.receiveBatch(bytes), {
    ...options,
    control: receiver.control(),
    context: greetingContext(receiver),
  });
  return { outcome: tunnel.ended.then((end) => settle(end, receiver)), close: () => tunnel.close() };
}

/** Settle the receiver by how its connection ended. */
export function settle<Span>(end: RemoteEnd, receiver: TracingEventReceiver<Span>): Outcome<void, Span> {
  switch (end.kind) {
    case "finished":
      return commit(receiver, undefined);
    case "failed":
      return rollBack(receiver, readReason(end.reason));
    case "silent":
      return rollBack(receiver, new TunnelError("transport_closed", "the guest is gone and never said a word"));
    case "broken":
      return rollBack(receiver, end.error);
  }
}

/** What ended a guest, as it says. */
export function readReason(reason: Uint8Array): Error {
  let plain: unknown;
  try {
    plain = JSON.parse(new TextDecoder().decode(reason));
  } catch {
    // As good as anything else that is no error.
  }
  return fromPlainError(plain);
}

/** What ended this guest, for its host. */
export function writeReason(error: unknown): Uint8Array {
  for (let causes = 16; causes >= 1; causes /= 2) {
    const bytes = new TextEncoder().encode(JSON.stringify(toPlainError(error, causes)));
    if (bytes.length <= MAX_REASON_BYTES) return bytes;
  }
  const { name, message } = toPlainError(error, 1);
  return new TextEncoder().encode(JSON.stringify({ name: name.slice(0, 100), message: message.slice(0, 10_000), stack: "" }));
}

/** This program as the guest of a host at the other end of a connection. */
export interface ConnectedGuest {
  readonly tracing: TracingEventSender;
  /**
   * Deliver what is batched, and have the host settle what this guest did: commit, or with a failure roll back. What is traced
   * afterwards goes nowhere.
   *
   * @returns resolves when the host has hung up or is gone, with the number of batches that it did not answer: 0 when all is well
   */
  close(failure?: { readonly error: unknown }): Promise<number>;
}

/** Become a guest, once the host has said hello. @throws TunnelError "transport_closed" */
export async function connectRemote(remote: RemoteSender, options: ConnectOptions): Promise<ConnectedGuest> {
  const hello = await remote.hello;
  const { tracing, flushLast } = openSender(remote, options);
  follow(tracing, hello);
  return {
    tracing,
    close(failure) {
      flushLast();
      return remote.close(failure && writeReason(failure.error));
    },
  };
}

/** The sender of a guest, and the way out for its last batch. */
export interface GuestSender {
  readonly tracing: TracingEventSender;
  /** Deliver what is batched, also to a host that is behind with reading. */
  flushLast(): void;
}

/** A sender over a connection that exists. */
export function openSender(remote: RemoteSender, options: ConnectOptions & Pick<SenderOptions, "isWatched">): GuestSender {
  let send: SendBatch = remote.send;
  const tracing = guestSender(
    batches((batch) => send(batch)),
    options,
  );
  return {
    tracing,
    flushLast() {
      send = remote.sendLast;
      tracing.flush();
    },
  };
}

/** Follow what the host said first. */
export function follow(tracing: TracingEventSender, { control, context }: Hello): void {
  beginRun(tracing, control, readContext(context));
}

function readContext(context: Uint8Array): TraceContext | undefined {
  try {
    return (JSON.parse(new TextDecoder().decode(context)) as TraceContext | null) ?? undefined;
  } catch {
    // A host that has something else to say.
    return undefined;
  }
}
