import { findChromium, launchChromium, serveSite } from "@spanduct/example-support/chromium";
import type { RemoteRuntime } from "./remote-suite.ts";
import type { RemoteResult } from "./stand-in.ts";

/** What a page imports as `suite.js`. */
interface Suite {
  run(index: number): Promise<RemoteResult>;
}

/**
 * A page of a Chromium of its own, at `http://localhost`. Guests are there as modules and as pages: `guest.js`, `guest.html`.
 *
 * @param isolated whether the page has `SharedArrayBuffer`
 */
export function chromiumPage({ isolated = false }: { readonly isolated?: boolean } = {}): RemoteRuntime {
  return {
    missing: findChromium() === undefined ? "there is no Chromium" : undefined,
    async load(modules) {
      await using cleanup = new AsyncDisposableStack();
      const files = new Map([...modules].map(([name, code]) => [`/${name}`, code]));
      const { port } = cleanup.use(await serveSite(files, { isolated }));
      const browser = await launchChromium();
      cleanup.defer(() => browser.close());
      const page = await browser.newPage();
      await page.goto(`http://localhost:${port}/`);
      // As text, for vitest takes every import() that it sees for one of its own.
      const suite = await page.evaluateHandle<Suite>(`import("/suite.js")`);
      const owned = cleanup.move();
      return {
        run: (index) => suite.evaluate((suite, index) => suite.run(index), index),
        [Symbol.asyncDispose]: () => owned.disposeAsync(),
      };
    },
  };
}
