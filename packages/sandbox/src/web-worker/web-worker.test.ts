import { resolve } from "node:path";
import { chromiumPage } from "../../../../test/support/remote-suite/chromium.ts";
import { remoteSuite } from "../../../../test/support/remote-suite/remote-suite.ts";

const TEST = resolve(import.meta.dirname, "../../test");
const guests = { "guest.js": resolve(TEST, "web-worker-guest.ts") };

await remoteSuite("Chromium", chromiumPage(), {
  suite: resolve(TEST, "web-worker-suite.ts"),
  guests,
  platform: "browser",
});
await remoteSuite("Chromium, in an isolated page", chromiumPage({ isolated: true }), {
  suite: resolve(TEST, "web-worker-ring-suite.ts"),
  guests,
  platform: "browser",
});
