import { TracingEventReceiver } from "@spanduct/receiver";
import { describe, expect, it } from "vitest";
import { type RecordedEvent, type RecordedSpan, TraceRecorder } from "../../../../test/support/trace-recorder.ts";
import { type BareGuest, bundle, type HostSend, quickJSGuest, vmGuest } from "../../test/bare-guests.ts";

/** A GraphQL server whose resolvers are traced by Pothos' own plugin. */
const GRAPHQL = `
  import { context, trace } from "@opentelemetry/api";
  import SchemaBuilder from "@pothos/core";
  import TracingPlugin from "@pothos/plugin-tracing";
  import { createOpenTelemetryWrapper } from "@pothos/tracing-opentelemetry";
  import { graphql } from "graphql";
  import { batches, TracingEventSender } from "@spanduct/sender";
  import { TunnelTracerProvider } from "@spanduct/sender/otel";

  const sender = new TracingEventSender(batches(send));
  const provider = new TunnelTracerProvider(sender);
  trace.setGlobalTracerProvider(provider);
  context.setGlobalContextManager(provider.contextManager);

  const wrap = createOpenTelemetryWrapper(trace.getTracer("graphql", "16"), { includeSource: true, includeArgs: true });
  const builder = new SchemaBuilder({
    plugins: [TracingPlugin],
    tracing: { default: true, wrap: (resolver, options) => wrap(resolver, options) },
  });
  const Book = builder.objectRef("Book").implement({
    fields: (t) => ({
      title: t.exposeString("title"),
      length: t.int({ resolve: async (book) => book.title.length }),
    }),
  });
  builder.queryType({
    fields: (t) => ({
      book: t.field({
        type: Book,
        args: { title: t.arg.string({ required: true }) },
        resolve: (_, { title }) => ({ title }),
      }),
      broken: t.string({
        nullable: true,
        resolve: () => {
          throw new RangeError("no such book");
        },
      }),
    }),
  });
  const source = '{ book(title: "Momo") { title length } broken }';
  graphql({ schema: builder.toSchema(), source, contextValue: {} }).then((result) => {
    sender.flush();
    globalThis.result = JSON.stringify(result);
  });
`;

/** A web server traced by Hono's own middleware. */
const WEB = `
  import { httpInstrumentationMiddleware } from "@hono/otel";
  import { context, trace } from "@opentelemetry/api";
  import { Hono } from "hono";
  import { batches, createLog, TracingEventSender } from "@spanduct/sender";
  import { TunnelTracerProvider } from "@spanduct/sender/otel";

  const sender = new TracingEventSender(batches(send));
  const provider = new TunnelTracerProvider(sender);
  trace.setGlobalTracerProvider(provider);
  context.setGlobalContextManager(provider.contextManager);
  const log = createLog(sender);

  const app = new Hono();
  app.use(httpInstrumentationMiddleware({ serviceName: "shop", captureRequestHeaders: ["x-kind"] }));
  app.get("/books/:id", (c) => {
    log.info("looking");
    return trace.getTracer("db").startActiveSpan("select", { attributes: { id: c.req.param("id") } }, (span) => {
      span.end();
      return c.text("Momo");
    });
  });
  app.get("/broken", () => {
    throw new TypeError("no shelf");
  });
  app.onError((error, c) => c.text(error.message, 500));
  const requests = ["/books/7", "/broken", "/nowhere"].map((path) =>
    app.request(path, { headers: { "x-kind": "test", traceparent: "00-11111111111111111111111111111111-2222222222222222-01" } }),
  );
  Promise.all(requests).then(async (responses) => {
    sender.flush();
    globalThis.result = JSON.stringify(await Promise.all(responses.map(async (each) => [each.status, await each.text()])));
  });
`;

