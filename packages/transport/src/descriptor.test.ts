import { execFileSync } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { controlWord } from "@spanduct/protocol";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import { transportContract } from "../../../test/contract/transport.ts";
import { type Descriptor, descriptorSender } from "./descriptor.ts";
import { encodeFrame, FrameKind, PREFACE } from "./frame.ts";
import { type ByteStream, streamReceiver } from "./stream.ts";

const WORD = controlWord(5, false);
const folder = mkdtempSync(join(tmpdir(), "spanduct-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Lets the event loop turn until `condition` holds. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}

interface Ends {
  readonly guest: Descriptor;
  readonly host: ByteStream;
  close(): void;
}

let pipes = 0;

/** A named pipe, both ends of which do not block. */
function namedPipe(): [read: number, write: number] {
  const path = join(folder, `${++pipes}`);
  execFileSync("mkfifo", [path]);
  return [openSync(path, constants.O_RDONLY | constants.O_NONBLOCK), openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)];
}

/** What does not block says so with an error. */
function attempt(action: () => number): number {
  try {
    return action();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EAGAIN") return 0;
    throw error;
  }
}

/** Two named pipes, which the guest reads and writes by descriptor. */
function open(): Ends {
  const [hostReads, guestWrites] = namedPipe();
  const [guestReads, hostWrites] = namedPipe();
  return {
    guest: {
      write: (bytes) => attempt(() => writeSync(guestWrites, bytes)),
      read(bytes) {
        let isEnd = false;
        const length = attempt(() => {
          const count = readSync(guestReads, bytes);
          isEnd = count === 0;
          return count;
        });
        return isEnd ? undefined : length;
      },
    },
    host: { readable: new Socket({ fd: hostReads }), writable: new Socket({ fd: hostWrites, readable: false }) },
    close() {
      closeSync(guestWrites);
      closeSync(guestReads);
    },
  };
}

transportContract("descriptor", async ({ onBatch, maxInFlightBytes }) => {
  const ends = open();
  const guest = descriptorSender(ends.guest, { maxInFlightBytes });
  const host = streamReceiver(ends.host, onBatch);
  let sent = 0;
  await until(() => guest.flush() === 0 && guest.greeting !== undefined);
  return {
    guest: {
      send(batch) {
        const word = guest.send(batch);
        sent++;
        return word;
      },
    },
    settle: () => until(() => guest.flush() === 0 && host.stats.batches === sent && guest.inFlightBytes === 0),
    async closeHost() {
      host.close();
      let isClosed = false;
      void guest.closed.then(() => (isClosed = true));
      await until(() => guest.flush() === 0 && isClosed);
    },
    async [Symbol.asyncDispose]() {
      host.close();
      ends.close();
    },
  };
});

describe("descriptorSender", () => {
  it("writes at once, and follows what the host says without an event loop", () => {
    const written: Uint8Array[] = [];
    const replies: Uint8Array[] = [];
    const guest = descriptorSender({
      write: (bytes) => written.push(bytes.slice()) && bytes.length,
      read(into) {
        const reply = replies.shift();
        if (reply !== undefined) into.set(reply);
        return reply?.length ?? 0;
      },
    });
    expect(guest.send(Uint8Array.of(7))).toBeUndefined();
    expect(written).toEqual([PREFACE, encodeFrame(FrameKind.batch, Uint8Array.of(7))]);
    const hello = new Uint8Array(5);
    new DataView(hello.buffer).setUint32(0, controlWord(2, false), true);
    replies.push(PREFACE, encodeFrame(FrameKind.hello, hello));
    expect(guest.send(Uint8Array.of(8))).toBe(controlWord(2, false));
    expect(guest.greeting).toEqual({ control: controlWord(2, false), context: Uint8Array.of(0) });
  });

  it("goes on in the middle of a frame where there was no room for all of it", () => {
    const written: number[] = [];
    let room = 0;
    const guest = descriptorSender({
      write(bytes) {
        const taken = Math.min(room, bytes.length);
        room -= taken;
        written.push(...bytes.subarray(0, taken));
        return taken;
      },
      read: () => 0,
    });
    const batches = Array.from({ length: 20 }, (_, i) => new Uint8Array(i).fill(i));
    for (const batch of batches) guest.send(batch);
    const all = [PREFACE, ...batches.map((batch) => encodeFrame(FrameKind.batch, batch))].flatMap((bytes) => [...bytes]);
    expect(guest.flush()).toBe(all.length);
    for (let left = all.length; left > 0; left -= 3) {
      room = 3;
      expect(guest.flush()).toBe(Math.max(left - 3, 0));
    }
    expect(written).toEqual(all);
  });

  it("is closed when reading or writing fails, and says why", async () => {
    const gone = Object.assign(new Error("broken pipe"), { code: "EPIPE" });
    for (const descriptor of [
      { write: () => 0, read: () => undefined },
      {
        write: () => 0,
        read() {
          throw gone;
        },
      },
      {
        write() {
          throw gone;
        },
        read: () => 0,
      },
    ]) {
      const guest = descriptorSender(descriptor);
      expect(() => guest.send(Uint8Array.of(1))).toThrow("[transport_closed] the host is gone");
      expect(await guest.closed).toBe(0);
      await expect(guest.hello).rejects.toMatchObject({ code: "transport_closed" });
    }
  });

  it("keeps no more than its bound for a host that does not read", () => {
    const ends = open();
    onTestFinished(ends.close);
    const guest = descriptorSender(ends.guest, { maxInFlightBytes: 1 << 20 });
    let accepted = 0;
    for (let i = 0; i < 2000; i++) {
      try {
        guest.send(new Uint8Array(1024));
        accepted++;
      } catch (error) {
        expect(error).toMatchObject({ code: "transport_failed" });
      }
    }
    expect(accepted).toBe(1024);
    expect(guest.flush()).toBeLessThan(1 << 20);
  });

  it("close: the host learns that this was all, or what ended the guest", async () => {
    for (const reason of [undefined, Uint8Array.of(1, 2)]) {
      const ends = open();
      onTestFinished(ends.close);
      const guest = descriptorSender(ends.guest);
      const host = streamReceiver(ends.host, () => WORD);
      guest.send(Uint8Array.of(1));
      void guest.close(reason);
      expect(guest.flush()).toBe(0);
      expect(await host.ended).toEqual(reason === undefined ? { kind: "finished" } : { kind: "failed", reason });
      expect(host.stats).toEqual({ batches: 1, bytes: 1 });
    }
  });
});
