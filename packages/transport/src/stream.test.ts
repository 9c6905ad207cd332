import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { resolve } from "node:path";
import { controlWord } from "@spanduct/protocol";
import { describe, expect, it, onTestFinished } from "vitest";
import { transportContract } from "../../../test/contract/transport.ts";
import { timerDelay } from "../../../test/support/timer-delay.ts";
import { socketPath, sockets } from "../test/sockets.ts";
import { type StreamEnds, streamPair, webStreams } from "../test/stream-pair.ts";
import { encodeFrame, FrameKind, FrameReader, PREFACE, readUint32, writeUint32 } from "./frame.ts";
import { Pump } from "./pump.ts";
import { fromHost } from "./remote.ts";
import { type RemoteReceiver, type RemoteSender, type StreamReceiverOptions, streamReceiver, streamSender } from "./stream.ts";

const WORD = controlWord(5, false);

/** Lets the event loop turn until `condition` holds. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}

/** The bytes go through the standard input and output of a real process, one each way. */
function processes(): StreamEnds {
  const start = (): ChildProcess => spawn("cat", { stdio: ["pipe", "pipe", "inherit"] });
  const [up, down] = [start(), start()] as [ReturnType<typeof spawn>, ReturnType<typeof spawn>];
  return {
    guest: { readable: down.stdout as NonNullable<typeof down.stdout>, writable: up.stdin as NonNullable<typeof up.stdin> },
    host: { readable: up.stdout as NonNullable<typeof up.stdout>, writable: down.stdin as NonNullable<typeof down.stdin> },
    close() {
      up.kill();
      down.kill();
    },
  };
}

const KINDS: readonly (readonly [name: string, open: () => StreamEnds | Promise<StreamEnds>])[] = [
  ["stream, web streams", webStreams],
  ["stream, unix socket", () => sockets(socketPath())],
  ["stream, TCP socket", () => sockets(0)],
  ["stream, standard input and output of processes", processes],
];

for (const [name, open] of KINDS) {
  transportContract(name, async (setup) => streamPair(await open(), setup));
}

/** A connection whose guest's end is in the hands of the test. */
async function rawGuest(
  onBatch: (bytes: Uint8Array) => number = () => WORD,
  options: StreamReceiverOptions = {},
): Promise<{ readonly guest: Socket; readonly hostSocket: Socket; readonly host: RemoteReceiver }> {
  const { guest, host: hostSocket, close } = await sockets(socketPath());
  onTestFinished(close);
  guest.on("error", () => undefined);
  return { guest, hostSocket, host: streamReceiver(hostSocket, onBatch, options) };
}

const batch = (...bytes: number[]): Uint8Array => encodeFrame(FrameKind.batch, Uint8Array.from(bytes));
const END = encodeFrame(FrameKind.end, new Uint8Array());

