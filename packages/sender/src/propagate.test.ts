import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { controlWord, type TraceContext } from "@spanduct/protocol";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { batches } from "./batches.ts";
import { propagate } from "./propagate.ts";
import { TracingEventSender } from "./sender.ts";
import type { Span } from "./span.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const HOST = `00-${TRACE}-b7ad6b7169203331-01`;
const KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
const OTHER_KEY = "01234567523a3779b37bc5ec89abcdef";
const CONTEXT: TraceContext = { traceparent: HOST, spanKey: KEY };

const vectors = JSON.parse(
  readFileSync(resolve(import.meta.dirname, "../../../test/vectors/span-ids.json"), "utf8"),
) as readonly { readonly span_key: string; readonly ids: { readonly [number: string]: string } }[];

function idOf(key: string, number: number): string | undefined {
  return vectors.find(({ span_key }) => span_key === key)?.ids[number];
}

function header(id: string | undefined, flags = "01", trace = TRACE): string {
  return `00-${trace}-${id}-${flags}`;
}

function guest() {
  const sender = new TracingEventSender(batches(() => undefined));
  const site = sender.span({ name: "work" });
  /** Open spans until there are so many. */
  const open = (count: number): Span => {
    let span = site.start();
    while ((span.id ?? 0) < count) span = site.start();
    return span;
  };
  return { sender, site, open };
}

