import type { TunnelError } from "@spanduct/protocol";
import { TracingEventReceiver } from "@spanduct/receiver";
import { batches, TracingEventSender } from "@spanduct/sender";
import { describe, expect, it } from "vitest";
import { RelayLog } from "../support/relay-log.ts";

/** A real sender and a real receiver, with a wire between them that can be cut. */
class Tunnel {
  readonly log = new RelayLog();
  readonly errors: string[] = [];
  readonly receiver = new TracingEventReceiver<number>({}, {}, [], {
    relay: this.log,
    onError: (error: TunnelError) => this.errors.push(error.code),
  });
  /** What happens to batches: delivered, lost without a word, or refused with an exception. */
  wire: "whole" | "cut" | "broken" = "whole";
  batches = 0;
  readonly sender = new TracingEventSender(
    batches((batch) => {
      if (this.wire === "broken") throw new Error("no memory");
      if (this.wire === "cut") return undefined;
      this.batches++;
      return this.receiver.receiveBatch(batch);
    }),
  );
  readonly task = this.sender.span({ name: "task", fields: ["n"] });
  readonly note = this.sender.event({ name: "note" });
  readonly detail = this.sender.event({ name: "detail", level: "trace" });

  /** One batch: a span with an event in it. */
  work(n: number): string[] {
    this.task.run({ n }, () => this.note.emit());
    this.sender.flush();
    return this.log.take().filter((line) => !line.startsWith("time base"));
  }
}

const done = (n: number, span: number) => [
  `new ${span} task{n=${n}}`,
  `enter ${span}`,
  `event note in ${span}`,
  `exit ${span}`,
  `close ${span}`,
];

describe("A tunnel that has lost batches", () => {
  it("heals: the guest is asked once to announce its call sites, and everything after that arrives", () => {
    const tunnel = new Tunnel();
    tunnel.wire = "cut";
    expect(tunnel.work(1)).toEqual([]);
    tunnel.wire = "whole";
    // The guest believes that the host knows its call sites, so this one is lost too, visibly.
    expect(tunnel.work(2)).toEqual(["loss of 1 batches, 0 events"]);
    expect(tunnel.errors).toEqual([
      "unknown_metadata_id",
      "unknown_span_id",
      "unknown_metadata_id",
      "unknown_span_id",
      "unknown_span_id",
    ]);
    expect(tunnel.work(3)).toEqual(["call site task", ...done(3, 1).slice(0, 2), "call site note", ...done(3, 1).slice(2)]);
    expect(tunnel.work(4)).toEqual(done(4, 2));
    expect(tunnel.errors).toHaveLength(5);
    expect(tunnel.receiver.stats).toMatchObject({ lostBatches: 1, droppedEvents: 0, callSites: 2 });
  });

  it("goes on at once where the host knows the call sites already", () => {
    const tunnel = new Tunnel();
    tunnel.work(1);
    tunnel.wire = "cut";
    tunnel.work(2);
    tunnel.work(3);
    tunnel.wire = "whole";
    expect(tunnel.work(4)).toEqual(["loss of 2 batches, 0 events", ...done(4, 2)]);
    // Announced again as asked, which tells the relay nothing new, and only once.
    const { events } = tunnel.receiver.stats;
    tunnel.work(5);
    tunnel.work(6);
    expect(tunnel.receiver.stats.events - events).toBe(2 + 2 * 5);
    expect(tunnel.errors).toEqual([]);
  });

  it("knows how many events a guest lost that could not send", () => {
    const tunnel = new Tunnel();
    tunnel.work(1);
    tunnel.wire = "broken";
    tunnel.work(2);
    tunnel.wire = "whole";
    expect(tunnel.work(3)[0]).toBe("loss of 1 batches, 5 events");
    expect(tunnel.receiver.stats).toMatchObject({ lostBatches: 1, droppedEvents: 5 });
  });
});

describe("The level that the host wants", () => {
  it("reaches the guest with the next control word, which then does nothing for what is more verbose", () => {
    const tunnel = new Tunnel();
    tunnel.receiver.maxLevel = 3;
    tunnel.work(1);
    expect(tunnel.sender.maxLevel).toBe(3);
    tunnel.detail.emit();
    expect(tunnel.work(2)).toEqual(done(2, 2));

    tunnel.receiver.maxLevel = 0;
    tunnel.work(3);
    const before = tunnel.batches;
    expect(tunnel.work(4)).toEqual([]);
    expect(tunnel.batches).toBe(before);

    // Nothing goes out any more, so the host has to tell the guest on a way of its own.
    tunnel.receiver.maxLevel = 5;
    tunnel.sender.control(tunnel.receiver.control());
    expect(tunnel.work(5)).toEqual(done(5, 4));
  });

  it("is off when the relay has no use for the execution", () => {
    const tunnel = new Tunnel();
    Object.assign(tunnel.log, { maxLevel: 0 });
    tunnel.work(1);
    expect(tunnel.sender.maxLevel).toBe(0);
    expect(tunnel.work(2)).toEqual([]);
  });
});
