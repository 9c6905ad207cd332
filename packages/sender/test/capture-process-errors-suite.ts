import process from "node:process";
import { captureErrors, TracingEventSender } from "@spanduct/sender";
import { expect, it } from "vitest";

it("captureErrors: of a process sends an error that nobody catches, with its stack, and the application is told of it as ever", async () => {
  const errors: unknown[] = [];
  const sender = new TracingEventSender((event) => {
    if ("new_event" in event) errors.push(event.new_event.values["error"]);
  });
  const stop = captureErrors(sender, process);
  const told = new Promise((resolve) => process.once("uncaughtException", resolve));
  setTimeout(function breakDown() {
    throw new RangeError("out of range");
  });
  expect(await told).toMatchObject({ message: "out of range" });
  stop();
  expect(errors).toMatchObject([{ error: { type: "RangeError", stack: expect.stringContaining("breakDown") } }]);
});
