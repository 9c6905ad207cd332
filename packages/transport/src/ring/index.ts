// Guest end and host end.
export { createRing } from "./layout.ts";
// For hosts that decide themselves when to read.
export { RingReader } from "./ring-reader.ts";
export type { RingReceiver, RingReceiverOptions, RingStats } from "./ring-receiver.ts";
export { ringReceiver } from "./ring-receiver.ts";
export type { RingSender, RingSenderOptions } from "./ring-sender.ts";
export { ringSender } from "./ring-sender.ts";
