import { once } from "node:events";
import * as threads from "node:worker_threads";
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";
import { controlWord, type TunnelError } from "@spanduct/protocol";
import { expect, it, onTestFinished } from "vitest";
import { type TransportPair, type TransportSetup, transportContract } from "../../../test/contract/transport.ts";
import { timerDelay } from "../../../test/support/timer-delay.ts";
import { messagePortReceiver, messagePortSender, type PortLike, type WebPort } from "./message-port.ts";
import { Pump } from "./pump.ts";

const WORD = controlWord(5, false);

function channel(): MessageChannel {
  const ports = new MessageChannel();
  onTestFinished(() => ports.port1.close());
  return ports;
}

/** Lets the event loop turn until `condition` holds. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}

function pairOver(ports: MessageChannel, guestPort: PortLike, { onBatch, maxInFlightBytes }: TransportSetup): TransportPair {
  const guest = messagePortSender(guestPort, { maxInFlightBytes });
  let handled = 0;
  let sent = 0;
  messagePortReceiver(ports.port2, (bytes) => {
    handled++;
    return onBatch(bytes);
  });
  return {
    guest: {
      send(batch) {
        const word = guest.send(batch);
        sent++;
        return word;
      },
    },
    settle: () => until(() => handled === sent && guest.inFlightBytes === 0),
    async closeHost() {
      const closed = once(ports.port1, "close");
      ports.port2.close();
      await closed;
    },
    async [Symbol.asyncDispose]() {
      ports.port2.close();
    },
  };
}

transportContract("message port, Node's API", (setup) => {
  const ports = new MessageChannel();
  return pairOver(ports, ports.port1, setup);
});

transportContract("message port, the web's API", (setup) => {
  const ports = new globalThis.MessageChannel() as unknown as MessageChannel;
  return pairOver(ports, webPort(ports.port1), setup);
});

/** A port that has the web's methods and no others. */
function webPort(port: MessagePort): WebPort {
  const web = port as unknown as Required<WebPort>;
  return {
    postMessage: (message, transfer) => web.postMessage(message, transfer),
    addEventListener: (event, listener) => web.addEventListener(event, listener),
    start: () => web.start(),
  };
}

it("messagePortReceiver: what is no batch is ignored and counted, and gets no answer", async () => {
  const { port1, port2 } = channel();
  const received: Uint8Array[] = [];
  const host = messagePortReceiver(port2, (bytes) => {
    received.push(bytes);
    return WORD;
  });
  const answers: unknown[] = [];
  port1.on("message", (message) => answers.push(message));

  const junk = [undefined, null, 7, "text", {}, [1], { byteLength: 3 }, Uint8Array.of(1), new SharedArrayBuffer(8), new Map()];
  for (const message of junk) port1.postMessage(message);
  port1.postMessage(Uint8Array.of(1, 2).buffer);
  await until(() => answers.length > 0);

  expect(received).toEqual([Uint8Array.of(1, 2)]);
  expect(host.stats).toEqual({ batches: 1, bytes: 2, ignored: junk.length, lost: 0 });
  expect(answers).toEqual([[1, WORD]]);
});

it("messagePortSender: answers that are no control words are ignored", async () => {
  const { port1, port2 } = channel();
  const guest = messagePortSender(port1, { poll: () => receiveMessageOnPort(port1) });
  guest.send(Uint8Array.of(1));
  for (const message of [0, WORD, "5", {}, null, [], [1], [1, 5], [WORD], ["1", WORD], [0.5, WORD]]) port2.postMessage(message);
  expect(guest.send(Uint8Array.of(2))).toBeUndefined();
  expect(guest.inFlightBytes).toBe(2);
});

it("messagePortSender: more answers than batches do no harm", () => {
  const { port1, port2 } = channel();
  const guest = messagePortSender(port1, { poll: () => receiveMessageOnPort(port1), maxInFlightBytes: 4 });
  for (let i = 0; i < 10; i++) port2.postMessage([i - 1, WORD]);
  expect(guest.send(new Uint8Array(3))).toBe(WORD);
  expect(guest.inFlightBytes).toBe(3);
  expect(() => guest.send(new Uint8Array(3))).toThrow("[transport_failed] 3 bytes refused: 3 of 4");
});

