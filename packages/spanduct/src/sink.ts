import { appendFileSync, closeSync, fsyncSync, openSync } from "node:fs";

/** Where OTLP goes. */
export interface Sink {
  readonly name: string;
  /** @throws what keeps it from being there: nothing counts as exported then */
  send(signal: "traces" | "logs", request: object): Promise<void>;
}

/** A file of OTLP JSON lines, which is appended to. What was sent is on the disk when `send` is done. */
export function fileSink(path: string): Sink {
  return {
    name: path,
    async send(_signal, request) {
      const file = openSync(path, "a");
      try {
        appendFileSync(file, `${JSON.stringify(request)}\n`);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
    },
  };
}

const TIMEOUT_MS = 30_000;

/** A collector or backend that takes OTLP as JSON over HTTP. @param url without `/v1/traces` */
export function httpSink(url: string): Sink {
  const base = url.replace(/\/$/, "");
  return {
    name: base,
    async send(signal, request) {
      const response = await fetch(`${base}/v1/${signal}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(request),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      if (!response.ok) throw new Error(`${base} answers ${response.status}: ${(await response.text()).slice(0, 200)}`);
    },
  };
}
