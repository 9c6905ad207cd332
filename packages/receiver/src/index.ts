export type { ArenaLimits, ArenaStats } from "./arena.ts";
export { CallSite, MetadataArena } from "./arena.ts";
export type { Loss, Parent, Relay, RestoredSpan } from "./relay.ts";
