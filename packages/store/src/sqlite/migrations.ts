/**
 * How the schema came about: the version is how many of these have run. Never change one that was released, add another.
 *
 * | table | what |
 * |---|---|
 * | `spanduct_programs` | call sites that executions share; kept as long as an execution refers to it |
 * | `spanduct_executions` | what `ExecutionSummary` says: small, because it is rewritten with every lease |
 * | `spanduct_states` | what `StoredState` says; rewritten with every commit |
 * | `spanduct_outbox` | what waits for its export; `claimed_until` counts on the first row of an execution |
 */
export const MIGRATIONS: readonly string[] = [
  `
  create table spanduct_programs (
    name text primary key,
    digest text not null,
    metadata text not null
  ) strict;

  create table spanduct_executions (
    id text primary key,
    program text not null,
    program_used text references spanduct_programs (name),
    status text not null check (status in ('open', 'done', 'parked')),
    reason text,
    seed text not null,
    revision integer not null,
    attempts integer not null,
    live_spans integer not null,
    snapshot_bytes integer not null,
    lease text,
    lease_holder text,
    lease_until integer not null default 0,
    committed_by text,
    created_at integer not null,
    updated_at integer not null
  ) strict;
  create index spanduct_executions_by_status on spanduct_executions (status, updated_at);
  create index spanduct_executions_by_program on spanduct_executions (program_used) where program_used is not null;

  create table spanduct_states (
    id text primary key references spanduct_executions (id) on delete cascade,
    spans text not null,
    own_metadata text,
    trace text not null,
    checksum text not null,
    snapshot blob
  ) strict;

  create table spanduct_outbox (
    seq integer primary key autoincrement,
    id text not null,
    payload text not null,
    claimed_by text,
    claimed_until integer not null default 0
  ) strict;
  create index spanduct_outbox_by_id on spanduct_outbox (id, seq);
  create index spanduct_outbox_by_claim on spanduct_outbox (claimed_until) where claimed_until > 0;
  `,
];
