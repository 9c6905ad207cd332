import { hostTracing, printTrace } from "@spanduct/example-support";
import { OpenTelemetryRelay } from "@spanduct/opentelemetry";
import { TracingEventReceiver } from "@spanduct/receiver";
import { traceWorkerd } from "@spanduct/sandbox/workerd";

interface Context {
  waitUntil(promise: Promise<unknown>): void;
}

export default {
  async fetch(request: Request, env: { readonly GUEST: object }, ctx: Context): Promise<Response> {
    const { spanProcessors, parent, end } = hostTracing("gateway");
    const relay = new OpenTelemetryRelay({ spanProcessors });
    const receiver = new TracingEventReceiver({}, {}, [], { relay: relay.execution({ parent }) });

    const { value, outcome } = traceWorkerd(env.GUEST).run<Response, unknown>(receiver, "fetch", request);
    const finish = async (): Promise<void> => {
      const { kind } = await outcome;
      printTrace(end());
      console.log(kind);
    };
    ctx.waitUntil(finish());
    return value.catch(() => new Response("the guest failed", { status: 502 }));
  },
};
