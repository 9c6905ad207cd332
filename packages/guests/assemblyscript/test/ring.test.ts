import { controlWord } from "@spanduct/protocol";
import { RingReader } from "@spanduct/transport/ring";
import { beforeAll, describe, expect, it } from "vitest";
import { compileAssemblyScript } from "../../../../test/support/assemblyscript.ts";
import { bodyOf, kindOf, RecordingHost } from "../../../../test/support/recording-host.ts";

/** What the tests use of the global `WebAssembly`, which only TypeScript's DOM library describes. */
interface WebAssemblyApi {
  compile(binary: Uint8Array): Promise<object>;
  readonly Instance: new (module: object, imports: object) => { readonly exports: object };
}
const { compile, Instance } = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;

const SOURCE = `
  import { close, EventSite, enter, flush, Level, setClock, Clock, SpanSite } from "@spanduct/guest-assemblyscript/assembly";
  export { flush };

  const WORK = new SpanSite("work", Level.Info, ["n"]);
  const NOTE = new EventSite("note", Level.Info, ["text"]);

  export function text(length: i32): void {
    NOTE.emit("x".repeat(length));
  }

  export function spans(count: i32): void {
    for (let i = 0; i < count; i++) {
      const span = WORK.open(i);
      enter(span);
      NOTE.emit("in work");
      WORK.record(span, 0, i + 1);
      close(span);
    }
  }

  let time: i64 = 0;
  export function tick(): void {
    setClock((): i64 => (time += 1000), Clock.Logical);
  }

  export function trap(): void {
    enter(WORK.open(7));
    unreachable();
  }
`;
const RING = `export { ring as spanduct_ring } from "@spanduct/guest-assemblyscript/assembly";`;

let withRing: object;
let withoutRing: object;

beforeAll(async () => {
  const options = ["--runtime", "stub", "--use", "abort="];
  const sources = { "ring-guest.ts": SOURCE + RING, "plain-guest.ts": SOURCE };
  withRing = await compile(await compileAssemblyScript("ring-guest.ts", options, sources));
  withoutRing = await compile(await compileAssemblyScript("plain-guest.ts", options, sources));
}, 60_000);

interface Guest {
  readonly memory: { readonly buffer: ArrayBuffer };
  spanduct_ring?(): number;
  flush(): void;
  text(length: number): void;
  spans(count: number): void;
  tick(): void;
  trap(): void;
}

/** A guest whose host keeps the batches that it sends. */
function start(module: object, onSend: () => void = () => undefined): { guest: Guest; host: RecordingHost } {
  const host = new RecordingHost();
  const instance = new Instance(module, {
    spanduct: {
      send(pointer: number, length: number): number {
        onSend();
        if (length > 0) host.send(new Uint8Array(guest.memory.buffer, pointer, length));
        return 0;
      },
    },
  });
  const guest = instance.exports as Guest;
  return { guest, host };
}

interface Joined {
  readonly guest: Guest;
  readonly host: RecordingHost;
  readonly reader: RingReader;
  /** Takes what is in the ring. */
  drain(): void;
  /** How often the guest called. */
  sends(): number;
}

/** A guest with a ring, which its `send` empties first. */
function startWithRing(): Joined {
  let sends = 0;
  const { guest, host } = start(withRing, () => {
    sends++;
    drain();
  });
  const at = guest.spanduct_ring?.();
  // Strings make the memory grow.
  const ring = (): Uint8Array => new Uint8Array(guest.memory.buffer, at);
  const reader = new RingReader(ring());
  reader.control(controlWord(5, false));
  const drain = (): void => {
    reader.moved(ring());
    reader.look();
    for (let batch = reader.take(); batch !== undefined; batch = reader.take()) host.send(batch);
  };
  return { guest, host, reader, drain, sends: () => sends };
}

function expectNumbered({ headers }: RecordingHost): void {
  expect(headers.map(({ sequence }) => sequence)).toEqual(headers.map((_, i) => i));
}

function lengthsOf(host: RecordingHost): number[] {
  const notes = host.events.filter((event) => "new_event" in event);
  return notes.map((event) => (bodyOf(event)["values"] as { text: { string: string } }).text.string.length);
}

