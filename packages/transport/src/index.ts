export type { PumpOptions, PumpStep } from "./pump.ts";
export { Pump } from "./pump.ts";
export type { BatchHandler, GuestTransport } from "./transport.ts";
