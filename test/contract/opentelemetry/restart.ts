import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { deserialize, serialize } from "node:v8";
import { type ExecutionOptions, OpenTelemetryRelay, type ReadableSpan } from "@spanduct/opentelemetry";
import type { TracingEvent } from "@spanduct/protocol";
import { parseEvent, printState } from "@spanduct/protocol/json";
import { type CallSite, MetadataArena } from "@spanduct/receiver";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { callSite, EPOCH, Guest } from "./guest.ts";
import { elsewhere, FRESH, Host, type State } from "./host.ts";
import { program } from "./programs.ts";
import type { RestartResult, RestartTask } from "./restart-child.ts";
import type { SdkLine } from "./sdk-line.ts";
import { byIdentity, type SpanData, spanData } from "./span-data.ts";

const STREAMS = resolve(import.meta.dirname, "../../vectors/streams");

/** Runs of the genuine crate, with times put in. */
const STREAM_NAMES = readdirSync(STREAMS)
  .filter((name) => name.endsWith(".jsonl"))
  .sort();

function streamEvents(name: string): TracingEvent[] {
  const lines = readFileSync(join(STREAMS, name), "utf8").trimEnd().split("\n");
  return lines.map((text, i) => {
    const [kind, body] = Object.entries(parseEvent(text))[0] as [string, object];
    return { [kind]: { ...body, time_unix_nano: EPOCH + BigInt(i) * 1_000_003n } } as TracingEvent;
  });
}

