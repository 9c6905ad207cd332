import { describe } from "vitest";
import { commitContract } from "./commit.ts";
import { eventsContract } from "./events.ts";
import { limitsContract } from "./limits.ts";
import { otlpContract } from "./otlp.ts";
import { outboxContract } from "./outbox.ts";
import { propagationContract } from "./propagation.ts";
import { restartContract } from "./restart.ts";
import { samplingContract } from "./sampling.ts";
import type { SdkLine } from "./sdk-line.ts";
import { spansContract } from "./spans.ts";
import { tracerContract } from "./tracer.ts";

/** What the relays do, before the real parts of one line of the OpenTelemetry SDK. */
export function openTelemetryContract(line: SdkLine): void {
  describe(line.name, () => {
    spansContract(line);
    samplingContract(line);
    limitsContract(line);
    eventsContract(line);
    commitContract(line);
    restartContract(line);
    otlpContract(line);
    outboxContract(line);
    propagationContract(line);
    tracerContract(line);
  });
}