describe("traceparent", () => {
  it("is undefined until the guest is told of a context", () => {
    const { sender, site } = guest();
    expect(sender.traceparent()).toBeUndefined();
    expect(sender.traceparent(site.start())).toBeUndefined();
  });

  it("gives every number the id of the vectors", () => {
    expect(vectors.length).toBeGreaterThan(3);
    for (const { span_key, ids } of vectors) {
      const { sender, site } = guest();
      propagate(sender, { traceparent: HOST, spanKey: span_key });
      for (const [number, id] of Object.entries(ids)) {
        sender.emitter.lastSpan = Number(number) - 1;
        expect(sender.traceparent(site.start()), `${span_key} ${number}`).toBe(header(id));
      }
    }
  });

  it("is the host's without a span, and for a span that is filtered, closed, or could not be sent", () => {
    const sender = new TracingEventSender(
      batches(() => undefined),
      { maxLevel: "info" },
    );
    propagate(sender, CONTEXT);
    expect(sender.traceparent()).toBe(HOST);
    expect(sender.traceparent(sender.span({ name: "filtered", level: "debug" }).start())).toBe(HOST);
    expect(sender.traceparent(sender.span({ name: {} as string }).start())).toBe(HOST);
    const span = sender.span({ name: "sent" }).start();
    expect(sender.traceparent(span)).not.toBe(HOST);
    span.close();
    expect(sender.traceparent(span)).toBe(HOST);
  });

  it("has the host's flags, and none when the host turned the guest off", () => {
    const { sender, site } = guest();
    propagate(sender, { ...CONTEXT, traceparent: HOST.replace(/01$/, "03") });
    const span = site.start();
    expect([sender.traceparent(), sender.traceparent(span)].map((text) => text?.slice(-2))).toEqual(["03", "03"]);
    sender.control(controlWord(0, false));
    expect([sender.traceparent(), sender.traceparent(span)].map((text) => text?.slice(-2))).toEqual(["00", "00"]);
    sender.control(controlWord(1, false));
    expect(sender.traceparent(span)?.slice(-2)).toBe("03");
  });

  it("of a span keeps to the context with which it was opened, whatever runs come later", () => {
    const { sender, open } = guest();
    const before = open(1);
    propagate(sender, CONTEXT);
    const first = open(2);
    const second = open(3);
    const trace = "1".repeat(32);
    propagate(sender, { traceparent: `00-${trace}-${"2".repeat(16)}-00`, spanKey: OTHER_KEY });
    sender.emitter.lastSpan = 254;
    const third = open(255);
    propagate(sender, undefined);
    const fourth = open(256);
    expect([before, first, second, third, fourth].map((span) => sender.traceparent(span))).toEqual([
      undefined,
      header(idOf(KEY, 2)),
      header(idOf(KEY, 3)),
      header(idOf(OTHER_KEY, 255), "00", trace),
      undefined,
    ]);
    expect(sender.traceparent()).toBeUndefined();
  });

  it("is the host's for all spans of a run without a key", () => {
    const { sender, open } = guest();
    propagate(sender, CONTEXT);
    const first = open(1);
    const other = header("3".repeat(16), "01", "1".repeat(32));
    propagate(sender, { traceparent: other });
    expect([first, open(2)].map((span) => sender.traceparent(span))).toEqual([header(idOf(KEY, 1)), other]);
  });

  it("is of the guest's spans only where the host has a trace but no span in it", () => {
    const { sender, open } = guest();
    propagate(sender, { ...CONTEXT, traceparent: header("0".repeat(16)) });
    const span = open(1);
    expect(sender.traceparent()).toBeUndefined();
    expect(sender.traceparent(span)).toBe(header(idOf(KEY, 1)));
    span.close();
    expect(sender.traceparent(span)).toBeUndefined();
  });

  it("is known of the spans of the last 256 runs that opened some", () => {
    const { sender, open } = guest();
    const spans: Span[] = [];
    for (let run = 1; run <= 300; run++) {
      propagate(sender, CONTEXT);
      propagate(sender, CONTEXT);
      spans.push(open(run));
    }
    const known = spans.map((span) => sender.traceparent(span) !== undefined);
    expect(known.indexOf(true)).toBe(300 - 256);
    expect(known.slice(44).every(Boolean)).toBe(true);
    expect(sender.traceparent(spans[254])).toBe(header(idOf(KEY, 255)));
  });

  it.each<[string, unknown]>([
    ["no text", { traceparent: 7 }],
    ["nothing", {}],
    ["another version", { traceparent: `01-${TRACE}-b7ad6b7169203331-01` }],
    ["capitals", { traceparent: HOST.toUpperCase() }],
    ["a line more", { traceparent: `${HOST}\n` }],
  ])("is undefined after a context of %s", (_, context) => {
    const { sender, site } = guest();
    propagate(sender, CONTEXT);
    propagate(sender, context as TraceContext);
    expect(sender.traceparent()).toBeUndefined();
    expect(sender.traceparent(site.start())).toBeUndefined();
  });

  it.each<unknown>(["", "0".repeat(31), "g".repeat(32), "0".repeat(33), 5, null, {}])("takes %j for no key", (spanKey) => {
    const { sender, site } = guest();
    propagate(sender, { traceparent: HOST, spanKey: spanKey as string });
    expect(sender.traceparent(site.start())).toBe(HOST);
  });
});

it("numberOf finds the span of this guest that has an id, and no other", () => {
  const key = fc.stringMatching(/^[0-9a-f]{32}$/);
  fc.assert(
    fc.property(fc.array(fc.tuple(key, fc.integer({ min: 1, max: 5 })), { minLength: 1, maxLength: 5 }), (runs) => {
      const { sender, site } = guest();
      for (const [spanKey, count] of runs) {
        propagate(sender, { traceparent: HOST, spanKey });
        for (let i = 0; i < count; i++) site.start();
      }
      const propagation = sender.emitter.propagation as NonNullable<typeof sender.emitter.propagation>;
      for (let number = 1; number <= sender.emitter.lastSpan; number++) {
        const { traceId, spanId } = propagation.identify(number) as { traceId: string; spanId: string };
        expect(propagation.numberOf(traceId, spanId)).toBe(number);
        expect(propagation.numberOf("1".repeat(32), spanId)).toBeUndefined();
      }
      // Of the next span, of a number of another run, of none.
      propagate(sender, CONTEXT);
      for (const id of [idOf(KEY, 9007199254740990), "0".repeat(15).concat("1"), "", "no id"]) {
        expect(propagation.numberOf(TRACE, id as string)).toBeUndefined();
      }
    }),
  );
});
