import { runRestartChild } from "../contract/opentelemetry/restart-child.ts";
import { line } from "./line.ts";

await runRestartChild(line);
