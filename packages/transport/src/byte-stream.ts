/** What is used of a readable stream of Node: a socket, a pipe, `process.stdin`. */
export interface NodeReadable {
  on(event: "data" | "end" | "error" | "close", listener: (argument: unknown) => void): unknown;
  pause(): unknown;
  resume(): unknown;
  destroy(): unknown;
}

/** What is used of a writable stream of Node. */
export interface NodeWritable {
  on(event: "drain" | "error" | "close", listener: (argument: unknown) => void): unknown;
  write(chunk: Uint8Array): boolean;
  end(done: () => void): unknown;
  destroy(): unknown;
}

/** What is used of a `ReadableStream`. */
export interface WebReadable {
  getReader(): {
    read(): Promise<{ readonly done: boolean; readonly value?: unknown }>;
    cancel(reason?: unknown): Promise<unknown>;
  };
}

/** What is used of a `WritableStream`. */
export interface WebWritable {
  getWriter(): {
    readonly desiredSize: number | null;
    readonly ready: Promise<unknown>;
    write(chunk: Uint8Array): Promise<unknown>;
    close(): Promise<unknown>;
    abort(reason?: unknown): Promise<unknown>;
  };
}

/**
 * Bytes both ways: a duplex stream of Node such as a socket, or a readable and a writable stream of either kind, such as the two
 * of a child process, of a `WebTransportBidirectionalStream`, of a connection of Deno or workerd. It is the transport's own, which
 * closes it in the end.
 */
export type ByteStream =
  | (NodeReadable & NodeWritable)
  | { readonly readable: NodeReadable | WebReadable; readonly writable: NodeWritable | WebWritable };

/** Told what happens to a stream. */
export interface StreamEvents {
  /** @param bytes its own to keep */
  chunk(bytes: Uint8Array): void;
  /** Nothing comes any more. At most once, and not after `finish` or `destroy`. */
  end(error?: unknown): void;
  /** What is written does not arrive any more, while there may still be something to read. As `end`. */
  unwritable(error: unknown): void;
  /** No longer `busy`. */
  ready(): void;
}

/** One end of a stream that is in use. */
export interface ByteChannel {
  /** Whether the other side is behind with reading: write no more before `ready`. */
  readonly busy: boolean;
  /** @param bytes kept */
  write(bytes: Uint8Array): void;
  /** Ask for no more chunks; those that are under way come all the same. */
  pause(): void;
  resume(): void;
  /** Close it when what was written has gone out. */
  finish(): void;
  /** Close it now. */
  destroy(): void;
}

/** Use a stream from now on. */
export function openStream(stream: ByteStream, events: StreamEvents): ByteChannel {
  // A duplex stream of Node says with `readable` whether it can be read.
  const isPair = "readable" in stream && typeof stream.readable === "object";
  const { readable, writable } = (isPair ? stream : { readable: stream, writable: stream }) as Halves;
  let over = false;
  let ended = false;
  let isUnwritable = false;
  const once: StreamEvents = {
    chunk(bytes) {
      if (!over && !ended) events.chunk(bytes);
    },
    ready() {
      if (!over && !isUnwritable) events.ready();
    },
    end(error) {
      if (over || ended) return;
      ended = true;
      events.end(error);
    },
    unwritable(error) {
      if (over || isUnwritable) return;
      isUnwritable = true;
      events.unwritable(error);
    },
  };
  const input = "getReader" in readable ? webInput(readable, once) : nodeInput(readable, once);
  const output = "getWriter" in writable ? webOutput(writable, once) : nodeOutput(writable, once);
  return {
    get busy() {
      return output.busy && !isUnwritable;
    },
    write(bytes) {
      if (!over && !isUnwritable) output.write(bytes);
    },
    pause: input.pause,
    resume: input.resume,
    finish() {
      over = true;
      input.pause();
      output.end(input.cancel);
    },
    destroy() {
      over = true;
      output.destroy();
      input.cancel();
    },
  };
}

interface Halves {
  readonly readable: NodeReadable | WebReadable;
  readonly writable: NodeWritable | WebWritable;
}

interface Input {
  pause(): void;
  resume(): void;
  cancel(): void;
}

interface Output {
  readonly busy: boolean;
  write(bytes: Uint8Array): void;
  /** @param done called when all has gone out */
  end(done: () => void): void;
  destroy(): void;
}

function nodeInput(stream: NodeReadable, events: StreamEvents): Input {
  stream.on("data", (chunk) => {
    if (!(chunk instanceof Uint8Array)) return events.end(notBytes());
    // A Buffer is another class, whose `slice` does not copy.
    events.chunk(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length));
  });
  stream.on("end", () => events.end());
  stream.on("error", (error) => events.end(error));
  stream.on("close", () => events.end(new Error("the stream was closed")));
  return {
    pause: () => void stream.pause(),
    resume: () => void stream.resume(),
    cancel: () => void stream.destroy(),
  };
}

function nodeOutput(stream: NodeWritable, events: StreamEvents): Output {
  let busy = false;
  stream.on("drain", () => {
    busy = false;
    events.ready();
  });
  stream.on("error", (error) => events.unwritable(error));
  stream.on("close", () => events.unwritable(new Error("the stream was closed")));
  return {
    get busy() {
      return busy;
    },
    write(bytes) {
      busy = !stream.write(bytes);
    },
    end(done) {
      stream.end(() => {
        stream.destroy();
        done();
      });
    },
    destroy: () => void stream.destroy(),
  };
}

function webInput(stream: WebReadable, events: StreamEvents): Input {
  const reader = stream.getReader();
  let paused = false;
  let reading = false;
  const read = async (): Promise<void> => {
    if (reading) return;
    reading = true;
    try {
      while (!paused) {
        const { done, value } = await reader.read();
        if (done) return events.end();
        if (!(value instanceof Uint8Array)) throw notBytes();
        events.chunk(value);
      }
    } catch (error) {
      return events.end(error);
    }
    reading = false;
  };
  void read();
  return {
    pause() {
      paused = true;
    },
    resume() {
      paused = false;
      void read();
    },
    cancel() {
      paused = true;
      reader.cancel().catch(ignore);
    },
  };
}

function webOutput(stream: WebWritable, events: StreamEvents): Output {
  const writer = stream.getWriter();
  let busy = false;
  return {
    get busy() {
      return busy;
    },
    write(bytes) {
      writer.write(bytes).catch(events.unwritable);
      if ((writer.desiredSize ?? 0) > 0) return;
      busy = true;
      writer.ready.then(() => {
        busy = false;
        events.ready();
      }, events.unwritable);
    },
    end(done) {
      writer.close().catch(ignore).then(done);
    },
    destroy() {
      writer.abort().catch(ignore);
    },
  };
}

function notBytes(): TypeError {
  return new TypeError("the stream gives something else than bytes");
}

function ignore(): void {
  // What fails now was given up before.
}
