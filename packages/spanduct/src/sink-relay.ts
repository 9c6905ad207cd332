import { type Attributes, trace } from "@opentelemetry/api";
import { FlushedSpanProcessor, type LoggerProvider, OpenTelemetryRelay, type Resource } from "@spanduct/opentelemetry";
import { logsRequest, type ScopedLog, traceRequest } from "./otlp-json.ts";
import type { Sink } from "./sink.ts";

/** A relay whose spans and log records go to a sink. @param attributes of the resource */
export function sinkRelay(sink: Sink, attributes: Attributes): OpenTelemetryRelay {
  const processor = new FlushedSpanProcessor({
    export: (spans, done) => {
      sink.send("traces", traceRequest(spans)).then(
        () => done({ code: 0 }),
        (error: Error) => done({ code: 1, error }),
      );
    },
    shutdown: async () => undefined,
  });
  const resource = resourceOf(attributes);
  return new OpenTelemetryRelay({ spanProcessors: [processor], resource, loggerProvider: loggerProvider(sink, attributes) });
}

function loggerProvider(sink: Sink, attributes: Attributes): LoggerProvider {
  let logs: ScopedLog[] = [];
  return {
    getLogger: (scope) => ({
      emit: (record) => {
        logs.push({ scope, record, span: record.context && trace.getSpanContext(record.context) });
      },
    }),
    async forceFlush() {
      const ready = logs;
      logs = [];
      if (ready.length > 0) await sink.send("logs", logsRequest(ready, attributes));
    },
  };
}

function resourceOf(attributes: Attributes): Resource {
  return {
    attributes,
    merge: (other) => (other === null ? resourceOf(attributes) : resourceOf({ ...attributes, ...other.attributes })),
    getRawAttributes: () => Object.entries(attributes),
  };
}