describe("streamReceiver", { timeout: 60_000 }, () => {
  it("loses of a stream that is cut anywhere no more than the frame it is cut in, and says so", async () => {
    const stream = Buffer.concat([PREFACE, batch(1), batch(2, 2), END]);
    const whole = [PREFACE.length + 6, PREFACE.length + 6 + 7];
    for (let length = 0; length <= stream.length; length++) {
      const received: Uint8Array[] = [];
      const { guest, host } = await rawGuest((bytes) => received.push(bytes) && WORD);
      guest.end(stream.subarray(0, length));
      const ended = await host.ended;
      expect(received).toEqual([Uint8Array.of(1), Uint8Array.of(2, 2)].slice(0, whole.filter((end) => end <= length).length));
      if (length === 0) expect(ended).toEqual({ kind: "silent" });
      else if (length === stream.length) expect(ended).toEqual({ kind: "finished" });
      else expect(ended).toMatchObject({ kind: "broken", error: { code: "transport_closed" } });
      const isBoundary = length === PREFACE.length || whole.includes(length);
      if (length > 0 && length < stream.length)
        expect(String((ended as { error: Error }).error).includes(", after")).toBe(!isBoundary);
      guest.destroy();
    }
  });

  it.each([
    ["another protocol", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "malformed"],
    ["a later version", "spanduct/2\n", "unsupported_version"],
    ["a frame of a host's", Buffer.concat([PREFACE, encodeFrame(FrameKind.answer, new Uint8Array(8))]), "malformed"],
    ["a batch of a gigabyte", Buffer.concat([PREFACE, Uint8Array.of(1, 0, 0, 0, 64)]), "limit_exceeded"],
    ["an end of a gigabyte", Buffer.concat([PREFACE, Uint8Array.of(2, 0, 0, 0, 64)]), "limit_exceeded"],
  ])("hangs up on %s, with a coded error", async (_, bytes, code) => {
    const { guest, host } = await rawGuest();
    guest.resume();
    guest.write(bytes);
    const [ended] = await Promise.all([host.ended, once(guest, "close")]);
    expect(ended).toMatchObject({ kind: "broken", error: { code } });
    expect(host.stats).toEqual({ batches: 0, bytes: 0 });
  });

  it("takes batches up to its limit, and hangs up on what announces more before it comes", async () => {
    const received: number[] = [];
    const { guest, host } = await rawGuest((bytes) => received.push(bytes.length) && WORD, { maxBatchBytes: 1000 });
    guest.write(Buffer.concat([PREFACE, encodeFrame(FrameKind.batch, new Uint8Array(1000))]));
    guest.write(encodeFrame(FrameKind.batch, new Uint8Array(1001)).subarray(0, 5));
    expect(await host.ended).toMatchObject({ kind: "broken", error: { code: "limit_exceeded" } });
    expect(received).toEqual([1000]);
  });

  it("takes what drips in byte by byte through a real socket", async () => {
    const received: Uint8Array[] = [];
    const { guest, host } = await rawGuest((bytes) => received.push(bytes) && WORD);
    const sent = Array.from({ length: 20 }, (_, i) => new Uint8Array(i * 10).fill(i));
    guest.setNoDelay();
    for (const byte of Buffer.concat([PREFACE, ...sent.map((bytes) => encodeFrame(FrameKind.batch, bytes)), END])) {
      await new Promise((resolve) => guest.write(Uint8Array.of(byte), resolve));
    }
    expect(await host.ended).toEqual({ kind: "finished" });
    expect(received).toEqual(sent);
  });

  it("answers a guest that does not read with one answer for all, once it reads", async () => {
    // Each batch in a turn of its own, so that each is answered.
    const pump = new Pump({ turnMs: 0 });
    const { guest, host, hostSocket } = await rawGuest((bytes) => controlWord((bytes[0] as number) % 6, false), { pump });
    guest.pause();
    const frames = Buffer.concat(Array.from({ length: 1000 }, (_, i) => batch(i % 6)));
    guest.write(PREFACE);
    for (let i = 0; i < 100; i++) await new Promise((resolve) => guest.write(frames, resolve));
    await until(() => host.stats.batches === 100_000);
    expect(hostSocket.writableLength).toBeGreaterThan(0);
    expect(hostSocket.writableLength).toBeLessThan(128 * 1024);

    const reader = new FrameReader(fromHost);
    let answers = 0;
    let answered = 0;
    guest.on("data", (chunk) => {
      reader.push(chunk);
      for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
        if (frame.kind !== FrameKind.answer) continue;
        answers++;
        answered += readUint32(frame.payload, 0);
      }
    });
    guest.resume();
    await until(() => answered === 100_000);
    expect(answers).toBeLessThan(50_000);
  });

  it("leaves a storm in the sender's hands while it is busy, and answers timers", async () => {
    // A host that takes its time: a millisecond for each 10 kB.
    const { guest, host } = await rawGuest(() => {
      for (const end = performance.now() + 1; performance.now() < end; );
      return WORD;
    });
    const frames = Buffer.concat(new Array(10).fill(encodeFrame(FrameKind.batch, new Uint8Array(10_000))));
    guest.resume();
    guest.write(PREFACE);
    let written = 0;
    let storming = true;
    const storm = (): void => {
      while (storming && guest.write(frames, () => (written += 10))) {
        // As much as goes.
      }
      if (storming) guest.once("drain", storm);
    };
    storm();
    let late = 0;
    while (host.stats.batches < 100) late = Math.max(late, await timerDelay());
    storming = false;
    // What the operating system and the host's buffer hold.
    expect(written - host.stats.batches).toBeLessThan(200);
    expect(late).toBeLessThan(50);
    host.close();
  });

  it("handles a storm of empty batches in turns", async () => {
    let turns = 0;
    const pump = new Pump({ turnMs: 1, schedule: (turn) => setImmediate(() => ++turns && turn()) });
    const { guest, host } = await rawGuest(() => WORD, { pump });
    guest.resume();
    guest.write(PREFACE);
    guest.end(Buffer.concat([...new Array<Uint8Array>(200_000).fill(batch()), END]));
    expect(await host.ended).toEqual({ kind: "finished" });
    expect(host.stats).toEqual({ batches: 200_000, bytes: 0 });
    expect(turns).toBeGreaterThan(20);
  });

  it("goes on after what onBatch throws, which goes to the event loop", async () => {
    const errors: unknown[] = [];
    const schedule = (turn: () => void): void => {
      setImmediate(() => {
        try {
          turn();
        } catch (error) {
          errors.push(error);
        }
      });
    };
    const { guest, host } = await rawGuest(
      (bytes) => {
        if (bytes[0] === 1) throw new Error("the host's own");
        return WORD;
      },
      { pump: new Pump({ schedule }) },
    );
    guest.end(Buffer.concat([PREFACE, batch(0), batch(1), batch(2), END]));
    expect(await host.ended).toEqual({ kind: "finished" });
    expect([errors.map(String), host.stats.batches]).toEqual([["Error: the host's own"], 3]);
  });

  it("reports a stream that fails, and one that its owner closes", async () => {
    const { hostSocket, host } = await rawGuest();
    hostSocket.destroy(new Error("cable"));
    expect(await host.ended).toMatchObject({ kind: "broken", error: { code: "transport_failed", cause: { message: "cable" } } });
    const { guest, host: other } = await rawGuest();
    guest.write(Buffer.concat([PREFACE, batch(1)]));
    await until(() => other.stats.batches === 1);
    other.close();
    expect(await other.ended).toMatchObject({ kind: "broken", error: { code: "transport_closed" } });
    const { host: unused } = await rawGuest();
    unused.close();
    expect(await unused.ended).toEqual({ kind: "silent" });
  });

  it("refuses a stream that gives text", async () => {
    const { guest, host, hostSocket } = await rawGuest();
    hostSocket.setEncoding("utf8");
    guest.write(PREFACE);
    expect(await host.ended).toMatchObject({ kind: "broken", error: { code: "transport_failed", cause: { name: "TypeError" } } });
  });
});

