import { controlWord } from "@spanduct/protocol";
import type { TracingEventReceiver } from "@spanduct/receiver";
import { createLog, type TracingEventSender } from "@spanduct/sender";
import { HOST_CALL_SITE, hostSender } from "../outcome.ts";

/** A line that is longer becomes several events. In UTF-16 units, of three bytes at most: hosts refuse texts above 64 KiB. */
const MAX_LINE = 16_384;
/** So much of what the guest wrote is looked at in one go. */
const CHUNK_BYTES = 65_536;
/** As many pieces as systems accept in one call. */
const MAX_PIECES = 1024;

/** Makes events of the lines that a guest writes to standard output and standard error in one run. */
export class OutputCapture {
  readonly #receiver: TracingEventReceiver;
  readonly #memory: () => unknown;
  readonly #sender: TracingEventSender;
  readonly #streams: ReadonlyMap<number, Lines>;

  /** @param memory the guest's, as it is at the moment */
  constructor(receiver: TracingEventReceiver, memory: () => unknown) {
    this.#receiver = receiver;
    this.#memory = memory;
    // The last number is that of `rollBack`.
    this.#sender = hostSender(receiver, HOST_CALL_SITE - 1n);
    const { info } = createLog(this.#sender, "stdout");
    const { warn } = createLog(this.#sender, "stderr");
    this.#streams = new Map([
      [1, new Lines(info)],
      [2, new Lines(warn)],
    ]);
  }

  /** A call of `fd_write` went well. Its arguments and what they point to are the guest's. */
  written(fd: number, pieces: number, count: number, writtenAt: number): void {
    const lines = this.#streams.get(fd);
    if (lines === undefined) return;
    this.#sender.control(controlWord(this.#receiver.maxLevel, false));
    try {
      const memory = new DataView(this.#memory() as ArrayBuffer);
      let left = memory.getUint32(writtenAt >>> 0, true);
      for (let i = 0; i < Math.min(count >>> 0, MAX_PIECES) && left > 0; i++) {
        const at = (pieces >>> 0) + 8 * i;
        const start = memory.getUint32(at, true);
        const end = start + Math.min(memory.getUint32(at + 4, true), left);
        left -= end - start;
        for (let from = start; from < end; from += CHUNK_BYTES) {
          // A copy: texts cannot be decoded from shared memory.
          lines.add(new Uint8Array(memory.buffer, from, Math.min(CHUNK_BYTES, end - from)).slice());
        }
      }
    } catch {
      // Not inside of the memory. It cannot be what WASI has written.
    }
  }

  /** The run is over: what stands in a line that was not ended becomes an event too. */
  end(): void {
    for (const lines of this.#streams.values()) lines.end();
  }
}

/** Takes a stream of bytes apart into lines. */
class Lines {
  readonly #onLine: (line: string) => void;
  readonly #decoder = new TextDecoder();
  #line = "";

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  add(bytes: Uint8Array): void {
    const lines = (this.#line + this.#decoder.decode(bytes, { stream: true })).split("\n");
    this.#line = lines.pop() as string;
    for (const line of lines) this.#emit(line);
    if (this.#line.length >= MAX_LINE) this.#emitLine();
  }

  end(): void {
    this.#line += this.#decoder.decode();
    this.#emitLine();
  }

  #emitLine(): void {
    this.#emit(this.#line);
    this.#line = "";
  }

  #emit(line: string): void {
    for (let at = 0; at < line.length; at += MAX_LINE) {
      const part = line.slice(at, at + MAX_LINE).replace(/\r$/, "");
      if (part !== "") this.#onLine(part);
    }
  }
}
