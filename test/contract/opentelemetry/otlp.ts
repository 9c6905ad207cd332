import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { type OtlpSpan, readTraceRequest } from "../../support/otlp-trace.ts";
import { callSite, EPOCH, Guest } from "./guest.ts";
import { FRESH, Host } from "./host.ts";
import type { SdkLine } from "./sdk-line.ts";

/** What a collector receives over OTLP/HTTP from the SDK's real exporter. */
export function otlpContract(line: SdkLine): void {
  /** What a collector gets of the spans that `fill` makes. */
  async function received(fill: (host: Host) => void): Promise<OtlpSpan[]> {
    const spans: OtlpSpan[] = [];
    const server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      spans.push(...readTraceRequest(Buffer.concat(chunks)));
      response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const processor = line.otlp(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/traces`);
    try {
      fill(new Host(line, { spanProcessors: [processor] }));
      await processor.forceFlush();
      await processor.shutdown();
    } finally {
      server.close();
      server.closeAllConnections();
    }
    return spans;
  }

  describe("OTLP/HTTP", () => {
    it("a collector receives everything about a span", async () => {
      const guest = new Guest();
      const outer = guest.open(guest.callSite(callSite("outer", { target: "app" })), {
        a: { int: 5 },
        b: { float: 0.25 },
        message: { string: "é" },
        error: { error: { message: "bad", type: "E", source: { message: "cause", source: null } } },
      });
      guest.enter(outer);
      const inner = guest.open(guest.callSite(callSite("inner", { fields: ["otel.kind", "otel.status_description"] })), {
        "otel.kind": { string: "client" },
        "otel.status_description": { string: "no answer" },
      });
      guest.emit(guest.callSite(callSite("said", { kind: "event" })), { message: { string: "hello" }, a: { bool: true } });
      guest.follows(inner, outer);
      guest.close(inner);
      guest.close(outer);
      const parent = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1, isRemote: true };
      const traceState = line.api.createTraceState("vendor=1");
      const spans = await received((host) => host.commit(guest.events, FRESH, { parent: { ...parent, traceState } }));
      const [first, second] = [...spans].sort((a, b) => Number(a.startTimeUnixNano - b.startTimeUnixNano));
      expect(spans).toHaveLength(2);
      expect(first).toEqual({
        resource: { "service.name": "host" },
        scope: "app",
        traceId: parent.traceId,
        spanId: first?.spanId,
        parentSpanId: parent.spanId,
        traceState: "vendor=1",
        name: "outer",
        kind: 1,
        startTimeUnixNano: EPOCH + 1000n,
        endTimeUnixNano: EPOCH + 7000n,
        attributes: {
          level: "INFO",
          a: 5n,
          b: 0.25,
          message: "é",
          "exception.message": "bad",
          "exception.type": "E",
          "exception.stacktrace": "E: bad\nCaused by: cause",
          error: "bad",
          "error.chain": ["cause"],
          busy_ns: 5000n,
          idle_ns: 1000n,
        },
        droppedAttributesCount: 0,
        events: [
          {
            timeUnixNano: EPOCH + 4000n,
            name: "hello",
            attributes: { level: "INFO", target: "guest", "event.name": "said", a: true },
            droppedAttributesCount: 0,
          },
        ],
        droppedEventsCount: 0,
        links: [],
        droppedLinksCount: 0,
        status: { code: 0, message: "" },
        // Sampled; the parent is remote.
        flags: 0x301,
      });
      expect(second).toMatchObject({
        scope: "guest",
        traceId: parent.traceId,
        spanId: expect.stringMatching(/^[0-9a-f]{16}$/),
        parentSpanId: first?.spanId,
        traceState: "vendor=1",
        name: "inner",
        kind: 3,
        attributes: { level: "INFO", busy_ns: 0n, idle_ns: 3000n },
        links: [
          {
            traceId: parent.traceId,
            spanId: first?.spanId,
            attributes: { "opentracing.ref_type": "follows_from" },
            flags: 0x101,
          },
        ],
        status: { code: 2, message: "no answer" },
        flags: 0x101,
      });
    });

    it("times at the ends of what OTLP can carry stay in range, and hostile text arrives as valid UTF-8", async () => {
      const spans = await received((host) =>
        host.commit([
          { new_call_site: { id: 1, ...callSite("a\0\ud800", { fields: ["\udc00"] }) } },
          { new_span: { id: 1, metadata_id: 1, values: { "\udc00": { string: "\ud800" } }, time_unix_nano: 0 } },
          { span_dropped: { id: 1, time_unix_nano: 2n ** 64n - 1n } },
        ]),
      );
      expect(spans).toMatchObject([
        { startTimeUnixNano: 0n, endTimeUnixNano: 2n ** 64n - 1n, attributes: { "\ufffd": "\ufffd" }, name: "a\0\ufffd" },
      ]);
    });

    it("spans of one target come in one group, from all executions", () => {
      const host = new Host(line);
      for (let i = 0; i < 3; i++) {
        const guest = new Guest();
        guest.close(guest.open(guest.callSite(callSite(`work ${i}`))));
        host.commit(guest.events);
      }
      const [first, ...others] = host.spans;
      for (const span of others) {
        expect(span.instrumentationScope).toBe(first?.instrumentationScope);
        expect(span.resource).toBe(first?.resource);
      }
    });
  });
}