for (const [name, open] of KINDS) {
  describe(`streamSender, ${name}`, () => {
    async function join(options: StreamReceiverOptions = {}): Promise<{ guest: RemoteSender; host: RemoteReceiver }> {
      const ends = await open();
      onTestFinished(ends.close);
      const host = streamReceiver(ends.host, () => WORD, options);
      return { guest: streamSender(ends.guest), host };
    }

    it("hello: brings the control word and the context, and the first send returns the word", async () => {
      const { guest } = await join({ control: controlWord(2, false), context: Uint8Array.of(7, 8) });
      expect(await guest.hello).toEqual({ control: controlWord(2, false), context: Uint8Array.of(7, 8) });
      expect(guest.send(Uint8Array.of(1))).toBe(controlWord(2, false));
    });

    it("close: delivers what was sent, and resolves when all of it is answered", async () => {
      const { guest, host } = await join();
      for (let i = 0; i < 1000; i++) guest.send(new Uint8Array(i));
      expect(await guest.close()).toBe(0);
      expect(await host.ended).toEqual({ kind: "finished" });
      expect(host.stats).toEqual({ batches: 1000, bytes: 499_500 });
      expect(() => guest.send(Uint8Array.of(1))).toThrow("[transport_closed] this end was closed");
    });

    it("close: hands on what ended the guest", async () => {
      const { guest, host } = await join();
      guest.send(Uint8Array.of(1));
      guest.close(Uint8Array.of(1, 2, 3));
      expect(await host.ended).toEqual({ kind: "failed", reason: Uint8Array.of(1, 2, 3) });
    });

    it("closed: resolves with the number of batches that were not answered when the host goes away", async () => {
      const { guest, host } = await join();
      await guest.hello;
      guest.send(Uint8Array.of(1));
      await until(() => guest.inFlightBatches === 0);
      host.close();
      for (let i = 0; i < 3; i++) guest.send(Uint8Array.of(1));
      expect(await guest.closed).toBe(3);
      expect(() => guest.send(Uint8Array.of(1))).toThrow("[transport_closed] the host is gone");
    });
  });
}

