import { controlWord } from "@spanduct/protocol";
import { RingReader } from "@spanduct/transport/ring";
import { beforeAll, describe, expect, it } from "vitest";
import { decodeWithBoth } from "../../../../test/oracle/decode-with-both.ts";
import { compileC, missingClang } from "../../../../test/support/clang.ts";
import type { SinkCall } from "../../../../test/support/sink-calls.ts";
import { call, compile, type Host, hex, LIMITS, RuntimeError, SOURCE, start, valuesOf } from "./host.ts";

const missing = missingClang();

describe.skipIf(missing !== undefined)(missing === undefined ? "SPANDUCT_RING_BYTES" : `SPANDUCT_RING_BYTES (${missing})`, () => {
  const BYTES = 1024;
  let withRing: object;
  let withoutRing: object;

  beforeAll(async () => {
    withRing = await compile(compileC(SOURCE, ["-O2", `-DSPANDUCT_RING_BYTES=${BYTES}`]));
    withoutRing = await compile(compileC(SOURCE));
  }, 60_000);

  /** What a guest sends that nobody looks for a ring of. */
  function sentBy(module: object, run: (guest: Host["guest"]) => void): string[] {
    const { guest, batches } = start(module);
    run(guest);
    guest["flush"]?.();
    return batches.map(hex);
  }
  /** A guest and the reader of its ring, which its `send` empties first. `batches` has what went either way. */
  function startWithRing(word: number = controlWord(5, false)): Host & { readonly reader: RingReader; drain(): void } {
    const drain = (): void => {
      reader.look();
      for (let batch = reader.take(); batch !== undefined; batch = reader.take()) batches.push(batch);
    };
    const batches: Uint8Array[] = [];
    const host = start(withRing, {
      answer: () => {
        drain();
        const sent = host.batches.pop() as Uint8Array;
        if (sent.length > 0) batches.push(sent);
        return word;
      },
    });
    const reader = new RingReader(new Uint8Array(host.memory.buffer, Number(host.guest["spanduct_ring"]?.())));
    reader.control(word);
    return { ...host, batches, reader, drain };
  }

  function callsOf(batches: readonly Uint8Array[]): SinkCall[][] {
    const calls = batches.map((batch) => decodeWithBoth(batch, LIMITS));
    expect(calls.map(([header]) => header?.[1])).toMatchObject(batches.map((_, sequence) => ({ sequence })));
    return calls;
  }

  it("each event is visible at once, in one growing batch", () => {
    const { guest, batches, drain } = startWithRing();
    guest["spans"]?.();
    drain();
    guest["spans"]?.();
    drain();
    const [first, second] = callsOf(batches);
    expect(hex(batches[0] as Uint8Array)).toBe(sentBy(withoutRing, call("spans"))[0]);
    expect(first?.length).toBeGreaterThan(10);
    // Call sites are not announced again.
    expect(second?.filter(([method]) => method === "newCallSite")).toEqual([]);
    expect(batches).toHaveLength(2);
  });

  it("what was written before a trap is there", () => {
    const { guest, batches, drain } = startWithRing();
    guest["trappingClock"]?.();
    guest["noClock"]?.();
    guest["text"]?.(3);
    guest["trappingClock"]?.();
    expect(() => guest["text"]?.(1)).toThrow(RuntimeError);
    drain();
    expect(
      callsOf(batches)
        .flat()
        .map(([method]) => method),
    ).toEqual(["batch", "newCallSite", "newEvent"]);
  });

  it.each([1, 3, 64, 300])("a full ring is sent for, and nothing is lost: texts of %i bytes", (length) => {
    const { guest, batches, drain } = startWithRing();
    for (let i = 0; i < 200; i++) guest["text"]?.(length);
    for (let i = 0; i < 200; i++) guest["text"]?.(i * 10);
    drain();
    const events = callsOf(batches)
      .flat()
      .filter(([method]) => method === "newEvent");
    const lengths = events.map((event) => String(valuesOf(event)[0]?.[1]).length);
    expect(lengths).toEqual([...new Array(200).fill(length), ...Array.from({ length: 200 }, (_, i) => i * 10)]);
    expect(guest["droppedEvents"]?.()).toBe(0n);
  });

  it("the control word in the ring is followed without anything being sent", () => {
    const { guest, batches, reader, drain } = startWithRing();
    guest["text"]?.(1);
    reader.control(controlWord(2, false));
    guest["text"]?.(1);
    reader.control(controlWord(5, true));
    guest["text"]?.(1);
    guest["text"]?.(1);
    drain();
    expect(
      callsOf(batches)
        .flat()
        .map(([method]) => method),
    ).toEqual(["batch", "newCallSite", "newEvent", "newCallSite", "newEvent", "newEvent"]);
  });

  it("flush sends for what is in the ring, drops included; without a host that looks for the ring it sends batches", () => {
    const { guest, batches } = startWithRing();
    guest["text"]?.(1);
    guest["text"]?.(1 << 20);
    guest["flush"]?.();
    guest["flush"]?.();
    expect(callsOf(batches).map(([header]) => header?.[1])).toMatchObject([{ droppedEvents: 0 }, { droppedEvents: 1 }]);

    const run = call("spans", "flush", "spans");
    expect(sentBy(withRing, run)).toEqual(sentBy(withoutRing, run));
  });

  it("a ring that the host has closed is not written to", () => {
    const { guest, batches, reader } = startWithRing();
    guest["text"]?.(1);
    reader.close();
    batches.length = 0;
    guest["text"]?.(2);
    guest["flush"]?.();
    expect(batches.length).toBe(1);
  });
});