it("messagePortReceiver.drain: resolves when all that has arrived is handled", async () => {
  const { port1, port2 } = channel();
  const sizes: number[] = [];
  const onBatch = (bytes: Uint8Array): number => {
    sizes.push(bytes.length);
    return WORD;
  };
  const host = messagePortReceiver(port2, onBatch, { threads });
  const guest = messagePortSender(port1, { poll: () => receiveMessageOnPort(port1) });
  for (let size = 1; size <= 5; size++) guest.send(new Uint8Array(size));
  port1.postMessage("junk");
  await host.drain();
  expect(sizes).toEqual([1, 2, 3, 4, 5]);
  expect(host.stats).toEqual({ batches: 5, bytes: 15, ignored: 1, lost: 0 });
  guest.send(new Uint8Array(6));
  expect(guest.inFlightBytes).toBe(6);
});

it("messagePortReceiver: messages that cannot be read are counted, not thrown", async () => {
  const { port2 } = channel();
  let left = 3;
  const host = messagePortReceiver(port2, () => WORD, {
    threads: {
      MessageChannel,
      receiveMessageOnPort() {
        if (left-- <= 0) return undefined;
        throw new Error("could not be deserialized");
      },
    },
  });
  await host.drain();
  expect(host.stats).toEqual({ batches: 0, bytes: 0, ignored: 3, lost: 0 });
});

const MODULE = JSON.stringify(new URL("../dist/message-port.js", import.meta.url).href);

/** A worker whose code finds `port`, `worker_threads` and the built transport. */
function startWorker(code: string, port: MessagePort): Worker {
  const prelude = `const threads = require("node:worker_threads"); const { port } = threads.workerData;`;
  const source = `${prelude} import(${MODULE}).then(({ messagePortSender }) => { ${code} });`;
  const worker = new Worker(source, { eval: true, workerData: { port }, transferList: [port] });
  onTestFinished(async () => {
    await worker.terminate();
  });
  return worker;
}

it("messagePortSender in a Worker: a guest that never yields still sees answers, and its port does not keep it alive", async () => {
  const { port1, port2 } = channel();
  let bytes = 0;
  messagePortReceiver(port2, (batch) => {
    bytes += batch.length;
    return WORD;
  });
  // Sixteen times what may be on its way, in one turn of the guest's event loop.
  const worker = startWorker(
    `const guest = messagePortSender(port, { maxInFlightBytes: 4096, poll: () => threads.receiveMessageOnPort(port) });
     for (let sent = 0; sent < 64; ) {
       try { guest.send(new Uint8Array(1024)); sent++; }
       catch (error) { if (error.code !== "transport_failed") throw error; }
     }`,
    port1,
  );
  const [exitCode] = await once(worker, "exit");
  await until(() => bytes === 64 * 1024);
  expect(exitCode).toBe(0);
});

it("messagePortReceiver.drain: what a worker sent before it was terminated is there when it has exited", async () => {
  const { port1, port2 } = channel();
  const received: number[] = [];
  const onBatch = (batch: Uint8Array): number => {
    received.push(batch[0] as number);
    return WORD;
  };
  const worker = startWorker(
    `const guest = messagePortSender(port);
     for (let i = 1; i <= 5; i++) guest.send(Uint8Array.of(i));
     threads.parentPort.postMessage("sent");
     for (;;);`,
    port1,
  );
  await once(worker, "message");
  await worker.terminate();
  const host = messagePortReceiver(port2, onBatch, { threads });
  await host.drain();
  expect(received).toEqual([1, 2, 3, 4, 5]);
});

