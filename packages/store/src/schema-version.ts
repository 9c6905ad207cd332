import { TunnelError } from "@spanduct/protocol";

/** What is thrown for a store that a later build has migrated. */
export function newerSchema(name: string, found: number, known: number): TunnelError {
  return new TunnelError(
    "unsupported_version",
    `${name} has version ${found} of the schema, this build knows versions up to ${known}; use a later build`,
  );
}