/** An execution that is persisted and goes on in another process exports what it would have exported in one. */
export function restartContract(line: SdkLine): void {
  const options: ExecutionOptions = {
    seed: 0x0123_4567_89ab_cdefn,
    parent: { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 },
  };
  const ownTraces: ExecutionOptions = { ...options, parent: line.api.ROOT_CONTEXT };

  function uninterrupted(events: readonly TracingEvent[], how: ExecutionOptions): { [identity: string]: SpanData } {
    const host = new Host(line);
    host.commit(events, FRESH, how);
    expect(host.errors).toEqual([]);
    return byIdentity(host.spans);
  }

  /** The events in pieces, each in a process of its own as far as memory goes. */
  function inPieces(events: readonly TracingEvent[], cuts: readonly number[], how: ExecutionOptions): readonly ReadableSpan[] {
    const spans: ReadableSpan[] = [];
    let state: State = FRESH;
    let done = 0;
    for (const cut of [...cuts, events.length]) {
      const host = new Host(line);
      state = elsewhere(host.commit(events.slice(done, cut), state, how));
      expect(host.errors).toEqual([]);
      spans.push(...host.spans);
      done = cut;
    }
    return spans;
  }

  describe("restart", () => {
    it.each(STREAM_NAMES)("recorded run %s, persisted after any event: the same spans, each once", (name) => {
      const events = streamEvents(name);
      for (const how of [options, ownTraces]) {
        const whole = uninterrupted(events, how);
        for (let k = 0; k <= events.length; k++) expect(byIdentity(inPieces(events, [k], how))).toEqual(whole);
        // After every event.
        expect(byIdentity(inPieces(events, [...events.keys()], how))).toEqual(whole);
      }
    });

    it("any program, persisted after any events: the same spans, each once", () => {
      const cuts = fc.array(fc.nat({ max: 60 }), { maxLength: 5 });
      fc.assert(
        fc.property(program, cuts, fc.boolean(), (events, at, isOwnTrace) => {
          const how = isOwnTrace ? ownTraces : options;
          const sorted = at.map((cut) => Math.min(cut, events.length)).sort((a, b) => a - b);
          expect(byIdentity(inPieces(events, sorted, how))).toEqual(uninterrupted(events, how));
        }),
        { numRuns: 150 },
      );
    });

    it.each(STREAM_NAMES)("recorded run %s, persisted after any event, goes on in a new process", (name) => {
      const events = streamEvents(name);
      const whole = uninterrupted(events, options);
      const before: SpanData[][] = [];
      const tasks: RestartTask[] = [];
      for (let k = 0; k <= events.length; k++) {
        const host = new Host(line);
        const { metadata, spans } = host.commit(events.slice(0, k), FRESH, options);
        before.push(host.spans.map(spanData));
        tasks.push({ metadata: printState(metadata), spans: printState(spans), events: events.slice(k), options });
      }
      const child = spawnSync(process.execPath, [line.restartChild], { input: serialize(tasks), maxBuffer: 1 << 28 });
      expect(child.stderr.toString()).toBe("");
      const results = deserialize(child.stdout) as RestartResult[];
      expect(results).toHaveLength(tasks.length);
      results.forEach(({ spans, errors }, k) => {
        expect(errors).toEqual([]);
        const found = [...(before[k] as SpanData[]), ...spans];
        expect(Object.fromEntries(found.map((span) => [`${span.traceId}/${span.spanId}`, span]))).toEqual(whole);
        expect(found).toHaveLength(Object.keys(whole).length);
      });
    });

    it("what is saved is plain JSON, also of times and numbers that JSON has no word for", () => {
      const host = new Host(line);
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work", { fields: ["a", "b", "__proto__"] })), {
        a: { float: Number.NEGATIVE_INFINITY },
        b: { float: -0 },
        ["__proto__"]: { float: Number.NaN },
      });
      const state = host.commit(guest.events, FRESH, options);
      const saved = state.spans[String(span)]?.relay;
      expect(JSON.parse(JSON.stringify(saved))).toEqual(saved);
      const other = new Host(line);
      other.commit([{ span_dropped: { id: span } }], elsewhere(state));
      const { attributes } = other.span("work");
      expect([attributes["a"], attributes["b"]]).toEqual([Number.NEGATIVE_INFINITY, -0]);
      expect(Object.getOwnPropertyDescriptor(attributes, "__proto__")?.value).toBeNaN();
    });

    it("onStart is not called again", () => {
      const started: string[] = [];
      const spanProcessors = [
        {
          onStart: (span: { name: string }) => started.push(span.name),
          onEnd: () => undefined,
          forceFlush: async () => undefined,
          shutdown: async () => undefined,
        },
      ];
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work")));
      const state = new Host(line, { spanProcessors }).commit(guest.events);
      new Host(line, { spanProcessors }).commit([{ span_dropped: { id: span } }], elsewhere(state));
      expect(started).toEqual(["work"]);
    });

    it("state of the genuine crate, without ours: the span is opened anew when it is entered", () => {
      const host = new Host(line);
      const metadata = { "1": callSite("work") };
      const spans = { "7": { metadata_id: 1, ref_count: 1, values: { a: { int: 3 } } } };
      const events: TracingEvent[] = [{ span_entered: { id: 7 } }, { span_dropped: { id: 7 } }];
      host.commit(events, { metadata, spans, local: new Map() }, options);
      expect(host.span("work").attributes).toMatchObject({ a: 3 });
      expect(host.errors).toEqual([]);
    });
  });

  describe("restoreSpan", () => {
    const arena = new MetadataArena();
    arena.acquire("test");
    const site = arena.intern("test", callSite("work"));
    const restore = (saved: unknown): unknown => {
      const relay = new OpenTelemetryRelay({ spanProcessors: [] }).execution(options);
      const values = { fields: [], keys: [], kinds: [], raws: [], size: 0 };
      return relay.restoreSpan?.({ callSite: site as CallSite, id: 1, values: values as never, local: undefined, saved });
    };

    /** What is saved of a span that has everything. */
    function saved(): { [key: string]: unknown } {
      const host = new Host(line);
      const guest = new Guest();
      const span = guest.open(guest.callSite(callSite("work")), { a: { float: Number.NaN } });
      guest.enter(span);
      guest.emit(guest.callSite(callSite("said", { kind: "event", level: "error" })), { message: { string: "m" } });
      guest.follows(span, span);
      const parent = { traceId: "1".repeat(32), spanId: "2".repeat(16), traceFlags: 1, isRemote: true };
      const traceState = line.api.createTraceState("vendor=1");
      const state = host.commit(guest.events, FRESH, { parent: { ...parent, traceState } });
      return state.spans[String(span)]?.relay as { [key: string]: unknown };
    }

    it("takes what saveSpan gave", () => {
      expect(restore(saved())).toMatchObject({ name: "work", ended: false });
    });

    it.each([undefined, null, 5, "x", [], {}, { format: "other" }, { format: "spanduct.opentelemetry/2" }])(
      "%j is not its own, and left to others",
      (other) => {
        expect(restore(other)).toBeUndefined();
      },
    );

    it("damaged state is refused with a code, whatever the damage, and the execution goes on", () => {
      /** Every place in a value, as a list of keys. */
      const placesIn = (value: unknown): (string | number)[][] =>
        typeof value !== "object" || value === null
          ? [[]]
          : [[], ...Object.entries(value).flatMap(([key, part]) => placesIn(part).map((path) => [key, ...path]))];
      const places = placesIn(saved()).filter((path) => path.length > 0 && path[0] !== "format");
      const junk = fc.oneof(
        fc.constantFrom<unknown>(undefined, null, true, -1, 0.5, 2 ** 60, Number.NaN, "", "zz", [], {}, [[]], [null], {
          number: "1",
        }),
        fc.jsonValue(),
      );
      let refused = 0;
      fc.assert(
        fc.property(fc.constantFrom(...places), junk, (path, value) => {
          const damaged = structuredClone(saved());
          let holder = damaged as { [key: string]: unknown };
          for (const key of path.slice(0, -1)) holder = holder[key] as { [key: string]: unknown };
          holder[path.at(-1) as string] = value;
          try {
            restore(damaged);
          } catch (error) {
            refused++;
            expect(error).toMatchObject({ name: "TunnelError", code: "snapshot_mismatch" });
          }
        }),
        { numRuns: 500 },
      );
      expect(refused).toBeGreaterThan(250);

      const host = new Host(line);
      const relay = { ...saved(), identity: { traceId: "x", spanId: "y", traceFlags: 1 } };
      const spans = { "1": { metadata_id: 1, ref_count: 1, values: {}, relay } };
      host.commit([{ span_entered: { id: 1 } }, { span_dropped: { id: 1 } }], {
        metadata: { "1": callSite("work") },
        spans,
        local: new Map(),
      });
      expect(host.errors.map(({ code }) => code)).toEqual(["relay_failed"]);
      expect(host.spans).toHaveLength(1);
    });
  });
}
