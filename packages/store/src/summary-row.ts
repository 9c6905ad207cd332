import type { ExecutionStatus, ExecutionSummary, StoredExecution } from "./state-store.ts";

/** What a database gives for an `ExecutionSummary`. Counts may be text, where a database has more digits than a number. */
export interface SummaryRow {
  readonly id: string;
  readonly program: string;
  readonly status: ExecutionStatus;
  readonly reason: string | null;
  readonly revision: number;
  readonly attempts: number;
  readonly live_spans: number;
  readonly snapshot_bytes: number;
  readonly lease: string | null;
  readonly lease_holder: string | null;
  readonly lease_until: number | string;
  readonly created_at: number | string;
  readonly updated_at: number | string;
  readonly backlog: number | string;
}

/** What a database gives for a `StoredExecution`. */
export interface StoredRow extends SummaryRow {
  readonly seed: string;
  readonly committed_by: string | null;
  readonly digest: string | null;
  readonly spans: string | null;
  readonly own_metadata: string | null;
  readonly trace: string | null;
  readonly checksum: string | null;
  readonly snapshot: Uint8Array | null;
}

/** Columns of a `SummaryRow` but for `backlog`, of a table `e`. */
export const SUMMARY_COLUMNS: string = [
  "id",
  "program",
  "status",
  "reason",
  "revision",
  "attempts",
  "live_spans",
  "snapshot_bytes",
  "lease",
  "lease_holder",
  "lease_until",
  "created_at",
  "updated_at",
]
  .map((column) => `e.${column}`)
  .join(", ");

export function summaryOf(row: SummaryRow): ExecutionSummary {
  return {
    id: row.id,
    program: row.program,
    status: row.status,
    ...(row.reason !== null && { reason: row.reason }),
    revision: row.revision,
    attempts: row.attempts,
    liveSpans: row.live_spans,
    backlog: Number(row.backlog),
    snapshotBytes: row.snapshot_bytes,
    ...(row.lease !== null && { lease: { holder: row.lease_holder ?? "", untilMs: Number(row.lease_until) } }),
    createdMs: Number(row.created_at),
    updatedMs: Number(row.updated_at),
  };
}

export function executionOf(row: StoredRow): StoredExecution {
  const { spans, own_metadata, trace, checksum, snapshot, seed, committed_by, digest } = row;
  return {
    ...summaryOf(row),
    seed,
    ...(committed_by !== null && { committedBy: committed_by }),
    ...(digest !== null && { programDigest: digest }),
    ...(spans !== null && {
      state: {
        spans,
        ...(own_metadata !== null && { ownMetadata: own_metadata }),
        trace: trace ?? "",
        ...(snapshot !== null && { snapshot }),
        checksum: checksum ?? "",
      },
    }),
  };
}
