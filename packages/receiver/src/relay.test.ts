import {
  type ClockDomain,
  type EventTime,
  ReceiveError,
  type TraceContext,
  type TracedValues,
  type TracingEvent,
  type TunnelError,
} from "@spanduct/protocol";
import { json } from "@spanduct/protocol/json";
import { protobuf } from "@spanduct/protocol/protobuf";
import { describe, expect, it } from "vitest";
import {
  batchOf,
  callSite,
  clone,
  drop,
  enter,
  event,
  exit,
  followsFrom,
  newSpan,
  record,
} from "../../../test/support/events.ts";
import { failing, RelayLog, RestoringRelayLog } from "../../../test/support/relay-log.ts";
import { type Relay, TracingEventReceiver } from "./index.ts";

const A = { a: { int: 1 } };

/** Something of everything; what it leaves open is entered. */
const PROGRAM: readonly TracingEvent[] = [
  callSite(1),
  newSpan(1, A),
  enter(1),
  newSpan(2, {}, 1),
  newSpan(3),
  clone(2),
  drop(2),
  record(2, A),
  followsFrom(3, 1),
  enter(2),
  event(A),
  event({}, 1),
  exit(2),
  drop(3),
  enter(2),
];

const METHODS = [
  "timeBase",
  "registerCallSite",
  "newSpan",
  "record",
  "recordFollowsFrom",
  "enter",
  "exit",
  "tryClose",
  "event",
  "loss",
  "maxLevel",
  "suspend",
  "saveSpan",
  "commit",
  "rollback",
  "restoreSpan",
] as const;

interface Run {
  readonly receiver: TracingEventReceiver<number>;
  readonly errors: TunnelError[];
}

function run(relay: Relay<number>, events = PROGRAM): Run {
  const errors: TunnelError[] = [];
  const receiver = new TracingEventReceiver<number>({}, {}, [], { relay, onError: (error) => errors.push(error) });
  // A gap, so that there is a loss to tell of.
  receiver.receiveBatch(batchOf(protobuf, events, { sequence: 2, clock: "wall" }));
  return { receiver, errors };
}

describe("Relay", () => {
  it("is told of the life of an attempt that is committed, and of the next one", () => {
    const log = new RestoringRelayLog();
    const { receiver } = run(log);
    expect(log.take()).toEqual([
      "time base 0 wall",
      "loss of 2 batches, 0 events",
      "call site site 1",
      "new 1 site 1{a=1}",
      "enter 1",
      "new 2 site 1 under 1",
      "new 3 site 1 in 1",
      "record 2 {a=1}",
      "follows 3 1",
      "enter 2",
      "event site 1{a=1} in 2",
      "event site 1 under 1",
      "exit 2",
      "close 3",
      "enter 2",
    ]);
    const metadata = receiver.persistMetadata();
    const { spans, localSpans } = receiver.persist();
    expect(log.take()).toEqual(["suspend", "exit 2", "exit 1", "save 1", "save 2", "commit"]);

    const next = new TracingEventReceiver<number>(metadata, spans, localSpans, { relay: log });
    expect(log.take()).toEqual([
      "call site site 1",
      "restore 1 site 1{a=1} local 1 saved 1",
      "restore 2 site 1{a=1} local 2 saved 2",
    ]);
    for (const one of [event(), drop(2), newSpan(4), enter(4)]) next.receive(one);
    expect(log.take()).toEqual(["event site 1 in 2", "close 2", "new 4 site 1 in 1", "enter 4"]);
    next[Symbol.dispose]();
    expect(log.take()).toEqual(["rollback", "exit 4", "close 4"]);
  });

  it("is not told anything after the end", () => {
    for (const end of ["persist", Symbol.dispose] as const) {
      const log = new RestoringRelayLog();
      const { receiver, errors } = run(log);
      receiver[end]();
      log.take();
      receiver.receiveBatch(batchOf(protobuf, PROGRAM, { sequence: 9 }));
      expect(receiver.tryReceive({ span_entered: { id: 1, time_unix_nano: 5 } })?.code).toBe("receiver_closed");
      expect(() => receiver.batch({ version: 1, clock: "wall", baseTimeUnixNano: 0n, sequence: 0, droppedEvents: 0 })).toThrow(
        ReceiveError,
      );
      expect(() => receiver.persist()).toThrow(expect.objectContaining({ code: "receiver_closed" }));
      receiver[Symbol.dispose]();
      expect(log.take()).toEqual([]);
      expect(errors.map((error) => error.code)).toEqual(["receiver_closed", "receiver_closed"]);
      expect(receiver.stats.refused).toEqual({ receiver_closed: 2 });
      expect(receiver.stats).toMatchObject({ batches: 1, events: PROGRAM.length });
    }
  });

  it("need have none of the optional methods", () => {
    const { newSpan: open, ...rest } = { ...methodsOf(new RelayLog()) };
    const relay = { newSpan: open, record: rest.record, recordFollowsFrom: rest.recordFollowsFrom, enter: rest.enter } as const;
    const { receiver, errors } = run({ ...relay, exit: rest.exit, tryClose: rest.tryClose, event: rest.event });
    receiver.receive({ span_entered: { id: 1, time_unix_nano: 5 } });
    receiver.persist();
    expect(errors).toEqual([]);
  });
});

