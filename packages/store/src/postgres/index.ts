export type { PostgresClient, PostgresPool, PostgresStoreOptions } from "./postgres-store.ts";
export { postgresStore } from "./postgres-store.ts";
