import { createPlugin, type Plugin } from "@extism/extism";
import type { PersistedMetadata, TunnelError } from "@spanduct/protocol";
import { TracingEventReceiver } from "@spanduct/receiver";
import { describe, expect, it } from "vitest";
import { sandboxContract } from "../../../../test/contract/sandbox.ts";
import { compileC, missingClang } from "../../../../test/support/clang.ts";
import { TraceRecorder } from "../../../../test/support/trace-recorder.ts";
import { type ExtismGuest, traceExtism } from "./host.ts";

const missing = missingClang();
if (missing !== undefined) it.skip(`extism (${missing})`, () => undefined);
else for (const runInWorker of [false, true]) testExtism(runInWorker ? "extism, in a worker" : "extism", runInWorker);

function testExtism(name: string, runInWorker: boolean): void {
  const programs = compileC("test/contract/c/sandbox-programs.c", ["-O2", "-DEXTISM"]);
  const plugin = compileC("packages/sandbox/test/extism-guest.c");

  sandboxContract(
    name,
    {
      async run(program, receiver) {
        const guest = traceExtism();
        const plugin = await createPlugin({ wasm: [{ data: programs }] }, { functions: guest.functions, runInWorker });
        try {
          return await guest.run(receiver, plugin, () => plugin.call(program));
        } finally {
          await plugin.close();
        }
      },
    },
    [
      { reason: "C has a console only where the host gives it one", programs: ["console"] },
      { reason: "C has no promises", programs: ["rejects"] },
    ],
  );

  /** Calls `body` with a new plug-in, and closes that. */
  async function withPlugin(body: (plugin: Plugin, guest: ExtismGuest, errors: TunnelError[]) => Promise<void>): Promise<void> {
    const errors: TunnelError[] = [];
    const guest = traceExtism({ onError: (error) => errors.push(error) });
    const created = await createPlugin({ wasm: [{ data: plugin }] }, { functions: guest.functions, runInWorker });
    try {
      await body(created, guest, errors);
    } finally {
      await created.close();
    }
  }

  function receiverOf(relay: TraceRecorder): TracingEventReceiver {
    return new TracingEventReceiver({}, {}, [], { relay });
  }

  describe(`traceExtism: ${name}`, () => {
    it("run: gives what the plug-in gives, again and again", () =>
      withPlugin(async (plugin, guest) => {
        let metadata: PersistedMetadata = {};
        for (let i = 0; i < 3; i++) {
          const trace = new TraceRecorder();
          // Call sites are announced once.
          const receiver = new TracingEventReceiver(metadata, {}, [], { relay: trace });
          const outcome = await guest.run(receiver, plugin, () => plugin.call("greet", "world"));
          if (outcome.kind === "rolled_back") throw outcome.error;
          expect(outcome.value?.text()).toBe("hello");
          expect(trace.spans).toMatchObject([{ name: "span", values: { length: { u_int: 5 } } }]);
          expect(receiver.stats.refused).toEqual({});
          metadata = receiver.persistMetadata();
        }
      }));

    it("run: an error that the plug-in sets rolls back", () =>
      withPlugin(async (plugin, guest) => {
        const trace = new TraceRecorder();
        const outcome = await guest.run(receiverOf(trace), plugin, () => plugin.call("fail"));
        expect(outcome).toMatchObject({ kind: "rolled_back", error: { message: "Plugin-originated error: no such user" } });
        expect(trace.lines()).toEqual(["span (rolled back)", expect.stringMatching(/^ {2}· exception error=/)]);
      }));

    it("run: blocks that are not there, or no batches, are refused and counted, and the plug-in goes on", () =>
      withPlugin(async (plugin, guest, errors) => {
        const trace = new TraceRecorder();
        const receiver = receiverOf(trace);
        const outcome = await guest.run(receiver, plugin, () => plugin.call("lie"));
        expect(outcome.kind).toBe("committed");
        expect(trace.lines()).toEqual(["· note"]);
        expect(errors.length + (receiver.stats.refused.malformed ?? 0) + (receiver.stats.refused.unsupported_version ?? 0)).toBe(
          8,
        );
        expect(new Set(errors.map(({ code }) => code))).toEqual(new Set(["malformed"]));
        expect(guest.stats.ignored).toBe(errors.length);
      }));

    it("spanduct_send: outside of a run it is in vain", () =>
      withPlugin(async (plugin, guest, errors) => {
        await plugin.call("greet");
        await plugin.call("spanduct_flush");
        expect(errors.map(({ code }) => code)).toEqual(["receiver_closed"]);
        expect(guest.stats.ignored).toBe(1);
      }));

    it('run: is one at a time: another one throws "guest_busy" and leaves its receiver open', () =>
      withPlugin(async (plugin, guest) => {
        const second = new TraceRecorder();
        const running = guest.run(receiverOf(new TraceRecorder()), plugin, () => plugin.call("greet"));
        expect(() => guest.run(receiverOf(second), plugin, () => plugin.call("greet"))).toThrow("[guest_busy]");
        expect((await running).kind).toBe("committed");
        expect(second.ending).toBeUndefined();
      }));

    if (!runInWorker) return;

    it("run: a plug-in that hangs is rolled back when the host gives up and closes it", () =>
      withPlugin(async (plugin, guest) => {
        let sent = (): void => undefined;
        const seen = new Promise<void>((resolve) => {
          sent = resolve;
        });
        const trace = new TraceRecorder(() => sent());
        const outcome = await guest.run(receiverOf(trace), plugin, async () => {
          const call = plugin.call("hang");
          await Promise.race([call, seen]);
          await plugin.close();
          throw new Error("took too long");
        });
        expect(outcome).toMatchObject({ kind: "rolled_back", error: { message: "took too long" } });
        expect(trace.lines()).toEqual(["span (rolled back)", "  · note", expect.stringMatching(/^ {2}· exception error=/)]);
      }));
  });
}
