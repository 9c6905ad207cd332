import { expect, it } from "vitest";
import { handled, nextError } from "./uncaught.ts";

it("captureErrors: a promise that nobody handles is sent with stack and causes, and the runtime tells of it as ever", async () => {
  async function forgotten(): Promise<void> {
    throw new RangeError("out of range", { cause: new TypeError("because") });
  }
  const told = handled("unhandledrejection");
  const error = await nextError(() => void forgotten());
  expect(error).toMatchObject({ type: "RangeError", message: "out of range", source: { message: "because" } });
  expect(error.stack).toContain("forgotten");
  await told;
});