describe("ring", () => {
  it("has every event at once, in one batch that grows, and the bytes are those of the batch that is sent without a ring", () => {
    const { guest, host, drain, sends } = startWithRing();
    guest.tick();
    guest.spans(2);
    drain();
    guest.spans(1);
    drain();
    expect(sends()).toBe(0);
    expectNumbered(host);
    // Call sites are not announced again.
    expect(host.eventsByBatch[1]?.map(kindOf)).toEqual([
      "new_span",
      "span_entered",
      "new_event",
      "values_recorded",
      "span_dropped",
    ]);
    expect(host.events.at(-1)).toMatchObject({ span_dropped: { id: 3, time_unix_nano: 15_000 } });

    const plain = start(withoutRing);
    plain.guest.tick();
    plain.guest.spans(2);
    plain.guest.flush();
    expect(plain.host.batches[0]).toEqual(host.batches[0]);
  });

  it("has what was written before a trap", () => {
    const { guest, host, drain } = startWithRing();
    expect(() => guest.trap()).toThrow("unreachable");
    drain();
    expect(host.events.map(kindOf)).toEqual(["new_call_site", "new_span", "span_entered"]);
  });

  it.each([0, 1, 50, 1000, 20_000])("is sent for when it is full, and nothing is lost: texts of %d bytes and more", (length) => {
    const { guest, host, drain, sends } = startWithRing();
    guest.tick();
    const lengths = Array.from({ length: 3000 }, (_, i) => length + (i % 7));
    lengths.push(65_000, 65_536, 3);
    for (const each of lengths) guest.text(each);
    drain();
    expect(sends()).toBeGreaterThan(0);
    expectNumbered(host);
    expect(lengthsOf(host)).toEqual(lengths);
    const times = host.events.filter((event) => "new_event" in event).map((event) => bodyOf(event)["time_unix_nano"] as number);
    expect(times.every((time, i) => i === 0 || time > (times[i - 1] as number))).toBe(true);
    expect(host.events.filter((event) => "new_call_site" in event).length).toBeGreaterThan(0);
  });

  it("announces a call site again whose announcement found no room", () => {
    for (let room = 0; room < 120; room++) {
      const { guest, host, drain } = startWithRing();
      // The ring is full but for a few bytes when the other call site comes.
      for (let i = 0; i < 4; i++) guest.text(15_900 + (i === 0 ? room : 0));
      guest.text(1700);
      guest.spans(1);
      drain();
      expectNumbered(host);
      const kinds = host.events.map(kindOf);
      expect(kinds.indexOf("new_span")).toBeGreaterThan(kinds.lastIndexOf("new_call_site"));
      expect(kinds.filter((kind) => kind === "new_call_site")).toHaveLength(2);
    }
  });

  it("tells of the control word without anything being sent, and of a request to announce once", () => {
    const { guest, host, reader, drain } = startWithRing();
    guest.text(1);
    drain();
    reader.control(controlWord(2, false));
    guest.text(1);
    reader.control(controlWord(5, true));
    guest.text(1);
    guest.text(1);
    drain();
    expect(host.events.map(kindOf)).toEqual(["new_call_site", "new_event", "new_call_site", "new_event", "new_event"]);
  });

  it("is read at a flush, and without a host that asks for it batches are sent as ever", () => {
    const { guest, host, sends } = startWithRing();
    guest.text(1);
    guest.text(1 << 20);
    guest.flush();
    guest.flush();
    guest.text(1);
    guest.flush();
    // For what is in the ring, with the news of the drop, and for what is in the ring.
    expect(sends()).toBe(3);
    expect(host.headers.map(({ droppedEvents }) => droppedEvents)).toEqual([0, 1, 1]);

    const sent = [withRing, withoutRing].map((module) => {
      const plain = start(module);
      plain.guest.spans(1000);
      plain.guest.flush();
      return plain.host.batches;
    });
    expect(sent[0]).toEqual(sent[1]);
  });

  it("is not written to when the host has closed it", () => {
    const { guest, host, reader, drain } = startWithRing();
    guest.text(1);
    drain();
    reader.close();
    guest.text(2);
    guest.flush();
    expect(lengthsOf(host)).toEqual([1, 2]);
  });
});
