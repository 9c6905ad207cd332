import { controlWord, DEFAULT_LIMITS, type DecodeError } from "@spanduct/protocol";
import { TracingEventReceiver } from "@spanduct/receiver";
import { batches, debug, float, uint } from "@spanduct/sender";
import { RelayLog } from "../../support/relay-log.ts";
import { type SinkCall, sinkTo } from "../../support/sink-calls.ts";
import { Random } from "../random.ts";
import { CODECS } from "../steps.ts";
import { applicationValue, runProgram } from "../streams.ts";
import { holds, type Target, Violation } from "../target.ts";
import { check } from "./decoder.ts";

interface Item {
  /** Of the program, of what it gives as values, and of what the host answers. */
  readonly program: string;
  readonly codec: string;
  readonly maxBytes: number;
  readonly maxEvents: number;
  /** Of the calls of the narrow function, one in so many throws; 0 for none. */
  readonly failing: number;
  /** Whether the host answers with whatever comes to its mind. */
  readonly moody: boolean;
}

/** Our own sender in an application that hands it anything, before a host that answers anything. */
export function senderTarget(): Target<Item> {
  return {
    name: "sender",
    what: "throws nothing into the application, and what it sends is proper and refused by no host that got all of it",
    make: (random) =>
      Array.from({ length: 3 }, () => ({
        program: String(random.bits()),
        codec: random.pick(Object.keys(CODECS)),
        maxBytes: random.pick([1, 100, 16_384]),
        maxEvents: random.pick([1, 7, 512]),
        failing: random.pick([0, 0, 2, 5]),
        moody: random.oneIn(2),
      })),
    run: (items) => items.reduce((events, item) => events + runItem(item), 0),
  };
}

function runItem({ program, codec: name, maxBytes, maxEvents, failing, moody }: Item): number {
  const random = new Random(program);
  const codec = CODECS[name] as NonNullable<(typeof CODECS)[string]>;
  const decoder = codec.createDecoder(DEFAULT_LIMITS);
  const receiver = new TracingEventReceiver<number>({}, {}, [], { relay: new RelayLog(), codec });
  let lost = false;
  const send = (bytes: Uint8Array): number | undefined => {
    if (failing > 0 && random.oneIn(failing)) {
      lost = true;
      throw new Error("of the boundary");
    }
    const calls: SinkCall[] = [];
    const errors: DecodeError[] = [];
    decoder.decode(
      bytes,
      sinkTo((call) => calls.push(call)),
      (error) => errors.push(error),
    );
    if (errors.length > 0) throw new Violation(`a batch of the sender is refused: ${errors[0]?.message}`);
    check({ calls, errors }, bytes, DEFAULT_LIMITS);
    const word = receiver.receiveBatch(bytes);
    if (!moody) return word;
    // A level that is turned down hides spans from the host, but none that it knows of.
    return random.pick([
      word,
      controlWord(random.below(6), random.oneIn(2)),
      undefined,
      -1,
      Number.NaN,
      "word" as never,
      {} as never,
    ]);
  };
  let violation: unknown;
  const guarded = (bytes: Uint8Array): number | undefined => {
    try {
      return send(bytes);
    } catch (error) {
      // The sender keeps what the boundary throws to itself.
      if (error instanceof Violation) violation = error;
      throw error;
    }
  };
  const output = batches(guarded, { encoder: codec.createEncoder(), maxBytes, maxEvents });
  runProgram(random, output, hostileValue);
  if (violation !== undefined) throw violation;
  const { refused, events, droppedEvents } = receiver.stats;
  if (!lost) {
    holds("nothing is dropped where nothing fails", droppedEvents === 0);
    const names = Object.keys(refused);
    if (names.length > 0) throw new Violation(`the host refuses what the sender sends: ${names}`);
  }
  holds("the host does not fail", refused.relay_failed === undefined && refused.malformed === undefined);
  return events + Object.values(refused).reduce((sum, count) => sum + count, 0);
}

/** Values that applications give, and values that throw, lie or never end. */
function hostileValue(random: Random): unknown {
  switch (random.below(20)) {
    case 0:
      return new Proxy(
        {},
        {
          get() {
            throw new Error("of the application");
          },
        },
      );
    case 1: {
      const { proxy, revoke } = Proxy.revocable(random.oneIn(2) ? {} : () => 1, {});
      revoke();
      return proxy;
    }
    case 2:
      return { toJSON: () => random.pick([undefined, 1n, Symbol("s")]), toString: null };
    case 3: {
      const cycle: { self?: unknown } = {};
      cycle.self = cycle;
      return random.oneIn(2) ? cycle : Object.assign(new Error("again"), { cause: cycle });
    }
    case 4: {
      const error = new Error("again");
      error.cause = error;
      return error;
    }
    case 5:
      return Object.defineProperties(new Error("e"), {
        message: { get: () => random.pick([1n, Symbol("s"), null, { toString: 1 }]) },
        stack: { value: random.pick([7, "s".repeat(random.oneIn(9) ? 70_000 : 70), undefined]) },
        name: { value: random.pick([null, "N".repeat(random.oneIn(9) ? 70_000 : 70), Symbol("s")]) },
      });
    case 6:
      return "\ud83e".repeat(random.pick([1, 20, 300, random.oneIn(9) ? 70_000 : 1, random.pick([1, 19_999, 20_000, 20_001])]));
    case 7:
      return new Date(Number.NaN);
    case 8:
      return uint(random.pick([-1, 2 ** 53, 2n ** 128n - 1n, 2n ** 128n, -1n, Number.NaN]));
    case 9:
      return float(random.pick([1, Number.NaN, 1n as never, "1" as never]));
    case 10:
      return debug(random.pick([1n, Symbol("s"), { deep: { deeper: [] } }]));
    case 11:
      return Array.from({ length: 50 }).reduce((cause: unknown) => new Error("c", { cause }), undefined);
    default:
      return applicationValue(random);
  }
}
