import { type Id, type PersistedMetadata, type PersistedSpans, readMetadata, readSpans } from "@spanduct/protocol";
import type { AttributeMap } from "./attribute-value.ts";
import { readSpan } from "./saved-span.ts";

/** A span that is open, as the state of its execution has it. Plain data. */
export interface LiveSpan {
  /** The guest's number of it, and of the one that it said was above it. */
  readonly id: Id;
  readonly parentId?: Id;
  readonly name: string;
  /** Name of the instrumentation scope: the guest's target. */
  readonly scope: string;
  /** Whether the guest is inside of it. */
  readonly entered: boolean;
  // The rest is not known of spans that another relay has saved.
  readonly traceId?: string;
  readonly spanId?: string;
  readonly parentSpanId?: string;
  /** Seconds and nanoseconds. */
  readonly startTime?: readonly [number, number];
  readonly attributes?: Readonly<AttributeMap>;
  /** Events that it has so far. */
  readonly events?: number;
}

/**
 * The open spans of an execution from its stored state, oldest first, without running it.
 *
 * @throws TunnelError "snapshot_mismatch": state that no receiver and relay can have written
 */
export function liveSpans(metadata: PersistedMetadata, spans: PersistedSpans): LiveSpan[] {
  const callSites = new Map(readMetadata(metadata));
  const live: LiveSpan[] = [];
  for (const [id, { metadataId, parentId, entered, relay }] of readSpans(spans)) {
    const callSite = callSites.get(metadataId);
    const saved = readSpan(relay);
    if (saved?.origin.closed === true) continue;
    live.push({
      id,
      ...(parentId !== undefined && { parentId }),
      name: saved?.state.name ?? callSite?.name ?? "",
      scope: saved?.origin.scope ?? callSite?.target ?? "",
      entered: entered !== undefined,
      ...(saved !== undefined && {
        traceId: saved.origin.identity.traceId,
        spanId: saved.origin.identity.spanId,
        ...(saved.origin.parent !== undefined && { parentSpanId: saved.origin.parent.spanId }),
        startTime: saved.origin.startTime,
        attributes: saved.state.attributes,
        events: saved.state.events.length,
      }),
    });
  }
  return live;
}
