import fc from "fast-check";
import { expect, it } from "vitest";
import { linkOf, nameWithLink, type WorkerLink } from "./link.ts";

const LINK: WorkerLink = {
  control: 69,
  traceContext: { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", spanKey: "0f".repeat(16) },
  ring: { capacity: 4096 },
};

it("linkOf: finds the link behind any name, whatever the trace state", () => {
  const hostile = fc.constantFrom("spanduct:", 'spanduct:{"control":1}', "\\", '"', "\n");
  const text = fc.array(fc.oneof(fc.string(), hostile), { maxLength: 5 }).map((parts) => parts.join(""));
  fc.assert(
    fc.property(text, text, (name, tracestate) => {
      const { traceparent } = LINK.traceContext as { readonly traceparent: string };
      const link = { control: 69, traceContext: { traceparent, tracestate } };
      expect(linkOf(nameWithLink(name, { ...link, ring: undefined }))).toEqual(link);
    }),
  );
});

it("nameWithLink: begins with what the worker is called otherwise", () => {
  expect(nameWithLink("render", LINK)).toMatch(/^render spanduct:\{/);
  expect(nameWithLink("", LINK)).toMatch(/^spanduct:\{/);
});

it.each([undefined, null, 7, "", "mine", "spanduct:", "spanduct:{}", 'spanduct:{"control":1', `${nameWithLink("", LINK)} more`])(
  "linkOf: %j has none",
  (name) => expect(linkOf(name)).toBeUndefined(),
);
