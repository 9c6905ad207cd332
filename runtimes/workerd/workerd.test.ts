import { resolve } from "node:path";
import { remoteSuite } from "../../test/support/remote-suite/remote-suite.ts";
import { workerd } from "./suite-runtime.ts";

const file = (name: string): string => resolve(import.meta.dirname, name);

await remoteSuite("guest and host in workerd", workerd, {
  suite: file("suite.ts"),
  platform: "browser",
});
// Of an error that nobody catches a Worker does not hear.
await remoteSuite("workerd", workerd, {
  suite: file("../../packages/sender/test/capture-rejections-suite.ts"),
  platform: "browser",
});