it("messagePortReceiver: answers that a guest does not read do not pile up, and it gets the newest once it reads", async () => {
  const { port1, port2 } = channel();
  const host = messagePortReceiver(port2, (bytes) => controlWord((bytes[0] as number) % 6, false), { threads });
  for (let i = 1; i <= 10_000; i++) {
    port1.postMessage(Uint8Array.of(i % 6).buffer);
    if (i % 100 === 0) await host.drain();
  }
  const answers: [batches: number, word: number][] = [];
  const read = (): void => {
    for (let next = receiveMessageOnPort(port1); next !== undefined; next = receiveMessageOnPort(port1))
      answers.push(next.message);
  };
  read();
  expect(answers).toHaveLength(256);
  port1.postMessage(256);
  await host.drain();
  read();
  expect(answers).toHaveLength(257);
  expect(answers.reduce((sum, [batches]) => sum + batches, 0)).toBe(10_000);
  expect(answers.at(-1)?.[1]).toBe(controlWord(10_000 % 6, false));
});

it("messagePortReceiver: a guest that does not wait for answers is cut off where the bound ends, and is told to the host", async () => {
  const { port1, port2 } = channel();
  let handled = 0;
  const failures: TunnelError[] = [];
  const host = messagePortReceiver(port2, () => ++handled && WORD, {
    threads,
    maxInFlightBytes: 1000,
    pump: new Pump({ turnMs: 0 }),
    onFailure: (error) => failures.push(error),
  });
  for (let i = 0; i < 100; i++) port1.postMessage(new ArrayBuffer(100));
  await host.drain();
  expect(failures.map(String)).toEqual([
    expect.stringContaining("[transport_failed] the guest does not wait for answers: 2200 bytes"),
  ]);
  expect(host.stats).toEqual({ batches: 0, bytes: 0, ignored: 0, lost: 100 });
  expect(handled).toBe(0);
});

it("messagePortReceiver: an honest guest's full window, and one batch of any size, are within the bound", async () => {
  const { port1, port2 } = channel();
  const failures: TunnelError[] = [];
  const onFailure = (error: TunnelError): number => failures.push(error);
  const host = messagePortReceiver(port2, () => WORD, { threads, maxInFlightBytes: 1000, onFailure });
  const guest = messagePortSender(port1, { maxInFlightBytes: 1000 });
  guest.send(new Uint8Array(100_000));
  await host.drain();
  await until(() => guest.inFlightBytes === 0);
  for (let i = 0; i < 10; i++) guest.send(new Uint8Array(100));
  await host.drain();
  expect(failures).toEqual([]);
  expect(host.stats).toEqual({ batches: 11, bytes: 101_000, ignored: 0, lost: 0 });
});

it("messagePortReceiver: a flood of messages that are no batches ends the port", async () => {
  const { port1, port2 } = channel();
  const failures: TunnelError[] = [];
  const host = messagePortReceiver(port2, () => WORD, { threads, onFailure: (error) => failures.push(error) });
  for (let i = 0; i <= 65_536; i++) port1.postMessage(-1);
  await host.drain();
  expect(failures.map(({ code }) => code)).toEqual(["transport_failed"]);
});

it.each([
  ["of batches that are small", "const batch = new ArrayBuffer(64); port.postMessage(batch, [batch]);"],
  ["of batches that are large", "const batch = new ArrayBuffer(1 << 20); port.postMessage(batch, [batch]);"],
  ["of other messages", "port.postMessage({ not: 'a batch' });"],
])("messagePortReceiver: a storm %s leaves the host its timers and its memory", { timeout: 60_000 }, async (_, post) => {
  const { port1, port2 } = channel();
  let cut = false;
  // A host that takes its time.
  const onBatch = (): number => {
    for (const end = performance.now() + 0.05; performance.now() < end; );
    return WORD;
  };
  const host = messagePortReceiver(port2, onBatch, { threads, onFailure: () => (cut = true) });
  const before = process.memoryUsage.rss();
  const worker = startWorker(`for (;;) { ${post} }`, port1);
  await once(worker, "online");
  let late = 0;
  let most = before;
  for (const end = performance.now() + 30_000; performance.now() < end && !cut; ) {
    late = Math.max(late, await timerDelay());
    most = Math.max(most, process.memoryUsage.rss());
  }
  await worker.terminate();
  await host.drain();
  expect(cut).toBe(true);
  expect(late).toBeLessThan(50);
  expect(most - before).toBeLessThan(512 * 1024 * 1024);
});
