// For everyone who hosts a guest.
export type { ArenaLimits, ArenaStats } from "./arena.ts";
export { MetadataArena } from "./arena.ts";
export type { LocalSpans, ReceiverOptions, ReceiverStats } from "./receiver.ts";
export { TracingEventReceiver } from "./receiver.ts";

// For authors of relays.
export { CallSite } from "./arena.ts";
export type { Loss, Parent, Relay, RelayedValues, RestoredSpan } from "./relay.ts";
export type { ValueShape } from "./value-shape.ts";
