/**
 * How the schema came about: the version is how many of these have run, with the schema as search path. Never change one that was
 * released, add another. The tables are those of SQLite.
 */
export const MIGRATIONS: readonly string[] = [
  `
  create table programs (
    name text collate "C" primary key,
    digest text not null,
    metadata text not null
  );

  create table executions (
    id text collate "C" primary key,
    program text not null,
    program_used text collate "C" references programs (name),
    status text not null check (status in ('open', 'done', 'parked')),
    reason text,
    seed text not null,
    revision integer not null,
    attempts integer not null,
    live_spans integer not null,
    snapshot_bytes integer not null,
    lease text,
    lease_holder text,
    lease_until bigint not null default 0,
    committed_by text,
    created_at bigint not null,
    updated_at bigint not null
  );
  create index executions_by_status on executions (status, updated_at);
  create index executions_by_program on executions (program_used) where program_used is not null;

  create table states (
    id text collate "C" primary key references executions (id) on delete cascade,
    spans text not null,
    own_metadata text,
    trace text not null,
    checksum text not null,
    snapshot bytea
  );

  create table outbox (
    seq bigserial primary key,
    id text collate "C" not null,
    payload text not null,
    claimed_by text,
    claimed_until bigint not null default 0
  );
  create index outbox_by_id on outbox (id, seq);
  create index outbox_by_claim on outbox (claimed_until) where claimed_until > 0;
  `,
];
