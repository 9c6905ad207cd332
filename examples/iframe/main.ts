import { runPage } from "@spanduct/example-support/page";

await runPage(import.meta.dirname);