describe("Relay.timeBase", () => {
  const times: [base: bigint, clock: ClockDomain][] = [];
  const relay = { timeBase: (base: bigint, clock: ClockDomain) => times.push([base, clock]) };
  const receiver = new TracingEventReceiver<number>({}, {}, [], { relay: Object.assign(new RelayLog(), relay), codec: json });
  const told = (batch: Uint8Array) => {
    times.length = 0;
    receiver.receiveBatch(batch);
    return times;
  };

  it("says what the times of a batch count from and mean", () => {
    const base = 1_700_000_000_000_000_000n;
    for (const clock of ["frozen", "logical", "none", "wall"] as const) {
      expect(told(batchOf(json, [], { baseTimeUnixNano: base, clock }))).toEqual([[base, clock]]);
    }
  });

  it("keeps the guest's clock when a batch begins to count anew", () => {
    const far = { new_call_site: { ...site(1), time_unix_nano: 1_700_000_000_000_000_000n } } as TracingEvent;
    expect(told(batchOf(json, [far], { clock: "logical" }))).toEqual([
      [0n, "logical"],
      [1_700_000_000_000_000_000n, "logical"],
    ]);
  });

  it("takes the times of single events for real ones", () => {
    const lone = new TracingEventReceiver<number>({}, {}, [], { relay: Object.assign(new RelayLog(), relay) });
    times.length = 0;
    lone.receive({ new_call_site: { ...site(1), time_unix_nano: 7 } });
    lone.receive(callSite(1));
    expect(times).toEqual([[7n, "wall"]]);
  });

  it("stands before every event that has a time", () => {
    const log = new RelayLog();
    const lone = new TracingEventReceiver<number>({}, {}, [], { relay: log });
    lone.receive(callSite(1));
    lone.receive({ new_span: { id: 1, metadata_id: 1, values: {}, time_unix_nano: 2n ** 63n } });
    lone.receive(enter(1));
    expect(log.take()).toEqual(["call site site 1", `time base ${2n ** 63n} wall`, "new 1 site 1 @0", "enter 1"]);
  });
});

function site(id: number) {
  return (callSite(id) as Extract<TracingEvent, { new_call_site: unknown }>).new_call_site;
}

function methodsOf(
  log: RelayLog,
): Required<Pick<Relay<number>, "newSpan" | "record" | "recordFollowsFrom" | "enter" | "exit" | "tryClose" | "event">> {
  return {
    newSpan: (...args) => log.newSpan(...args),
    record: (...args) => log.record(...args),
    recordFollowsFrom: (...args) => log.recordFollowsFrom(...args),
    enter: (...args) => log.enter(...args),
    exit: (...args) => log.exit(...args),
    tryClose: (...args) => log.tryClose(...args),
    event: (...args) => log.event(...args),
  };
}

describe("Relay.traceContext", () => {
  const traceContext = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", spanKey: "0".repeat(32) };

  it("is the receiver's, asked after spans are restored", () => {
    expect(run(new RelayLog()).receiver.traceContext).toBeUndefined();
    const relay = Object.assign(new RestoringRelayLog(), { traceContext: undefined as TraceContext | undefined });
    const restoreSpan = relay.restoreSpan.bind(relay);
    relay.restoreSpan = (span) => {
      relay.traceContext = traceContext;
      return restoreSpan(span);
    };
    const { receiver } = run(new RestoringRelayLog());
    const metadata = receiver.persistMetadata();
    const { spans } = receiver.persist();
    expect(new TracingEventReceiver(metadata, spans, [], { relay }).traceContext).toEqual(traceContext);
  });

  it("of a relay that throws is none, and that is reported", () => {
    const relay: Relay<number> = Object.defineProperty(new RelayLog(), "traceContext", {
      get() {
        throw new Error("broke");
      },
    });
    const { receiver, errors } = run(relay);
    const before = errors.length;
    expect(receiver.traceContext).toBeUndefined();
    expect(errors.slice(before).map(({ code }) => code)).toEqual(["relay_failed"]);
  });
});

