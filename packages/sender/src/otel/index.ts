export { StackContextManager } from "./stack-context-manager.ts";
export type { Logger, LogRecord, TunnelLoggerProviderOptions } from "./tunnel-logger-provider.ts";
export { TunnelLoggerProvider } from "./tunnel-logger-provider.ts";
export type { TunnelTracerProviderOptions } from "./tunnel-tracer-provider.ts";
export { TunnelTracerProvider } from "./tunnel-tracer-provider.ts";
