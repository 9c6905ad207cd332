import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { controlWord } from "@spanduct/protocol";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { WebSocketServer, WebSocket as WsSocket } from "ws";
import { transportContract } from "../../../test/contract/transport.ts";
import { timerDelay } from "../../../test/support/timer-delay.ts";
import { FrameKind, writeUint32 } from "./frame.ts";
import { Pump } from "./pump.ts";
import {
  WEBSOCKET_PROTOCOL,
  type WebSocketLike,
  type WebSocketReceiver,
  type WebSocketReceiverOptions,
  webSocketReceiver,
  webSocketSender,
} from "./websocket.ts";

const WORD = controlWord(5, false);
const server = new WebSocketServer({ port: 0, host: "127.0.0.1", maxPayload: 8 * 1024 * 1024 });
const url = (): string => `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;

beforeAll(async () => {
  if (server.address() === null) await once(server, "listening");
});
afterAll(() => {
  for (const client of server.clients) client.terminate();
  server.close();
});

/** Lets the event loop turn until `condition` holds. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}

interface Ends<Guest> {
  readonly guest: Guest;
  readonly host: WsSocket;
}

/** A connection, whose host's end is that of `ws`. */
async function meet<Guest>(dial: (url: string) => Guest): Promise<Ends<Guest>> {
  const connection = once(server, "connection") as Promise<[WsSocket]>;
  const guest = dial(url());
  const [host] = await connection;
  onTestFinished(() => host.terminate());
  return { guest, host };
}

const withWs = (to: string): WsSocket => {
  const socket = new WsSocket(to, WEBSOCKET_PROTOCOL);
  onTestFinished(() => socket.terminate());
  return socket;
};
const withGlobal = (to: string): WebSocketLike => new WebSocket(to, WEBSOCKET_PROTOCOL);
const hasGlobal = "WebSocket" in globalThis;

const CLIENTS: readonly (readonly [name: string, dial: (url: string) => WebSocketLike])[] = [
  ["WebSocket, ws to ws", withWs],
  ...(hasGlobal ? [["WebSocket, the platform's own to ws", withGlobal] as const] : []),
];
if (!hasGlobal) it.skip("WebSocket, the platform's own to ws (this Node.js has none)");

for (const [name, dial] of CLIENTS) {
  transportContract(name, async ({ onBatch, maxInFlightBytes }) => {
    const ends = await meet(dial);
    const guest = webSocketSender(ends.guest, { maxInFlightBytes });
    const host = webSocketReceiver(ends.host, onBatch);
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
        ends.guest.close();
      },
    };
  });

  describe(`webSocketSender, ${name}`, () => {
    it("hello: brings the control word and the context, and what was sent before arrives", async () => {
      const connection = once(server, "connection") as Promise<[WsSocket]>;
      const guest = webSocketSender(dial(url()));
      expect(guest.send(Uint8Array.of(1))).toBeUndefined();
      const host = webSocketReceiver((await connection)[0], () => WORD, {
        control: controlWord(2, false),
        context: Uint8Array.of(7, 8),
      });
      expect(await guest.hello).toEqual({ control: controlWord(2, false), context: Uint8Array.of(7, 8) });
      expect(await guest.close()).toBe(0);
      expect(await host.ended).toEqual({ kind: "finished" });
      expect(host.stats).toEqual({ batches: 1, bytes: 1, ignored: 0 });
    });

    it("close: hands on what ended the guest", async () => {
      const ends = await meet(dial);
      const host = webSocketReceiver(ends.host, () => WORD);
      const guest = webSocketSender(ends.guest);
      await guest.hello;
      expect(await guest.close(Uint8Array.of(1, 2, 3))).toBe(0);
      expect(await host.ended).toEqual({ kind: "failed", reason: Uint8Array.of(1, 2, 3) });
    });

    it("closed: resolves with the number of batches that were not answered when the host goes away", async () => {
      const ends = await meet(dial);
      const guest = webSocketSender(ends.guest);
      webSocketReceiver(ends.host, () => WORD);
      await guest.hello;
      ends.host.terminate();
      for (let i = 0; i < 3; i++) guest.send(Uint8Array.of(1));
      expect(await guest.closed).toBe(3);
      expect(() => guest.send(Uint8Array.of(1))).toThrow("[transport_closed] the host is gone");
    });

    it("send: keeps no more than its bound for a host that does not read", async () => {
      const ends = await meet(dial);
      ends.host.pause();
      const guest = webSocketSender(ends.guest, { maxInFlightBytes: 4 << 20 });
      let accepted = 0;
      for (let i = 0; i < 6000; i++) {
        try {
          guest.send(new Uint8Array(1024));
          accepted++;
        } catch (error) {
          expect(error).toMatchObject({ code: "transport_failed" });
        }
        if (i % 100 === 0) await new Promise(setImmediate);
      }
      expect(accepted).toBe(4096);
      expect(ends.guest.bufferedAmount).toBeLessThanOrEqual(4096 * 1025);
    });
  });
}

interface RawGuest extends Ends<WsSocket> {
  readonly receiver: WebSocketReceiver;
}

/** A connection whose guest's end is in the hands of the test. */
async function rawGuest(
  onBatch: (bytes: Uint8Array) => number = () => WORD,
  options: WebSocketReceiverOptions = {},
  change: (socket: WsSocket) => WebSocketLike = (socket) => socket,
): Promise<RawGuest> {
  const ends = await meet(withWs);
  const receiver = webSocketReceiver(change(ends.host), onBatch, options);
  await once(ends.guest, "open");
  return { ...ends, receiver };
}

const batch = (...bytes: number[]): Uint8Array => Uint8Array.of(FrameKind.batch, ...bytes);

/** A socket that cannot be paused, and closes only with codes that browsers let it: that of Deno, for one. */
function standard(socket: WsSocket): WebSocketLike {
  return {
    get binaryType() {
      return socket.binaryType;
    },
    set binaryType(type) {
      socket.binaryType = type as "arraybuffer";
    },
    get bufferedAmount() {
      return socket.bufferedAmount;
    },
    get protocol() {
      return socket.protocol;
    },
    get readyState() {
      return socket.readyState;
    },
    addEventListener: (type, listener) => (socket as WebSocketLike).addEventListener(type, listener),
    send: (data) => socket.send(data),
    close(code = 1000) {
      if (code !== 1000 && (code < 3000 || code > 4999)) throw new DOMException("no", "InvalidAccessError");
      socket.close(code);
    },
  };
}

describe("webSocketReceiver", { timeout: 60_000 }, () => {
  it("ignores and counts text, and goes on", async () => {
    const received: Uint8Array[] = [];
    const { guest, receiver } = await rawGuest((bytes) => received.push(bytes) && WORD);
    guest.send("ping");
    guest.send(batch(1, 2));
    await until(() => receiver.stats.batches === 1);
    expect(receiver.stats).toEqual({ batches: 1, bytes: 2, ignored: 1 });
    expect(received).toEqual([Uint8Array.of(1, 2)]);
  });

  it.each([
    ["an empty message", new Uint8Array(), "malformed", 1002],
    ["a message of a host's", Uint8Array.of(FrameKind.answer, 0, 0, 0, 0, 0, 0, 0, 0), "malformed", 1002],
    ["a batch above the limit", new Uint8Array(1002).fill(FrameKind.batch), "limit_exceeded", 1009],
    ["an end above its limit", new Uint8Array(65_538).fill(FrameKind.end), "limit_exceeded", 1009],
  ])("closes the socket on %s, with the code for it", async (_, message, code, closeCode) => {
    for (const [change, expected] of [
      [(socket: WsSocket) => socket, closeCode],
      [standard, closeCode + 3000],
    ] as const) {
      const { guest, receiver } = await rawGuest(() => WORD, { maxBatchBytes: 1000 }, change);
      guest.send(new Uint8Array(1001).fill(FrameKind.batch));
      guest.send(message);
      const [ended, [actual]] = await Promise.all([receiver.ended, once(guest, "close")]);
      expect(ended).toMatchObject({ kind: "broken", error: { code } });
      expect(actual).toBe(expected);
      expect(receiver.stats.batches).toBe(1);
    }
  });

  it("closes a socket of another protocol, or of none", async () => {
    for (const protocol of [[], ["chat"]]) {
      const { guest, host } = await meet((to) => new WsSocket(to, protocol));
      const receiver = webSocketReceiver(host, () => WORD);
      const [ended, [code]] = await Promise.all([receiver.ended, once(guest, "close")]);
      expect(ended).toMatchObject({ kind: "broken", error: { code: "unsupported_version" } });
      expect(code).toBe(1002);
    }
  });

  it("is broken by what the server refuses itself", async () => {
    const { guest, receiver } = await rawGuest();
    guest.send(new Uint8Array(9 * 1024 * 1024));
    const [ended, [code]] = await Promise.all([receiver.ended, once(guest, "close")]);
    expect(ended).toMatchObject({
      kind: "broken",
      error: { code: "transport_failed", cause: { code: "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH" } },
    });
    expect(code).toBe(1009);
  });

  it("loses of a connection that is cut anywhere no more than the message it is cut in, and says so", async () => {
    const key = Buffer.alloc(4);
    const frames = [batch(1), batch(2, 2), Uint8Array.of(FrameKind.end)].map((payload) =>
      Buffer.concat([Uint8Array.of(0x82, 0x80 | payload.length), key, payload]),
    );
    const ends = frames.map((_, i) => frames.slice(0, i + 1).reduce((sum, { length }) => sum + length, 0));
    const stream = Buffer.concat(frames);
    for (let length = 0; length <= stream.length; length++) {
      const connection = once(server, "connection") as Promise<[WsSocket]>;
      const socket = await upgraded();
      const received: Uint8Array[] = [];
      const receiver = webSocketReceiver((await connection)[0], (bytes) => received.push(bytes) && WORD);
      socket.end(stream.subarray(0, length));
      const ended = await receiver.ended;
      expect(received).toEqual([Uint8Array.of(1), Uint8Array.of(2, 2)].slice(0, ends.filter((end) => end <= length).length));
      if (length === stream.length) expect(ended).toEqual({ kind: "finished" });
      else expect(ended).toMatchObject({ kind: "broken", error: { code: expect.stringMatching(/^transport_/) } });
      socket.destroy();
    }
  });

  it("pauses a guest that is faster than its host, and answers timers", async () => {
    const { guest, host, receiver } = await rawGuest(() => {
      for (const end = performance.now() + 1; performance.now() < end; );
      return WORD;
    });
    let sent = 0;
    const message = new Uint8Array(10_000).fill(FrameKind.batch);
    let storming = true;
    void (async () => {
      while (storming) await new Promise((resolve) => guest.send(message, () => resolve(++sent)));
    })();
    let late = 0;
    let paused = false;
    while (receiver.stats.batches < 100) {
      late = Math.max(late, await timerDelay());
      paused ||= host.isPaused;
    }
    storming = false;
    expect(paused).toBe(true);
    // What the operating system and the host's buffer hold.
    expect(sent - receiver.stats.batches).toBeLessThan(1000);
    expect(late).toBeLessThan(50);
    receiver.close();
  });

  it("takes a storm of messages, empty batches and text among them, in turns", async () => {
    const { guest, receiver } = await rawGuest(() => WORD, { pump: new Pump({ turnMs: 1 }) });
    for (let i = 0; i < 100_000; i++) guest.send(i % 2 === 0 ? batch() : "x");
    guest.send(Uint8Array.of(FrameKind.end));
    let turns = 0;
    let over = false;
    void receiver.ended.then(() => (over = true));
    await until(() => ++turns > 0 && over);
    expect(receiver.stats).toEqual({ batches: 50_000, bytes: 0, ignored: 50_000 });
    expect(turns).toBeGreaterThan(20);
  });

  it("cuts off a guest that does not wait for answers where sockets cannot be paused", async () => {
    const options = { maxInFlightBytes: 100_000 };
    const busy = (): number => {
      for (const end = performance.now() + 20; performance.now() < end; );
      return WORD;
    };
    const { guest, receiver } = await rawGuest(busy, options, standard);
    for (let i = 0; i < 1000; i++) guest.send(new Uint8Array(10_000).fill(FrameKind.batch));
    const [ended, [code]] = await Promise.all([receiver.ended, once(guest, "close")]);
    expect(ended).toMatchObject({ kind: "broken", error: { code: "transport_failed" } });
    expect(code).toBe(4008);
  });

  it("keeps few answers for a guest that does not read, and sends what they say once it does", async () => {
    // Over a unix socket, which keeps less on the way than TCP does.
    const folder = mkdtempSync(join(tmpdir(), "spanduct-"));
    const http = createServer().listen(join(folder, "socket"));
    const local = new WebSocketServer({ server: http });
    onTestFinished(() => {
      http.close();
      rmSync(folder, { recursive: true });
    });
    const connection = once(local, "connection") as Promise<[WsSocket]>;
    const guest = withWs(`ws+unix://${join(folder, "socket")}:/`);
    const [[host]] = await Promise.all([connection, once(guest, "open")]);
    // Each batch in a turn of its own, so that each is answered.
    const pump = new Pump({ turnMs: 0 });
    const receiver = webSocketReceiver(host, (bytes) => controlWord((bytes[0] as number) % 6, false), { pump });
    guest.pause();
    let most = 0;
    for (let i = 0; i < 100_000; i++) {
      guest.send(batch(i % 6));
      if (i % 100 === 0) await until(() => receiver.stats.batches >= i - 100);
      most = Math.max(most, host.bufferedAmount);
    }
    await until(() => receiver.stats.batches === 100_000);
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThan(128 * 1024);
    let answered = 0;
    guest.on("message", (data: Buffer) => {
      if (data[0] === FrameKind.answer) answered += data.readUInt32LE(1);
    });
    guest.resume();
    await until(() => answered === 100_000);
  });
});