describe("streamSender", () => {
  it.each([
    ["no host of spanduct", "HTTP/1.1 400 Bad Request\r\n\r\n"],
    ["an answer before hello", Buffer.concat([PREFACE, encodeFrame(FrameKind.answer, new Uint8Array(8))])],
    ["a hello without a control word", Buffer.concat([PREFACE, encodeFrame(FrameKind.hello, new Uint8Array(4))])],
    ["a batch", Buffer.concat([PREFACE, batch(1)])],
  ])("is closed by %s, and says why", async (_, bytes) => {
    const { guest: socket, host, close } = await sockets(socketPath());
    onTestFinished(close);
    const guest = streamSender(socket);
    guest.send(Uint8Array.of(1));
    host.on("error", () => undefined).write(bytes);
    await expect(guest.hello).rejects.toMatchObject({ code: "transport_closed", cause: { code: "malformed" } });
    expect(await guest.closed).toBe(1);
  });

  it("keeps no more than its bound for a host that does not read", async () => {
    const { guest: socket, close } = await sockets(socketPath());
    onTestFinished(close);
    const guest = streamSender(socket, { maxInFlightBytes: 1 << 20 });
    let accepted = 0;
    let refused = 0;
    for (let i = 0; i < 3000; i++) {
      try {
        guest.send(new Uint8Array(1024));
        accepted++;
      } catch (error) {
        expect(error).toMatchObject({ code: "transport_failed" });
        refused++;
      }
      if (i % 100 === 0) await new Promise(setImmediate);
    }
    expect([accepted, refused]).toEqual([1024, 1976]);
    // Honours what the socket says: most waits with the sender.
    expect(socket.writableLength).toBeLessThan(256 * 1024);
  });

  it("does no harm when a host answers more than was sent", async () => {
    const { guest: socket, host, close } = await sockets(socketPath());
    onTestFinished(close);
    const guest = streamSender(socket);
    const [hello, answer] = [new Uint8Array(4), new Uint8Array(8)];
    writeUint32(hello, 0, WORD);
    writeUint32(answer, 0, 2 ** 32 - 1);
    writeUint32(answer, 4, WORD);
    guest.send(Uint8Array.of(1));
    host.write(Buffer.concat([PREFACE, encodeFrame(FrameKind.hello, hello), encodeFrame(FrameKind.answer, answer)]));
    await until(() => guest.inFlightBatches === 0);
    guest.send(Uint8Array.of(1));
    expect([guest.inFlightBytes, guest.inFlightBatches]).toEqual([1, 1]);
  });
});

it("the example of proto/README.md is what both ends write", async () => {
  const readme = readFileSync(resolve(import.meta.dirname, "../../../proto/README.md"), "utf8");
  const example = (side: string): string => {
    const [, block = ""] = new RegExp(`^\`\`\`${side}\\n([\\s\\S]*?)^\`\`\`$`, "m").exec(readme) ?? [];
    return block.replace(/#.*$/gm, "").replace(/\s/g, "");
  };
  const [up, down] = [new TransformStream<Uint8Array>(), new TransformStream<Uint8Array>()];
  const written = { guest: "", host: "" };
  const noting = (side: "guest" | "host"): TransformStream<Uint8Array> =>
    new TransformStream({
      transform(chunk, controller) {
        written[side] += Buffer.from(chunk).toString("hex");
        controller.enqueue(chunk);
      },
    });
  const host = streamReceiver({ readable: up.readable.pipeThrough(noting("guest")), writable: down.writable }, () => WORD);
  const guest = streamSender({ readable: down.readable.pipeThrough(noting("host")), writable: up.writable });
  guest.send(Uint8Array.of(0, 1, 2));
  expect(await guest.close()).toBe(0);
  expect(await host.ended).toEqual({ kind: "finished" });
  expect(written).toEqual({ guest: example("guest"), host: example("host") });
});
