import fc from "fast-check";
import { expect, it } from "vitest";
import { fromPlainError, toPlainError } from "./plain-error.ts";

/** What came over a port. */
function posted(thrown: unknown): Error {
  return fromPlainError(structuredClone(toPlainError(thrown)));
}

function depthOf(error: unknown): number {
  return error instanceof Error ? 1 + depthOf(error.cause) : 0;
}

it("toPlainError: name, message, stack and causes arrive, whatever the class and the realm", () => {
  class ParseError extends Error {
    override readonly name = "ParseError";
  }
  const error = new ParseError("line 7", { cause: new RangeError("too long", { cause: "text" }) });
  const arrived = posted(error);
  expect(arrived).toMatchObject({ name: "ParseError", message: "line 7", stack: error.stack });
  expect(arrived.cause).toMatchObject({ name: "RangeError", message: "too long", cause: { message: "text" } });
  expect(posted({ message: "of another realm", name: 5 })).toMatchObject({ name: "5", message: "of another realm" });
  expect(posted(undefined)).toMatchObject({ name: "Error", message: "undefined", stack: "Error: undefined" });
});

it("toPlainError: never throws, and what it gives can be posted", () => {
  const hostile = [
    new Proxy(
      {},
      {
        get: () => {
          throw new Error("no");
        },
      },
    ),
    {
      get message() {
        throw new Error("no");
      },
    },
    {
      message: {
        toString: () => {
          throw new Error("no");
        },
      },
    },
    { message: "m", cause: Symbol("cause") },
    Object.create(null),
    Symbol("thrown"),
    () => undefined,
    null,
  ];
  for (const thrown of hostile) expect(posted(thrown)).toBeInstanceOf(Error);
  fc.assert(fc.property(fc.anything({ withNullPrototype: true, withBigInt: true }), (thrown) => posted(thrown) instanceof Error));
});

it("toPlainError: causes are followed sixteen errors deep, in circles too, and texts are cut", () => {
  const error = new Error("x".repeat(100_000));
  error.cause = error;
  const plain = toPlainError(error);
  expect(plain.message).toHaveLength(20_000);
  expect(depthOf(posted(error))).toBe(16);
});

it("fromPlainError: makes an error of whatever a guest posts, sixteen deep at most", () => {
  let deep: unknown = { message: "deepest" };
  for (let i = 0; i < 1000; i++) deep = { message: "m", cause: deep };
  expect(depthOf(fromPlainError(deep))).toBe(16);
  fc.assert(
    fc.property(fc.anything(), (plain) => {
      const { name, message, stack } = fromPlainError(plain);
      expect([typeof name, typeof message, typeof stack]).toEqual(["string", "string", "string"]);
    }),
  );
});
