import { resolve } from "node:path";
import { chromiumPage } from "../../../../test/support/remote-suite/chromium.ts";
import { remoteSuite } from "../../../../test/support/remote-suite/remote-suite.ts";

const TEST = resolve(import.meta.dirname, "../../test");

await remoteSuite("Chromium", chromiumPage(), {
  suite: resolve(TEST, "iframe-suite.ts"),
  guests: { "guest.js": resolve(TEST, "iframe-guest.ts") },
  platform: "browser",
});