/** A WebSocket whose frames the test makes itself. */
async function upgraded(): Promise<Socket> {
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  socket.write(
    [
      "GET / HTTP/1.1",
      "Host: localhost",
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
      `Sec-WebSocket-Protocol: ${WEBSOCKET_PROTOCOL}`,
      "\r\n",
    ].join("\r\n"),
  );
  socket.on("error", () => undefined);
  await once(socket, "data");
  return socket;
}

describe("webSocketSender", () => {
  it.each([
    ["an answer before hello", Uint8Array.of(FrameKind.answer, 0, 0, 0, 0, 0, 0, 0, 0)],
    ["a batch", batch(1)],
    ["an empty message", new Uint8Array()],
  ])("is closed by %s, and says why", async (_, message) => {
    const { guest: socket, host } = await meet(withWs);
    const guest = webSocketSender(socket);
    host.send("text is ignored");
    host.send(message);
    await expect(guest.hello).rejects.toMatchObject({ code: "transport_closed", cause: { code: "malformed" } });
    expect(await guest.closed).toBe(0);
  });

  it("is closed when nobody listens", async () => {
    const closed = createServer().listen(0, "127.0.0.1");
    await once(closed, "listening");
    const { port } = closed.address() as AddressInfo;
    closed.close();
    const guest = webSocketSender(new WsSocket(`ws://127.0.0.1:${port}`, WEBSOCKET_PROTOCOL));
    guest.send(Uint8Array.of(1));
    expect(await guest.closed).toBe(1);
  });

  it("does no harm when a host answers more than was sent", async () => {
    const { guest: socket, host } = await meet(withWs);
    const guest = webSocketSender(socket);
    const [hello, answer] = [new Uint8Array(5), new Uint8Array(9)];
    hello[0] = FrameKind.hello;
    answer[0] = FrameKind.answer;
    writeUint32(hello, 1, WORD);
    writeUint32(answer, 1, 2 ** 32 - 1);
    writeUint32(answer, 5, WORD);
    guest.send(Uint8Array.of(1));
    host.send(hello);
    host.send(answer);
    await until(() => guest.inFlightBatches === 0);
    guest.send(Uint8Array.of(1));
    expect([guest.inFlightBytes, guest.inFlightBatches]).toEqual([1, 1]);
  });
});