/** What the host gets of a guest program. */
async function run(source: string, api: string, open: (send: HostSend) => BareGuest | Promise<BareGuest>) {
  const recorder = new TraceRecorder();
  const receiver = new TracingEventReceiver({}, {}, new Map(), { relay: recorder });
  using guest = await open((batch) => receiver.receiveBatch(batch));
  guest.run(`${await bundle(source, { alias: { "@opentelemetry/api": api } })}; undefined`);
  for (let turn = 0; turn < 1000 && guest.run("typeof result") === "undefined"; turn++) await new Promise(setImmediate);
  const result = JSON.parse(guest.run("result") as string) as unknown;
  expect(receiver.stats).toMatchObject({ refused: {}, lostBatches: 0, droppedEvents: 0, liveSpans: 0 });
  return { recorder, result };
}

type Outline = (string | Outline)[];

/** Spans by what they are about, each followed by what happened in it. */
function outline(list: readonly (RecordedSpan | RecordedEvent)[]): Outline {
  return list.flatMap((item) => {
    const { string } = (item.values["otel.name"] ?? item.values["graphql.field.name"] ?? { string: item.name }) as {
      string: string;
    };
    const children = "children" in item ? outline(item.children) : [];
    return children.length > 0 ? [string, children] : [string];
  });
}

describe.each([
  ["1.9", "@opentelemetry/api"],
  ["1.10", "@opentelemetry/api-1.10"],
])("with version %s of the API, unchanged", (_, api) => {
  it("Pothos traces a GraphQL server inside of bare QuickJS", async () => {
    const { recorder, result } = await run(GRAPHQL, api, async (send) => {
      const guest = await quickJSGuest(send);
      // All that Pothos needs beyond the language.
      guest.run("globalThis.performance = { now: () => 0 }; undefined");
      return guest;
    });
    expect(result).toMatchObject({
      data: { book: { title: "Momo", length: 4 }, broken: null },
      errors: [{ message: "no such book", path: ["broken"] }],
    });
    // Pothos ends the span of an object before those of its fields start: they name it.
    expect(outline(recorder.roots)).toEqual(["book", "title", "length", "broken", ["exception"]]);
    const [book, title, length, broken] = recorder.spans;
    expect([book, title, length, broken].map((span) => span?.values["spanduct.parent"])).toEqual([
      undefined,
      { int: 1 },
      { int: 1 },
      undefined,
    ]);
    expect(book).toMatchObject({
      name: "graphql.resolve",
      target: "graphql@16",
      values: {
        "graphql.field.name": { string: "book" },
        "graphql.field.type": { string: "Book" },
        "graphql.source": { string: 'book(title: "Momo") {\n  title\n  length\n}' },
        "graphql.field.args": { string: '{\n  "title": "Momo"\n}' },
      },
    });
    expect(broken?.children[0]?.values["error"]).toMatchObject({ error: { message: "no such book", type: "RangeError" } });
  });

  it("Hono traces a web server inside of a vm context", async () => {
    const { Headers, Request, Response, URL, performance } = globalThis;
    const web = { Headers, Request, Response, URL, performance };
    const { recorder, result } = await run(WEB, api, (send) => vmGuest(send, web));
    expect(result).toEqual([
      [200, "Momo"],
      [500, "no shelf"],
      [404, "404 Not Found"],
    ]);
    expect(outline(recorder.roots)).toEqual([
      "GET /books/:id",
      ["event log:3", "select"],
      "GET /broken",
      ["exception"],
      "GET /*",
    ]);
    const [found, , broken, missing] = recorder.spans;
    expect(found).toMatchObject({
      target: "@hono/otel@1.1.2",
      values: {
        "otel.kind": { string: "server" },
        "http.request.method": { string: "GET" },
        "url.full": { string: "http://localhost/books/7" },
        "http.route": { string: "/books/:id" },
        "http.request.header.x-kind": { string: "test" },
        "http.response.status_code": { int: 200 },
        "otel.name": { string: "GET /books/:id" },
      },
    });
    expect(broken).toMatchObject({
      values: { "http.response.status_code": { int: 500 }, "otel.status_code": { string: "error" } },
      children: [{ values: { error: { error: { message: "no shelf", type: "TypeError" } } } }],
    });
    expect(missing?.values["http.response.status_code"]).toEqual({ int: 404 });
    expect(missing?.values["otel.status_code"]).toBeUndefined();
  });
});
