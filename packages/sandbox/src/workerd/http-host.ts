import { DecodeError, TunnelError } from "@spanduct/protocol";
import type { TracingEventReceiver } from "@spanduct/receiver";
import type { GuestOptions, GuestStats } from "../guest-runs.ts";
import { commit, type Outcome, rollBack } from "../outcome.ts";
import { fromPlainError } from "../plain-error.ts";
import { ERROR_TYPE, HEADER, type HttpGreeting } from "./link.ts";

/** How guests are traced. */
export interface TraceWorkerdOverHttpOptions extends GuestOptions {
  /** Longest message of a guest that is read, in bytes. Default 4 MiB, the longest batch that receivers take. */
  readonly maxBytes?: number;
}

/** Guests that are called through HTTP. */
export interface WorkerdOverHttp {
  readonly stats: GuestStats;
  /** The guest's service binding `SPANDUCT` has to lead here. Never rejects. */
  fetch(request: Request): Promise<Response>;
  /**
   * Call a guest, with everything it traces going to `receiver`, and settle the receiver: a response commits, whatever its status; that
   * the guest throws or `action` rejects rolls back. What the guest does after its response is not part of the run.
   *
   * @param action makes the request to the guest, with these headers besides its own
   */
  run<T, Span>(
    receiver: TracingEventReceiver<Span>,
    action: (headers: { readonly [name: string]: string }) => Promise<T>,
  ): Promise<Outcome<T, Span>>;
}

interface Run {
  readonly receiver: TracingEventReceiver;
  failure?: Error;
}

const DEFAULT_MAX_BYTES = 4 * 1024 * 1024;

/**
 * Host half outside of workerd, for instance in a Node.js that starts workerd or Miniflare: guests are called through HTTP, and call
 * back through a service binding.
 */
export function traceWorkerdOverHttp(options: TraceWorkerdOverHttpOptions = {}): WorkerdOverHttp {
  const { maxBytes = DEFAULT_MAX_BYTES } = options;
  /** By names that cannot be guessed. */
  const runs = new Map<string, Run>();
  let ignored = 0;
  const ignore = (status: number, error: TunnelError): Response => {
    ignored++;
    options.onError?.(error);
    return new Response(null, { status });
  };

  const receive = async (run: Run, request: Request): Promise<Response> => {
    const bytes = await read(request, maxBytes);
    if (bytes === undefined)
      return ignore(413, new TunnelError("limit_exceeded", `maxBytes is ${maxBytes}, a message is longer`));
    if (request.headers.get("content-type") !== ERROR_TYPE) return new Response(String(run.receiver.receiveBatch(bytes)));
    run.failure ??= fromPlainError(JSON.parse(new TextDecoder().decode(bytes)));
    return new Response(null);
  };

  return {
    get stats() {
      return { ignored };
    },
    async fetch(request) {
      const run = runs.get(new URL(request.url).pathname.slice(1));
      if (run === undefined) return ignore(404, new TunnelError("receiver_closed", "a message came outside of a run"));
      try {
        return await receive(run, request);
      } catch (cause) {
        return ignore(400, new DecodeError("malformed", "a message cannot be read", 0, { cause }));
      }
    },
    async run(receiver, action) {
      const name = crypto.randomUUID();
      const run: Run = { receiver };
      runs.set(name, run);
      try {
        const greeting: HttpGreeting = { run: name, control: receiver.control(), traceContext: receiver.traceContext };
        const value = await action({ [HEADER]: JSON.stringify(greeting) });
        if (run.failure !== undefined) throw run.failure;
        return commit(receiver, value);
      } catch (error) {
        return rollBack(receiver, run.failure ?? error);
      } finally {
        runs.delete(name);
      }
    },
  };
}

/** A body that is no longer than it may be. */
async function read(request: Request, maxBytes: number): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  if (request.body === null) return new Uint8Array(0);
  for await (const chunk of request.body as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > maxBytes) return undefined;
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
