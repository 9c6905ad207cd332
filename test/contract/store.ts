import type { SpanProcessor } from "@spanduct/opentelemetry";
import type { CallSiteData, PersistedSpans, TracingEvent } from "@spanduct/protocol";
import type {
  Acquired,
  Commit,
  ExecutionSummary,
  FaultHook,
  FaultPoint,
  ListOptions,
  OutboxRow,
  StateStore,
  StoredExecution,
} from "@spanduct/store";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { contents, impatient, isRolledBack, ScriptedHost, workflow } from "../support/scripted-executions.ts";
import { callSite, Guest } from "./opentelemetry/guest.ts";

/** The same data as several hosts see it. */
export interface StoreBackend {
  /** A host's own store on the data; each is opened and closed by whoever asked for it. */
  host(faults?: FaultHook): StateStore;
  /** Change the data behind the store's back: the snapshot of an execution. */
  damage(id: string): Promise<void>;
  /** Say that a later build has migrated the schema; `undefined` where there is no schema. */
  readonly age?: () => Promise<void>;
  dispose(): Promise<void>;
}

const NOW = 1_767_225_600_000;

/** What every store does, by itself and under `Executions`. */
export function storeContract(name: string, setUp: () => Promise<StoreBackend>): void {
  let backend: StoreBackend;
  let opened: StateStore[] = [];
  let hosts: ScriptedHost[] = [];
  beforeEach(async () => {
    backend = await setUp();
  });
  afterEach(async () => {
    for (const host of hosts) await host.executions.close();
    for (const store of opened) await store.close();
    hosts = [];
    opened = [];
    await backend.dispose();
  });

  async function open(faults?: FaultHook): Promise<StateStore> {
    const store = backend.host(faults);
    opened.push(store);
    await store.open();
    return store;
  }

  function host(
    ...[options, relay, faults]: [...Partial<Tail<ConstructorParameters<typeof ScriptedHost>>>, FaultHook?]
  ): ScriptedHost {
    const made = new ScriptedHost(backend.host(faults), options, relay);
    hosts.push(made);
    return made;
  }

  let leases = 0;
  async function acquire(store: StateStore, id: string, nowMs = NOW, more = {}): Promise<Acquired & { lease: string }> {
    const lease = `lease ${leases++}`;
    const request = { id, program: "p@1", seed: "00000000000000ff", lease, holder: "me", nowMs, untilMs: nowMs + 1000 };
    return { lease, ...(await store.acquire({ ...request, ...more })) };
  }

  function commitOf(id: string, lease: string, revision: number, more: Partial<Commit> = {}): Commit {
    return {
      id,
      lease,
      revision,
      status: "open",
      program: { name: "p@1", ...(revision === 0 ? { next: { digest: "d1", metadata: "{}" } } : { digest: "d1" }) },
      state: { spans: `{"spans of":${revision + 1}}`, trace: "{}", checksum: "c", snapshot: new Uint8Array([1, 2, revision]) },
      liveSpans: 3,
      outbox: [],
      nowMs: NOW,
      ...more,
    };
  }

  /** An execution with this id that was committed once. */
  async function committed(store: StateStore, id: string, more: Partial<Commit> = {}): Promise<void> {
    const { lease } = await acquire(store, id);
    const known = await store.loadProgram(more.program?.name ?? "p@1");
    const program = {
      name: "p@1",
      ...(known === undefined ? { next: { digest: "d1", metadata: "{}" } } : { digest: known.digest }),
    };
    expect(await store.commit(commitOf(id, lease, 0, { program, ...more }))).toBe("committed");
  }

  const claim = async (store: StateStore, nowMs = NOW, limit = 100): Promise<readonly OutboxRow[]> =>
    (await store.claim("me", nowMs, nowMs + 1000, limit)).rows;

  describe(name, () => {
    describe("StateStore", () => {
      it("acquire makes an execution, counts attempts and gives back what was committed", async () => {
        const store = await open();
        const first = await acquire(store, "a");
        expect(first).toMatchObject({
          kind: "acquired",
          execution: { id: "a", program: "p@1", status: "open", revision: 0, attempts: 1, seed: "00000000000000ff" },
        });
        expect((first.execution as StoredExecution).state).toBeUndefined();
        expect(await store.commit(commitOf("a", first.lease, 0))).toBe("committed");
        const { execution } = await acquire(await open(), "a");
        expect(execution).toMatchObject({
          revision: 1,
          attempts: 2,
          liveSpans: 3,
          snapshotBytes: 3,
          programDigest: "d1",
          committedBy: first.lease,
          state: { spans: '{"spans of":1}', trace: "{}", checksum: "c" },
        });
        expect([...(execution.state?.snapshot ?? [])]).toEqual([1, 2, 0]);
        expect(execution.state).not.toHaveProperty("ownMetadata");
      });

      it("acquire: a lease is one host's until it ends or is given back", async () => {
        const store = await open();
        const other = await open();
        const first = await acquire(store, "a");
        expect(await acquire(other, "a", NOW + 999)).toMatchObject({
          kind: "refused",
          execution: { lease: { holder: "me", untilMs: NOW + 1000 }, attempts: 1 },
        });
        const second = await acquire(other, "a", NOW + 1000);
        expect(second.kind).toBe("acquired");
        expect(await store.renew("a", first.lease, NOW + 9000)).toBe(false);
        expect(await other.renew("a", second.lease, NOW + 5000)).toBe(true);
        expect((await acquire(store, "a", NOW + 4999)).kind).toBe("refused");
        await other.rollBack({ id: "a", lease: second.lease, outbox: [], nowMs: NOW });
        expect((await acquire(store, "a", NOW)).kind).toBe("acquired");
      });

      it('commit: "revision_conflict" for whoever has lost the lease, and nothing of it is written', async () => {
        const store = await open();
        const other = await open();
        const stale = await acquire(store, "a");
        const fresh = await acquire(other, "a", NOW + 1000);
        const late = commitOf("a", stale.lease, 0, { outbox: ["lost"] });
        await expect(store.commit(late)).rejects.toMatchObject({ code: "revision_conflict" });
        await other.commit(commitOf("a", fresh.lease, 0));
        await expect(store.commit(late)).rejects.toMatchObject({ code: "revision_conflict" });
        await expect(store.commit(commitOf("none", "l", 0))).rejects.toMatchObject({ code: "revision_conflict" });
        expect(await store.load("a")).toMatchObject({ revision: 1, committedBy: fresh.lease, backlog: 0 });
        // A lease is good for one commit.
        await expect(other.commit(commitOf("a", fresh.lease, 1))).rejects.toMatchObject({ code: "revision_conflict" });
      });

      it("rollBack keeps the state, stores what is exported of it, and parks only under the lease", async () => {
        const store = await open();
        await committed(store, "a");
        const { lease } = await acquire(store, "a");
        await store.rollBack({ id: "a", lease: "other", outbox: ["x"], park: "broken", nowMs: NOW });
        expect(await store.load("a")).toMatchObject({ status: "open", revision: 1, backlog: 1, lease: { holder: "me" } });
        await store.rollBack({ id: "a", lease, outbox: ["y"], park: "broken", nowMs: NOW + 5 });
        expect(await store.load("a")).toMatchObject({ status: "parked", reason: "broken", revision: 1, updatedMs: NOW + 5 });
        expect(await acquire(store, "a")).toMatchObject({ kind: "refused", execution: { status: "parked" } });
        expect((await claim(store)).map(({ payload }) => payload)).toEqual(["x", "y"]);
        expect(await store.unpark("a", NOW)).toBe(true);
        expect(await store.unpark("a", NOW)).toBe(false);
        expect((await acquire(store, "a")).kind).toBe("acquired");
      });

      it('commit: "program_changed" when another execution has added call sites, and nothing of it is written', async () => {
        const store = await open();
        await committed(store, "a");
        const b = await acquire(store, "b");
        // The first commit of an execution counts on what is there, also where it adds nothing.
        for (const program of [
          { name: "p@1" },
          { name: "p@1", digest: "d0" },
          { name: "p@1", digest: "d0", next: { digest: "d2", metadata: "{}" } },
        ]) {
          expect(await store.commit(commitOf("b", b.lease, 0, { program, outbox: ["x"] }))).toBe("program_changed");
        }
        expect(await store.load("b")).toMatchObject({ revision: 0, backlog: 0 });
        const program = { name: "p@1", digest: "d1", next: { digest: "d2", metadata: '{"1":2}' } };
        expect(await store.commit(commitOf("b", b.lease, 0, { program }))).toBe("committed");
        expect(await store.loadProgram("p@1")).toEqual({ digest: "d2", metadata: '{"1":2}' });
        // Call sites that were added do no harm to an execution that adds none.
        const a = await acquire(store, "a");
        expect(a.execution.programDigest).toBe("d2");
        expect(await store.commit(commitOf("a", a.lease, 1, { program: { name: "p@1", digest: "d1" } }))).toBe("committed");
      });

      it("claim: each row goes to one host at a time, those of an execution in order and to one host", async () => {
        const store = await open();
        const other = await open();
        await committed(store, "a", { outbox: ["a1", "a2"] });
        await committed(store, "b", { outbox: ["b1"] });
        const payloads = (rows: readonly OutboxRow[]): string[] => rows.map(({ payload }) => payload);
        const one = await claim(store, NOW, 1);
        expect(payloads(one)).toEqual(["a1"]);
        // The second row of "a" is not to be had while somebody has the first.
        const rest = await other.claim("other", NOW, NOW + 500, 100);
        expect(payloads(rest.rows)).toEqual(["b1"]);
        expect(rest.nextMs).toBe(NOW + 1000);
        expect(await claim(other)).toEqual([]);
        await store.acknowledge(one);
        expect(payloads(await claim(other))).toEqual(["a2"]);
        // Whoever claims and dies is followed by another.
        expect(payloads(await claim(store, NOW + 500))).toEqual(["b1"]);
        expect((await store.claim("me", NOW + 501, NOW + 502, 9)).nextMs).toBe(NOW + 1000);
        await store.acknowledge(await claim(store, NOW + 9000));
        expect(await store.claim("me", NOW + 99_000, NOW + 99_001, 9)).toEqual({ rows: [] });
        expect(await store.load("a")).toMatchObject({ backlog: 0 });
      });

      it("postpone: rows are left alone for a while", async () => {
        const store = await open();
        await committed(store, "a", { outbox: ["a1"] });
        await store.postpone(await claim(store), NOW + 5000);
        expect(await store.claim("me", NOW + 4999, NOW + 9999, 9)).toEqual({ rows: [], nextMs: NOW + 5000 });
        expect(await claim(store, NOW + 5000)).toHaveLength(1);
      });

      it("list goes through executions by id, with what is asked for", async () => {
        const store = await open();
        for (const id of ["c", "a", "B", "d"]) await acquire(store, id);
        await committed(store, "e", { status: "done", outbox: ["x"] });
        const ids = async (query: Partial<Parameters<StateStore["list"]>[0]>): Promise<string[]> =>
          (await store.list({ limit: 100, ...query })).map(({ id }) => id);
        expect(await ids({})).toEqual(["B", "a", "c", "d", "e"]);
        expect(await ids({ after: "a", limit: 2 })).toEqual(["c", "d"]);
        expect(await ids({ status: "done" })).toEqual(["e"]);
        expect(await ids({ status: "open", program: "p@2" })).toEqual([]);
        const [last] = await store.list({ after: "d", limit: 1 });
        expect(last).toEqual({
          id: "e",
          program: "p@1",
          status: "done",
          revision: 1,
          attempts: 1,
          liveSpans: 3,
          backlog: 1,
          snapshotBytes: 3,
          createdMs: NOW,
          updatedMs: NOW,
        });
      });

      it("prune removes what is done and exported, in batches, and programs that nobody uses", async () => {
        const store = await open();
        for (let i = 0; i < 5; i++) await committed(store, `done ${i}`, { status: "done", nowMs: NOW + i });
        await committed(store, "exported", { status: "done", outbox: ["x"] });
        await committed(store, "open");
        expect(await store.prune(NOW + 3, 3)).toEqual({ executions: 3, programs: 0 });
        expect(await store.prune(NOW + 3, 3)).toEqual({ executions: 1, programs: 0 });
        expect((await store.list({ limit: 9 })).map(({ id }) => id)).toEqual(["done 4", "exported", "open"]);
        await store.acknowledge(await claim(store));
        expect(await store.prune(NOW, 9)).toEqual({ executions: 1, programs: 0 });
        const { lease } = await acquire(store, "open");
        await store.commit(commitOf("open", lease, 1, { status: "done" }));
        expect(await store.prune(NOW - 1, 9)).toEqual({ executions: 0, programs: 1 });
        expect(await store.loadProgram("p@1")).toBeUndefined();
        await committed(store, "again");
      });

      it("any text and any bytes come back as they went", async () => {
        const store = await open();
        const text = "\u{1f980} \" ' \\ \n -- ; é ?1 $1";
        const snapshot = Uint8Array.from({ length: 70_000 }, (_, i) => i % 256);
        const { lease } = await acquire(store, text, NOW, { program: text, holder: text });
        const state = { spans: text, ownMetadata: text, trace: text, checksum: text, snapshot };
        await store.commit(
          commitOf(text, lease, 0, { state, outbox: [text], program: { name: text, next: { digest: text, metadata: text } } }),
        );
        const loaded = await (await open()).load(text);
        expect(loaded).toMatchObject({ id: text, program: text, programDigest: text, snapshotBytes: 70_000 });
        expect({ ...loaded?.state, snapshot: [...(loaded?.state?.snapshot ?? [])] }).toEqual({
          ...state,
          snapshot: [...snapshot],
        });
        expect((await claim(store))[0]?.payload).toBe(text);
      });

      it("a failure in the middle of any transaction undoes all of it", async () => {
        let broken: FaultPoint | undefined;
        const store = await open((point) => {
          if (point === broken) throw new Error("broken");
        });
        const all = async (): Promise<unknown> => [
          await Promise.all((await store.list({ limit: 99 })).map(({ id }) => store.load(id))),
          await store.loadProgram("p@1"),
          await store.claim("me", NOW - 1, NOW - 1, 99),
        ];
        await committed(store, "a", { outbox: ["a1"] });
        await committed(store, "old", { status: "done" });
        const { lease } = await acquire(store, "a");
        const program = { name: "p@1", digest: "d1", next: { digest: "d2", metadata: "{}" } };
        const operations: [readonly FaultPoint[], () => Promise<unknown>][] = [
          [["acquire:written"], () => acquire(store, "b")],
          [
            ["commit:program", "commit:execution", "commit:state", "commit:outbox"],
            () => store.commit(commitOf("a", lease, 1, { outbox: ["a2"], program })),
          ],
          [
            ["roll back:outbox", "roll back:execution"],
            () => store.rollBack({ id: "a", lease, outbox: ["a3"], park: "x", nowMs: NOW }),
          ],
          [["prune:executions", "prune:programs"], () => store.prune(NOW, 9)],
        ];
        for (const [points, operation] of operations) {
          for (const point of points) {
            const before = await all();
            broken = point;
            await expect(operation()).rejects.toThrow("broken");
            broken = undefined;
            expect(await all(), point).toEqual(before);
          }
          await operation();
        }
      });

      it("migrations run by themselves, once, whoever comes first", async () => {
        const stores = Array.from({ length: 4 }, () => backend.host());
        opened.push(...stores);
        await Promise.all(stores.map((store) => store.open()));
        await committed(stores[0] as StateStore, "a");
        for (const store of stores) expect(await store.load("a")).toMatchObject({ revision: 1 });
      });

      it('"unsupported_version": a schema that is newer than this build is left alone', async () => {
        if (backend.age === undefined) return;
        await open();
        await backend.age();
        await expect(open()).rejects.toMatchObject({
          code: "unsupported_version",
          message: expect.stringContaining("version 99"),
        });
      });
    });

    describe("Executions", () => {
      it("an execution over several runs and hosts is one trace, each span once, as if it had never been interrupted", async () => {
        const script = workflow(4);
        const one = host();
        await one.finish("order", script);
        await one.executions.drain();
        const identities = Object.keys(one.committed);
        expect(one.exported).toHaveLength(identities.length);
        expect(identities).toHaveLength(4 * 2 + 3 + 1);
        expect(new Set(one.exported.map(({ traceId }) => traceId)).size).toBe(1);
        expect(one.errors).toEqual([]);

        const fresh = await setUp();
        try {
          const exported = [];
          for (let run = 0; run < 4; run++) {
            const store = fresh.host();
            const next = new ScriptedHost(store);
            await next.step("order", script);
            await next.executions.drain();
            exported.push(...next.exported);
            if (store.name !== "memory") await next.executions.close();
          }
          expect(contents(exported)).toEqual(one.committed);
          expect(exported).toHaveLength(identities.length);
        } finally {
          await fresh.dispose();
        }
      });

      it("what throws is rolled back and passed on; the next run begins where the last commit was", async () => {
        const script = workflow(3);
        const undisturbed = host();
        await undisturbed.finish("other", script, { seed: 7n });
        await undisturbed.executions.drain();

        const disturbed = host();
        const error = new Error("no luck");
        await expect(disturbed.step("order", script, { seed: 7n, fail: error })).rejects.toBe(error);
        await disturbed.step("order", script);
        await expect(disturbed.step("order", script, { fail: error, after: 4 })).rejects.toBe(error);
        await disturbed.finish("order", script);
        await disturbed.executions.drain();
        expect(disturbed.committed).toEqual(undisturbed.committed);
        const flagged = disturbed.exported.filter(isRolledBack);
        expect(flagged.length).toBeGreaterThan(0);
        expect(await disturbed.executions.inspect("order")).toMatchObject({
          status: "done",
          revision: 3,
          attempts: 5,
          backlog: 0,
        });
      });

      it('rollback "discard": nothing is exported of what was rolled back', async () => {
        const script = workflow(2);
        const tested = host({ rollback: "discard" });
        await expect(tested.step("order", script, { fail: new Error("no luck") })).rejects.toThrow("no luck");
        await tested.executions.drain();
        expect(tested.exported).toEqual([]);
        // Per run as well.
        await expect(tested.step("order", script, { fail: new Error("no luck"), rollback: "mark" })).rejects.toThrow("no luck");
        await tested.executions.drain();
        expect(tested.exported.every(isRolledBack)).toBe(true);
        expect(tested.exported).not.toEqual([]);
      });

      it("an execution that is done is not run again", async () => {
        const tested = host();
        await tested.finish("order", workflow(1));
        expect(await tested.step("order", workflow(1), { fail: new Error("ran") })).toEqual({
          done: true,
          revision: 1,
          ran: false,
        });
      });

      it("what is open when an execution is done is closed and says so", async () => {
        const tested = host();
        const guest = new Guest();
        const span = guest.open(guest.callSite(callSite("left")));
        const script: TracingEvent[][] = [guest.events.splice(0)];
        guest.open(1, {}, { parent: span });
        script.push(guest.events);
        await tested.finish("order", script);
        await tested.executions.drain();
        expect(tested.exported.map(({ name, attributes }) => [name, (attributes as never)["spanduct.forced_close"]])).toEqual([
          ["left", "execution_finished"],
          ["left", "execution_finished"],
        ]);
        expect(await tested.executions.inspect("order")).toMatchObject({ liveSpans: 0, spans: [] });
      });

      it("a stale host cannot commit: revision_conflict, and its attempt is flagged", async () => {
        const script = workflow(2);
        const stale = host();
        await stale.step("order", script);
        const late = stale.executions.run("order", "script@1", async ({ receiver }) => {
          for (const event of script[1] ?? []) receiver.receive(event);
          // The lease ends while this host is paused.
          const soon = impatient(NOW + 3_600_000);
          const taken = new ScriptedHost(backend.host(), { environment: soon });
          hosts.push(taken);
          await taken.finish("order", script);
          return { done: true };
        });
        await expect(late).rejects.toMatchObject({ code: "revision_conflict" });
        for (const { executions } of hosts) await executions.drain();
        const all = hosts.flatMap(({ exported }) => exported);
        const committedSpans = contents(all.filter((span) => !isRolledBack(span)));
        const alone = new ScriptedHost((await setUp()).host());
        await alone.finish("order", script);
        await alone.executions.drain();
        expect(committedSpans).toEqual(alone.committed);
        expect(all.some(isRolledBack)).toBe(true);
      });

      it('"execution_busy": another host works on it and goes on doing so; it is waited for until its lease ends', async () => {
        const script = workflow(2);
        const busy = await open();
        const { lease } = await acquire(busy, "order");
        let renewals = 0;
        const env = impatient(NOW);
        const wait: typeof env.wait = async (ms, signal, background) => {
          await env.wait(ms, signal, background);
          if (background === undefined && renewals++ === 0) await busy.renew("order", lease, NOW + 60_000);
        };
        const tested = host({ environment: { ...env, wait } });
        await expect(tested.step("order", script)).rejects.toMatchObject({ code: "execution_busy" });
        await expect(tested.step("order", script, { ifBusy: "throw" })).rejects.toMatchObject({ code: "execution_busy" });
        // Not renewed any more: its host is dead.
        expect(await tested.step("order", script)).toMatchObject({ ran: true, revision: 1 });
      });

      it("names that a database would refuse are refused before", async () => {
        const tested = host();
        for (const name of ["", "a\0b", "\ud800"]) {
          await expect(tested.step(name, workflow(1))).rejects.toThrow(TypeError);
          await expect(tested.step("order", workflow(1), { program: name })).rejects.toThrow(TypeError);
        }
      });

      it("runs of one execution in one process wait for each other", async () => {
        const script = workflow(5);
        const tested = host();
        const results = await Promise.all(script.map(() => tested.step("order", script)));
        expect(results.map(({ revision }) => revision)).toEqual([1, 2, 3, 4, 5]);
      });

      it("a damaged or foreign snapshot: snapshot_mismatch, and the execution is parked and listed, not run", async () => {
        const script = workflow(3);
        const tested = host();
        for (const id of ["damaged", "foreign", "refused"]) await tested.step(id, script);
        await backend.damage("damaged");
        let ran = 0;
        const action = (): never => {
          ran++;
          throw Object.assign(new Error("not my VM"), { name: "TunnelError", code: "snapshot_mismatch", reason: "not my VM" });
        };
        const mismatch = { code: "snapshot_mismatch" };
        await expect(tested.executions.run("damaged", "script@1", action)).rejects.toMatchObject(mismatch);
        await expect(tested.executions.run("foreign", "script@2", action)).rejects.toMatchObject(mismatch);
        expect(ran).toBe(0);
        await expect(tested.executions.run("refused", "script@1", action)).rejects.toMatchObject(mismatch);
        for (const id of ["damaged", "foreign", "refused"]) {
          await expect(tested.step(id, script)).rejects.toMatchObject({ code: "execution_parked" });
        }
        const parked = await listed(tested, { status: "parked" });
        expect(parked.map(({ id, reason }) => [id, reason])).toEqual([
          ["damaged", expect.stringContaining("not what was committed")],
          ["foreign", expect.stringContaining("script@2")],
          ["refused", "not my VM"],
        ]);
        await expect(tested.executions.inspect("damaged")).rejects.toMatchObject(mismatch);
        expect(await tested.executions.unpark("foreign")).toBe(true);
        await tested.finish("foreign", script);
      });

      it.each([
        "acquire:before",
        "commit:before",
        "commit:outbox",
        "commit:after",
        "roll back:before",
        "roll back:after",
      ] as const)(
        "the store fails at %s: rolled back, tried again, nothing is exported that was not committed",
        async (point) => {
          const script = workflow(3);
          const undisturbed = new ScriptedHost((await setUp()).host());
          await undisturbed.finish("order", script);
          await undisturbed.executions.drain();

          let failures = 0;
          const tested = host(undefined, undefined, (at) => {
            if (at === point && failures++ % 3 < 2) throw new Error("disk full");
          });
          await tested.step("order", script);
          await expect(tested.step("order", script, { fail: new Error("guest") })).rejects.toThrow("guest");
          await tested.finish("order", script);
          await tested.executions.drain();
          expect(failures).toBeGreaterThan(2);
          expect(tested.committed).toEqual(undisturbed.committed);
          expect(await tested.executions.inspect("order")).toMatchObject({ status: "done", revision: 3, backlog: 0 });
          expect(tested.errors.length).toBeGreaterThan(0);
        },
      );

      it("state that is not there, or of another revision, is a damaged snapshot too: never a new beginning", async () => {
        const script = workflow(3);
        for (const [id, change] of [
          ["lost", ({ state: _, ...rest }: StoredExecution): StoredExecution => rest],
          ["older", (execution: StoredExecution): StoredExecution => ({ ...execution, revision: execution.revision + 1 })],
        ] as const) {
          await host().step(id, script);
          const store = backend.host();
          const acquire = store.acquire.bind(store);
          store.acquire = async (request) => {
            const acquired = await acquire(request);
            return { ...acquired, execution: change(acquired.execution) };
          };
          const tested = new ScriptedHost(store);
          await expect(tested.step(id, script)).rejects.toMatchObject({ code: "snapshot_mismatch" });
          expect(await tested.executions.inspect(id)).toMatchObject({ status: "parked", revision: 1 });
          store.acquire = acquire;
          if (store.name !== "memory") await tested.executions.close();
        }
      });

      it('"store_failed" when it goes on failing; the next run goes on from the last commit', async () => {
        const script = workflow(2);
        let broken = false;
        const tested = host({ retry: { attempts: 2 } }, undefined, (point) => {
          if (broken && point === "commit:state") throw new Error("disk full");
        });
        await tested.step("order", script);
        broken = true;
        await expect(tested.step("order", script)).rejects.toMatchObject({
          code: "store_failed",
          cause: { message: "disk full" },
        });
        broken = false;
        await tested.finish("order", script);
        expect(await tested.executions.inspect("order")).toMatchObject({ status: "done", revision: 2 });
      });

      it("an export that fails leaves everything in the outbox, and is tried again", async () => {
        const tested = host();
        tested.exportFailure = new Error("no backend");
        await tested.finish("order", workflow(2));
        await expect(tested.executions.drain()).rejects.toThrow("no backend");
        expect(tested.exported).toEqual([]);
        const later = host({ environment: impatient(NOW + 3_600_000) });
        await later.executions.drain();
        expect(Object.keys(later.committed)).toHaveLength(6);
        expect(await later.executions.inspect("order")).toMatchObject({ backlog: 0 });
      });

      it('exports: "drain": nothing is exported but while drain is called, which tells how far it is', async () => {
        const tested = host({ exports: "drain" });
        await tested.finish("order", workflow(2));
        expect(await tested.executions.inspect("order")).toMatchObject({ backlog: 2 });
        expect(tested.exported).toEqual([]);
        const progress: number[] = [];
        await tested.executions.drain({ onProgress: (rows) => progress.push(rows) });
        expect(progress).toEqual([2]);
        expect(Object.keys(tested.committed)).toHaveLength(6);
      });

      it("an outbox of a build that is not known stays, the others go out", async () => {
        const store = await open();
        await committed(store, "new", { outbox: ['{"format":"spanduct.outbox/99","records":[]}', "junk"] });
        const tested = host();
        await tested.finish("order", workflow(1));
        await tested.executions.drain();
        expect(Object.keys(tested.committed)).toHaveLength(3);
        expect(await store.load("new")).toMatchObject({ backlog: 2 });
        expect(tested.errors).toMatchObject([{ code: "unsupported_version" }]);
      });

      it("call sites are kept once for a program, and where an execution has others under the same id, by itself", async () => {
        const site = (name: string): CallSiteData => callSite(name);
        const script = (name: string): TracingEvent[][] => {
          const guest = new Guest();
          const span = guest.open(guest.callSite(site(name)));
          const first = guest.events.splice(0);
          guest.close(guest.open(1, {}, { parent: span }));
          guest.close(span);
          return [first, guest.events];
        };
        const tested = host();
        const other = host();
        await tested.step("a", script("common"));
        await other.step("b", script("common"));
        await other.step("c", script("other"));
        const store = await open();
        const program = await store.loadProgram("script@1");
        expect(Object.keys(JSON.parse(program?.metadata ?? ""))).toEqual(["1"]);
        expect((await store.load("b"))?.state).not.toHaveProperty("ownMetadata");
        expect((await store.load("c"))?.state).toHaveProperty("ownMetadata");
        for (const [id, name] of [
          ["a", "common"],
          ["b", "common"],
          ["c", "other"],
        ] as const) {
          await tested.step(id, script(name));
          await tested.executions.drain();
          expect(tested.exported.splice(0).map((span) => span["name"])).toEqual([name, name]);
        }
        expect(await tested.executions.prune()).toEqual({ executions: 3, programs: 1 });
        expect(await listed(tested)).toEqual([]);
      });

      it("call sites that executions of two hosts add at the same time are all kept", async () => {
        const tested = [host(), host()];
        const guests = tested.map((_, i) => {
          const guest = new Guest();
          guest.events.push({ new_call_site: { id: i + 1, ...callSite(`site ${i}`) } });
          guest.open(i + 1);
          return guest.events;
        });
        // Both have read the program before either has written it.
        let arrived = 0;
        let go: () => void = () => undefined;
        const both = new Promise<void>((resolve) => {
          go = resolve;
        });
        await Promise.all(
          tested.map(({ executions }, i) =>
            executions.run(`order ${i}`, "script@1", async ({ receiver }) => {
              for (const event of guests[i] ?? []) receiver.receive(event);
              if (++arrived === 2) go();
              await both;
              return {};
            }),
          ),
        );
        const program = await (await open()).loadProgram("script@1");
        expect(Object.keys(JSON.parse(program?.metadata ?? ""))).toEqual(["1", "2"]);
      });

      it("inspect and state tell what is open, without running it", async () => {
        const tested = host();
        expect(await tested.executions.inspect("order")).toBeUndefined();
        await tested.step("order", workflow(2));
        const details = await tested.executions.inspect("order");
        expect(details).toMatchObject({
          id: "order",
          revision: 1,
          liveSpans: 2,
          spans: [{ name: "workflow" }, { name: "step" }],
        });
        const state = await tested.executions.state("order");
        expect(Object.keys(state?.spans ?? {})).toEqual(["1", "4"]);
        expect(new TextDecoder().decode(state?.snapshot)).toBe("1");
      });

      it("adopt takes an execution over from a host of the crate; what no receiver can have written is refused and parked", async () => {
        const tested = host();
        const metadata = { "1": callSite("work") };
        const spans: PersistedSpans = { "7": { metadata_id: 1, ref_count: 1, values: { a: { int: 3 } } } };
        expect(await tested.executions.adopt("order", "script@1", { metadata, spans })).toMatchObject({ revision: 1 });
        await expect(tested.executions.adopt("order", "script@1", { metadata, spans })).rejects.toMatchObject({
          code: "revision_conflict",
        });
        await tested.step("order", [[{ span_entered: { id: 7 } }, { span_dropped: { id: 7 } }]]);
        await tested.executions.drain();
        expect(tested.exported).toMatchObject([{ name: "work", attributes: { a: 3 } }]);
        const broken = { "7": { metadata_id: 1, ref_count: 0, values: {} } };
        await expect(tested.executions.adopt("bad", "script@1", { metadata, spans: broken })).rejects.toMatchObject({
          code: "snapshot_mismatch",
        });
        expect(await tested.executions.inspect("bad")).toMatchObject({ status: "parked" });
      });

      it("the host half of a sandbox may settle the receiver; one that it has rolled back is rolled back", async () => {
        const script = workflow(2);
        const tested = host();
        await tested.executions.run("order", "script@1", ({ receiver }) => {
          for (const event of script[0] ?? []) receiver.receive(event);
          receiver.persist();
          return { snapshot: new Uint8Array([49]) };
        });
        await tested.finish("order", script);
        await expect(
          tested.executions.run("other", "script@1", ({ receiver }) => {
            receiver[Symbol.dispose]();
            return {};
          }),
        ).rejects.toMatchObject({ code: "receiver_closed" });
        await expect(
          tested.executions.run("late", "script@1", ({ receiver }) => {
            for (const event of script[0] ?? []) receiver.receive(event);
            receiver.persist();
            throw new Error("after all");
          }),
        ).rejects.toThrow("after all");
        await tested.executions.drain();
        expect(Object.keys(tested.committed)).toHaveLength(6);
        expect(await tested.executions.inspect("late")).toMatchObject({ revision: 0 });
      });

      it("linked traces: each run is a span of its own that tells which run it is, linked to the one before", async () => {
        const tested = host({ traces: "linked" });
        await tested.finish("order", workflow(3));
        await tested.executions.drain();
        const runs = tested.exported.filter((span) => span["name"] === "script@1");
        expect(runs.map(({ attributes }) => (attributes as never)["spanduct.execution.run"])).toEqual([1, 2, 3]);
        expect(runs.map(({ links }) => (links as { to: string[] }[]).map(({ to }) => to[1]))).toEqual([
          [],
          [runs[0]?.spanId],
          [runs[1]?.spanId],
        ]);
        expect(new Set(runs.map(({ traceId }) => traceId)).size).toBe(3);
      });

      it("a parent that is given with the first run holds for all of them", async () => {
        const parent = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 };
        const script = workflow(2);
        await host().step("order", script, { parent });
        const tested = host();
        await tested.finish("order", script);
        await tested.executions.drain();
        const all = hosts.flatMap(({ exported }) => exported);
        expect(new Set(all.map(({ traceId }) => traceId))).toEqual(new Set([parent.traceId]));
      });

      it("a processor that throws does not hold the outbox up, and is reported", async () => {
        const broken: SpanProcessor = {
          onStart: () => undefined,
          onEnd: () => {
            throw new Error("broken");
          },
          forceFlush: async () => undefined,
          shutdown: async () => undefined,
        };
        const tested = host({}, { spanProcessors: [broken] });
        await tested.finish("order", workflow(1));
        await tested.executions.drain();
        expect(await tested.executions.inspect("order")).toMatchObject({ backlog: 0 });
        expect(tested.errors.map(String)).toContain("Error: broken");
      });

      it("after close nothing is run; what is under way is finished", async () => {
        const tested = host();
        const running = tested.finish("order", workflow(1));
        await tested.executions.close();
        await running;
        await expect(tested.step("order", workflow(1))).rejects.toMatchObject({ code: "store_failed" });
        hosts.pop();
      });
    });
  });
}

async function listed({ executions }: ScriptedHost, options: ListOptions = {}): Promise<ExecutionSummary[]> {
  const found: ExecutionSummary[] = [];
  for await (const summary of executions.list(options)) found.push(summary);
  return found;
}

type Tail<T extends readonly unknown[]> = T extends readonly [unknown, ...infer Rest] ? Rest : never;
