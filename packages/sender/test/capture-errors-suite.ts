import { expect, it } from "vitest";
import "./capture-rejections-suite.ts";
import { handled, nextError } from "./uncaught.ts";

it("captureErrors: an error that nobody catches is sent with stack and causes, and the runtime tells of it as ever", async () => {
  const told = handled("error");
  const error = await nextError(() => {
    setTimeout(function breakDown() {
      throw new RangeError("out of range", { cause: new TypeError("because") });
    });
  });
  expect(error).toMatchObject({ type: "RangeError", message: "out of range", source: { message: "because" } });
  expect(error.stack).toContain("breakDown");
  await told;
});
