import { resolve } from "node:path";
import { measure } from "../../../../scripts/check-size.ts";
import { counted, type Result } from "../result.ts";

const HERE = resolve(import.meta.dirname, "../..");

const CORE = 'export { TracingEventSender } from "@spanduct/sender";';
const API = 'export { trace, context, SpanKind, SpanStatusCode } from "@opentelemetry/api";';
const PROVIDER = `${API} export { TracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace";`;
const BATCHES = 'export { TracingEventSender, batches } from "@spanduct/sender";';

/** What a guest has to carry, minified and gzipped. */
export async function size(): Promise<Result[]> {
  const gzip = async (source: string, beyond?: string): Promise<number> => {
    const budget = { name: "", source, maxGzipBytes: Number.POSITIVE_INFINITY, ...(beyond && { beyond }) };
    return (await measure(budget, HERE)).gzipBytes;
  };
  const [core, withBatches, otel, api, provider] = await Promise.all([
    gzip(CORE),
    gzip(BATCHES),
    gzip(`${BATCHES} export * from "@spanduct/sender/otel";`, BATCHES),
    gzip(API),
    gzip(PROVIDER),
  ]);
  return [
    { ...counted("size: sender core | OpenTelemetry API, trace only", "bytes gzip", core, api), target: 2048 / api },
    counted("size: sender core with protobuf batches | OpenTelemetry API + provider", "bytes gzip", withBatches, provider),
    {
      ...counted("size: sender/otel beyond that | OpenTelemetry API + provider", "bytes gzip", otel, provider),
      target: 3584 / provider,
    },
  ];
}
