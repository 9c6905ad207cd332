import type { TracedError } from "@spanduct/protocol";
import type { AttributeWriter } from "./attribute-writer.ts";

/**
 * Attributes of an error value: the conventional `exception.message`, `exception.type` and `exception.stacktrace`, and as in
 * Rust's `tracing-opentelemetry` the message under the field's own name and the messages of its causes under `<field>.chain`.
 */
export function putError(target: AttributeWriter, name: string, error: TracedError): void {
  target.put("exception.message", error.message);
  if (error.type !== undefined) target.put("exception.type", error.type);
  const trace = stackTrace(error);
  if (trace !== undefined) target.put("exception.stacktrace", trace);
  target.put(name, error.message);
  if (error.source !== null) {
    const causes: string[] = [];
    for (let cause: TracedError | null = error.source; cause !== null; cause = cause.source) causes.push(cause.message);
    target.put(`${name}.chain`, causes);
  }
}

/** The guest's stack, then its causes; `undefined` when there is neither. */
function stackTrace(error: TracedError): string | undefined {
  if (error.stack === undefined && error.source === null) return undefined;
  let text = error.stack ?? headline(error);
  let last = error;
  for (let cause = error.source; cause !== null; cause = cause.source) {
    text += `\nCaused by: ${cause.stack ?? headline(cause)}`;
    last = cause;
  }
  if (last.omitted !== undefined) text += `\n… ${last.omitted} more`;
  return text;
}

function headline({ type, message }: TracedError): string {
  return type === undefined ? message : `${type}: ${message}`;
}
