export type { BatchHandler, GuestTransport } from "./transport.ts";
