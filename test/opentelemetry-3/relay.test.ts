import { openTelemetryContract } from "../contract/opentelemetry/index.ts";
import { line } from "./line.ts";

openTelemetryContract(line);
