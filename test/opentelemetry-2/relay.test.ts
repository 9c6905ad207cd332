import { vi } from "vitest";
import { openTelemetryContract } from "../contract/opentelemetry/index.ts";
import { line } from "./line.ts";

// The relay meets this line's API, as it does in an application that has no other.
vi.mock("../../packages/opentelemetry/node_modules/@opentelemetry/api/dist/index.mjs", () => import("@opentelemetry/api"));

openTelemetryContract(line);
