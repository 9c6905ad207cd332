import { resolve } from "node:path";
import { chromiumPage } from "../../../../test/support/remote-suite/chromium.ts";
import { remoteSuite } from "../../../../test/support/remote-suite/remote-suite.ts";

const TEST = resolve(import.meta.dirname, "../../test");

await remoteSuite("Chromium", chromiumPage(), {
  suite: resolve(TEST, "web-worker-suite.ts"),
  guests: { "guest.js": resolve(TEST, "web-worker-guest.ts") },
  platform: "browser",
});
