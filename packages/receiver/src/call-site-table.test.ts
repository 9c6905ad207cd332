import { type Id, SecretSource } from "@spanduct/protocol";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { id as arbitraryId } from "../../../test/support/arbitrary-events.ts";
import { CallSite } from "./arena.ts";
import { CallSiteTable } from "./call-site-table.ts";

describe("CallSiteTable", () => {
  it("keeps what a Map keeps, whatever the ids and their order", () => {
    const id = fc.oneof(fc.nat(12), arbitraryId);
    fc.assert(
      fc.property(fc.array(id), (ids) => {
        const table = new CallSiteTable(new SecretSource(1));
        const model = new Map<Id, CallSite>();
        ids.forEach((one, index) => {
          const callSite = new CallSite(index, { kind: "span", name: "s", target: "t", level: "info", fields: [] });
          table.set(one, callSite);
          model.set(one, callSite);
          for (const known of ids) expect(table.get(known)).toBe(model.get(known));
          expect(table.size).toBe(model.size);
        });
        expect(new Map(table.entries())).toEqual(model);
      }),
    );
  });

  it("needs no map for ids that count from 1", () => {
    const table = new CallSiteTable({
      next() {
        throw new Error("a map is made");
      },
    } as unknown as SecretSource);
    const callSite = new CallSite(0, { kind: "span", name: "s", target: "t", level: "info", fields: [] });
    for (let id = 1; id <= 100; id++) table.set(id, callSite);
    expect(table.size).toBe(100);
    expect(table.get(0)).toBeUndefined();
    expect(table.get(101)).toBeUndefined();
  });
});
