import { captureConsole, createLog, type SenderOutput, type Span, TracingEventSender } from "@spanduct/sender";
import fc from "fast-check";
import { batch as arbitraryBatch } from "../support/arbitrary-events.ts";
import { type SinkCall, sinkTo } from "../support/sink-calls.ts";
import { vectorStreams } from "../support/vector-streams.ts";
import { Random } from "./random.ts";

/** Streams that honest guests make: what is mutated. Each begins with the header of a batch. */
export function realStreams(): readonly (readonly SinkCall[])[] {
  return [...recorded(), ...programs(), ...arbitrary()];
}

const PROGRAMS = 48;
const ARBITRARY = 48;
/** Calls of a recorded stream that are mutated together. */
const WINDOW = 80;

/** The recorded runs, long ones in windows that begin with their call sites. */
function recorded(): SinkCall[][] {
  return vectorStreams().flatMap(({ calls }) => {
    const sites = calls.filter(([method]) => method === "batch" || method === "newCallSite").slice(0, WINDOW / 2);
    const windows = [calls.slice(0, WINDOW)];
    for (let start = WINDOW; start < calls.length; start += WINDOW)
      windows.push([...sites, ...calls.slice(start, start + WINDOW)]);
    // The first and the last ones of a run are those that differ.
    return windows.length <= 4 ? windows : [...windows.slice(0, 2), ...windows.slice(-2)];
  });
}

function arbitrary(): SinkCall[][] {
  return fc.sample(arbitraryBatch, { seed: 1, numRuns: ARBITRARY }).map((calls) => [...calls]);
}

/** What our sender makes of random programs. */
function programs(): SinkCall[][] {
  return Array.from({ length: PROGRAMS }, (_, i) => {
    const calls: SinkCall[] = [];
    runProgram(new Random(`program ${i}`), recordingOutput(calls));
    return calls;
  });
}

/** An output that begins one batch and never ends it. */
function recordingOutput(calls: SinkCall[]): SenderOutput {
  const sink = sinkTo((call) => calls.push(call));
  return {
    open(clock, dropped) {
      if (calls.length === 0) {
        const baseTimeUnixNano = clock?.start() ?? 0n;
        calls.push([
          "batch",
          { version: 1, clock: clock?.domain ?? "none", baseTimeUnixNano, sequence: 0, droppedEvents: dropped },
        ]);
      }
      return sink;
    },
    delivered: () => undefined,
    discard: () => 1,
    flush: () => undefined,
  };
}

const NAMES = ["work", "fetch", "parse", "__proto__", "", "a name of some length, as people write them now and then"];
const FIELDS = ["a", "b", "url", "otel.name", "otel.kind", "otel.status_code", "__proto__", "constructor", "message", "7"];

/** Values that applications give, and some that they should not. */
export function applicationValue(random: Random): unknown {
  switch (random.below(16)) {
    case 0:
      return random.oneIn(2);
    case 1:
      return random.below(2 ** 32);
    case 2:
      return random.pick([2 ** 53, -(2 ** 53), 2n ** 64n - 1n, -(2n ** 127n), 2n ** 127n, 2n ** 200n]);
    case 3:
      return random.pick([0.5, -0, Number.NaN, Number.POSITIVE_INFINITY, 1e300, 5e-324]);
    case 4:
      return "x".repeat(random.below(40));
    case 5:
      return random.pick(["é€🦀", "\ud800", "a\0b", "\u2028", '{"json":true}', "error", "server"]);
    case 6:
      return new TypeError("outer", { cause: new Error("inner", { cause: random.oneIn(2) ? "text" : undefined }) });
    case 7:
      return { some: ["object", 1, null] };
    case 8:
      return random.pick([null, undefined, Symbol("s"), () => 1]);
    case 9:
      return "y".repeat(random.pick([63, 64, 127, 128, 300, 5000]));
    default:
      return random.below(100);
  }
}

/** A program that traces what programs trace: spans inside of each other, some of them at the same time, events, links, errors. */
export function runProgram(random: Random, output: SenderOutput, value: (random: Random) => unknown = applicationValue): void {
  let now = 0;
  const clock = {
    domain: random.pick(["wall", "frozen", "logical"] as const),
    start: () => 1_700_000_000_000_000_000n + BigInt(now),
    now: () => {
      now += random.below(1_000_000) - (random.oneIn(20) ? 2_000_000 : 0);
      return now;
    },
  };
  const tracing = new TracingEventSender(output, random.oneIn(4) ? {} : { clock });
  const fieldsOf = (): string[] => FIELDS.filter(() => random.oneIn(3));
  const sites = Array.from({ length: random.between(1, 4) }, () =>
    tracing.span({
      name: random.pick(NAMES),
      target: random.pick(["app", "lib", "__proto__"]),
      level: random.pick(["error", "info", "trace"]),
      fields: fieldsOf(),
      ...(random.oneIn(2) && { file: "src/main.ts", line: random.below(1000), modulePath: "app::main" }),
    }),
  );
  const event = tracing.event({ name: random.pick(NAMES), fields: ["message", ...fieldsOf()] });
  const log = createLog(tracing);
  const console = { log: () => undefined, error: () => undefined };
  captureConsole(tracing, console);
  const open: Span<string>[] = [];
  const anyOpen = (): Span<string> | undefined => (open.length === 0 ? undefined : random.pick(open));
  const values = (): { [name: string]: never } => {
    const given = Object.create(null) as { [name: string]: never };
    for (const field of FIELDS) if (random.oneIn(2)) given[field] = value(random) as never;
    return given;
  };
  for (let steps = random.between(5, 50); steps > 0; steps--) {
    const site = random.pick(sites);
    const some = anyOpen();
    switch (random.below(12)) {
      case 0:
      case 1:
        open.push(site.start(values(), random.oneIn(3) ? some : undefined));
        break;
      case 2:
      case 3:
        open.push(site.enter(values()));
        break;
      case 4:
        some?.record(values());
        break;
      case 5:
        if (random.oneIn(2)) some?.enter();
        else some?.exit();
        break;
      case 6:
        if (some !== undefined) open.push(some.clone());
        break;
      case 7:
        if (some !== undefined) anyOpen()?.followsFrom(some);
        break;
      case 8:
        event.emit(values(), random.oneIn(2) ? some : undefined);
        break;
      case 9:
        log.warn("something happened", values());
        (console.log as (...args: unknown[]) => void)("to the console", value(random));
        break;
      case 10:
        try {
          site.run(values(), () => {
            log.info("inside");
            if (random.oneIn(2)) throw new RangeError("of the application");
          });
        } catch (error) {
          if (!(error instanceof RangeError)) throw error;
        }
        break;
      default:
        some?.close();
        if (some !== undefined) open.splice(open.indexOf(some), 1);
    }
  }
  if (random.oneIn(2)) for (const span of open.reverse()) span.close();
  tracing.flush();
}
