import { resolve } from "node:path";
import { chromiumPage } from "../../../test/support/remote-suite/chromium.ts";
import { remoteSuite } from "../../../test/support/remote-suite/remote-suite.ts";

await remoteSuite("Chromium", chromiumPage(), {
  suite: resolve(import.meta.dirname, "../test/web-stream-suite.ts"),
  platform: "browser",
});
