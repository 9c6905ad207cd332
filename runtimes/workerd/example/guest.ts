import { traced } from "@spanduct/sandbox/workerd";

export default traced({
  async fetch(request, _env, ctx: { waitUntil(promise: Promise<unknown>): void }, tracing) {
    const quote = tracing.span({ name: "quote", fields: ["item", "price"] });
    const note = tracing.event({ name: "note", fields: ["message"] });
    const item = new URL(request.url).searchParams.get("item") ?? "nothing";

    const price = quote.run({ item }, (span) => {
      if (item === "unicorn") throw new Error("there are no unicorns");
      span.record({ price: item.length * 10 });
      return item.length * 10;
    });
    ctx.waitUntil(Promise.resolve().then(() => note.emit({ message: "remembered for next time" })));
    return new Response(`${item}: ${price}`);
  },
});