describe("A relay that throws", () => {
  const healthy = run(new RestoringRelayLog()).receiver.persist();

  it.each(METHODS)("from %s costs nothing but that call", (method) => {
    const log = new RestoringRelayLog();
    const { receiver, errors } = run(failing(log, method));
    const metadata = receiver.persistMetadata();
    const { spans, localSpans } = receiver.persist();
    const failures = errors.length;
    const next = new TracingEventReceiver<number>(metadata, spans, localSpans, {
      relay: failing(log, method),
      onError: (error) => errors.push(error),
    });
    for (const one of [enter(1), event(), newSpan(9), drop(1)])
      expect([undefined, "relay_failed"]).toContain(next.tryReceive(one)?.code);
    next[Symbol.dispose]();

    expect(errors.length).toBeGreaterThan(0);
    for (const error of errors) {
      expect(error).toMatchObject({ code: "relay_failed", message: `[relay_failed] the relay threw: ${method} broke` });
      expect(error.cause).toEqual(new Error(`${method} broke`));
    }
    // What the guest did is the same, whatever the host made of it.
    expect(withoutRelay(spans)).toEqual(withoutRelay(healthy.spans));
    expect(receiver.stats).toMatchObject({ events: PROGRAM.length, liveSpans: 2 });
    expect(receiver.stats.refused).toEqual(failures > 0 ? { relay_failed: failures } : {});
  });

  it("from all of its methods at once does not stop the guest, the commit or the rollback", () => {
    const relay = failing(new RestoringRelayLog());
    const { receiver, errors } = run(relay);
    expect(errors.length).toBeGreaterThan(10);
    const { spans, localSpans } = receiver.persist();
    expect(spans).toEqual(withoutRelay(healthy.spans));
    expect([...localSpans]).toEqual([]);
    const next = new TracingEventReceiver<number>(receiver.persistMetadata(), spans, localSpans, { relay });
    for (const one of PROGRAM) expect([undefined, "relay_failed"]).toContain(next.tryReceive(one)?.code);
    expect(() => next[Symbol.dispose]()).not.toThrow();
    expect(Object.keys(next.stats.refused)).toEqual(["relay_failed"]);
  });

  it("when a span opens gets it when the guest next enters it, with all that was recorded since", () => {
    const log = new RelayLog();
    let broken = true;
    const relay: Relay<number> = {
      ...methodsOf(log),
      newSpan(...args) {
        if (broken) throw new Error("not now");
        return log.newSpan(...args);
      },
    };
    const receiver = new TracingEventReceiver<number>({}, {}, [], { relay });
    expect([callSite(1), newSpan(1, A), enter(1)].map((one) => receiver.tryReceive(one)?.code)).toEqual([
      undefined,
      "relay_failed",
      "relay_failed",
    ]);
    for (const one of [record(1, { b: { bool: true } }), newSpan(2), event({}, 1), exit(1)]) receiver.tryReceive(one);
    expect(log.take()).toEqual(["event site 1"]);
    broken = false;
    for (const one of [enter(1), drop(1)]) expect(receiver.tryReceive(one)).toBeUndefined();
    expect(log.take()).toEqual(["new 1 site 1{a=1, b=true}", "enter 1", "close 1"]);
  });

  it("something that is no error is reported all the same", () => {
    const relay = {
      ...methodsOf(new RelayLog()),
      event() {
        // biome-ignore lint/style/useThrowOnlyError: code that a relay calls may do it.
        throw "text";
      },
    };
    const { receiver } = run(relay, [callSite(1)]);
    expect(receiver.tryReceive(event())).toMatchObject({
      code: "relay_failed",
      reason: "the relay threw: string",
      cause: "text",
    });
  });
});

describe("A host whose onError", () => {
  it("throws goes on, and commits", () => {
    const receiver = new TracingEventReceiver<number>({}, {}, [], {
      relay: failing(new RelayLog(), "exit"),
      onError() {
        throw new Error("no disk");
      },
    });
    receiver.receiveBatch(batchOf(protobuf, [callSite(1), enter(7), newSpan(1), enter(1), exit(1), enter(1)]));
    expect(receiver.stats).toMatchObject({ events: 5, refused: { unknown_span_id: 1, relay_failed: 1 } });
    expect(Object.keys(receiver.persist().spans)).toEqual(["1"]);
  });

  it("disposes of the receiver is taken at its word: the rest of the batch is refused", () => {
    const log = new RelayLog();
    const codes: string[] = [];
    const receiver: TracingEventReceiver<number> = new TracingEventReceiver<number>({}, {}, [], {
      relay: log,
      onError(error) {
        codes.push(error.code);
        receiver[Symbol.dispose]();
      },
    });
    receiver.receiveBatch(batchOf(protobuf, [callSite(1), newSpan(1), enter(1), exit(9), event()]));
    expect(codes).toEqual(["unknown_span_id", "receiver_closed"]);
    expect(log.take().slice(-3)).toEqual(["rollback", "exit 1", "close 1"]);
  });
});

describe("Arguments of a relay", () => {
  it("are on loan: values are filled again for the next call", () => {
    const kept: TracedValues[] = [];
    const sizes: number[] = [];
    const relay: Relay<number> = {
      ...methodsOf(new RelayLog()),
      event(_callSite, values, _parent, _time: EventTime) {
        kept.push(values);
        sizes.push(values.size);
      },
    };
    const { receiver } = run(relay, [callSite(1)]);
    receiver.receive(event(A));
    receiver.receive(event({}));
    expect(sizes).toEqual([1, 0]);
    expect(kept.map(({ size }) => size)).toEqual([0, 0]);
  });
});

function withoutRelay(spans: object): object {
  return Object.fromEntries(
    Object.entries(spans).map(([id, { relay: _relay, ...span }]: [string, { relay?: unknown }]) => [id, span]),
  );
}
