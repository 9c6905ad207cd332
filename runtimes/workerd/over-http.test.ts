import type { TunnelError } from "@spanduct/protocol";
import { TracingEventReceiver } from "@spanduct/receiver";
import { type Outcome, traceWorkerdOverHttp, type WorkerdOverHttp } from "@spanduct/sandbox/workerd";
import type { Miniflare } from "miniflare";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sandboxContract } from "../../test/contract/sandbox.ts";
import { type RecordedSpan, TraceRecorder } from "../../test/support/trace-recorder.ts";
import { EXCEPTIONS } from "./exceptions.ts";
import { bundleWorker, COMPATIBILITY, missingMiniflare } from "./suite-runtime.ts";

/** workerd with the guest, whose service binding leads to `host`. */
async function start(host: WorkerdOverHttp): Promise<Miniflare> {
  const { Miniflare } = await import("miniflare");
  const miniflare = new Miniflare({
    ...COMPATIBILITY,
    modules: true,
    script: await bundleWorker("guest.ts"),
    serviceBindings: { SPANDUCT: (request: unknown) => host.fetch(request as Request) as never },
    // What the guest writes to its console.
    handleRuntimeStdio: () => undefined,
  });
  await miniflare.ready;
  return miniflare;
}

const why = missingMiniflare === undefined ? "" : ` (${missingMiniflare})`;

describe.skipIf(why !== "")(`guest in workerd, host in Node.js${why}`, { timeout: 60_000 }, () => {
  const errors: TunnelError[] = [];
  const host = traceWorkerdOverHttp({ onError: (error) => errors.push(error) });
  let shared: Miniflare;
  beforeAll(async () => {
    shared = await start(host);
  }, 60_000);
  afterAll(() => shared?.dispose());

  sandboxContract(
    "workerd over HTTP",
    {
      run: (program, receiver) =>
        host.run(receiver, (headers) => shared.dispatchFetch(`http://localhost/${program}`, { headers })),
    },
    EXCEPTIONS,
  );

  interface Run {
    readonly outcome: Outcome<Response, RecordedSpan>;
    readonly trace: TraceRecorder;
    readonly receiver: TracingEventReceiver<RecordedSpan>;
  }

  async function run(path: string, options: { trace?: TraceRecorder; miniflare?: Miniflare; body?: string } = {}): Promise<Run> {
    const { trace = new TraceRecorder(), miniflare = shared, body = "" } = options;
    const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace });
    const outcome = await host.run(receiver, async (headers) => {
      const response = await miniflare.dispatchFetch(`http://localhost/${path}`, { method: "POST", headers, body });
      return new Response(await response.text(), { status: response.status });
    });
    return { outcome, trace, receiver };
  }

  describe("traceWorkerdOverHttp", () => {
    it("commits a run whose guest responds, after everything that the guest has batched", async () => {
      const { outcome, trace } = await run("look", { body: "hello" });
      if (outcome.kind === "rolled_back") throw outcome.error;
      expect(await outcome.value.json()).toMatchObject({ value: { argument: "hello", level: 5 } });
      expect(trace.ending).toBe("commit");
      expect((await run("lastWords")).trace.lines()).toEqual(["· last words"]);
    });

    it("says what the guest threw, with causes and stack", async () => {
      const { outcome } = await run("doomed");
      expect(outcome).toMatchObject({
        kind: "rolled_back",
        error: {
          message: "guest failed",
          stack: expect.stringContaining("doomed"),
          cause: { name: "TypeError", message: "on purpose" },
        },
      });
    });

    it("rolls back a guest that is killed in the middle of a span, with what it had sent, and goes on with others", async () => {
      const doomed = await start(host);
      const trace = new TraceRecorder(({ name }) => {
        if (name === "stuck") void doomed.dispose();
      });
      const { outcome } = await run("waiting", { trace, miniflare: doomed });
      expect(outcome.kind).toBe("rolled_back");
      expect(trace.lines()).toEqual(["endless (rolled back)", "  · stuck", expect.stringMatching(/^ {2}· exception error=/)]);
      expect((await run("nested")).outcome.kind).toBe("committed");
    });

    it("does not count what a guest does after its response", async () => {
      const { outcome, trace } = await run("background");
      expect(outcome.kind).toBe("committed");
      expect(trace.lines()).toEqual(["background (open)", "· returns"]);
    });

    it("is not known to a guest that is called without the header, or with one that somebody made up", async () => {
      const look = async (headers: Record<string, string>): Promise<unknown> =>
        (await shared.dispatchFetch("http://localhost/look", { headers })).json();
      expect(await look({})).toMatchObject({ value: { level: 0 } });
      for (const header of ["", "{", "null", "7", "{}", '{"run":1,"control":2}', '{"run":"../x","control":1}', '{"run":"a"}']) {
        expect(await look({ spanduct: header })).toMatchObject({ value: { level: 0 } });
      }
      errors.length = 0;
      const forged = { run: "00000000-0000-0000-0000-000000000000", control: 0, traceContext: { traceparent: {} } };
      expect(
        (await shared.dispatchFetch("http://localhost/nested", { headers: { spanduct: JSON.stringify(forged) } })).status,
      ).toBe(200);
      expect(errors.map(({ code }) => code)).toContain("receiver_closed");
    });
  });

  describe("traceWorkerdOverHttp: a guest that does not keep to it", () => {
    /** What the guest of a run says over HTTP. */
    async function say(...messages: readonly RequestInit[]): Promise<Run & { readonly answers: readonly number[] }> {
      const trace = new TraceRecorder();
      const receiver = new TracingEventReceiver<RecordedSpan>({}, {}, [], { relay: trace });
      const answers: number[] = [];
      const outcome = await host.run(receiver, async (headers) => {
        const { run } = JSON.parse(headers["spanduct"] as string) as { readonly run: string };
        for (const message of messages) {
          const answer = await host.fetch(new Request(`http://spanduct/${run}`, { method: "POST", ...message }));
          answers.push(answer.status);
        }
        return new Response();
      });
      return { outcome, trace, receiver, answers };
    }

    it("reads no more than a message may be long", async () => {
      let read = 0;
      const body = new ReadableStream<Uint8Array>({
        pull(controller) {
          read += 65_536;
          controller.enqueue(new Uint8Array(65_536));
        },
      });
      const { outcome, answers, receiver } = await say({ body, duplex: "half" } as RequestInit);
      expect(answers).toEqual([413]);
      expect(read).toBeLessThan(5 * 2 ** 20);
      expect(outcome.kind).toBe("committed");
      expect(receiver.stats.batches).toBe(0);
    });

    it("tells the receiver of bytes that are no batch, and takes no error that is none", async () => {
      const json = { "content-type": "application/json" };
      const { outcome, answers, receiver } = await say({ body: "junk" }, {}, { body: "{", headers: json });
      expect(answers).toEqual([200, 200, 400]);
      expect(receiver.stats.refused).toEqual({ malformed: 1, unsupported_version: 1 });
      expect(outcome.kind).toBe("committed");
    });

    it("rolls back when a guest says that it failed, whatever it gives as the reason", async () => {
      for (const body of ["null", "7", '"text"', "[]", '{"message":{},"cause":5}', '{"message":"real"}']) {
        const { outcome } = await say({ body, headers: { "content-type": "application/json" } });
        expect(outcome).toMatchObject({ kind: "rolled_back", error: expect.any(Error) });
      }
    });
  });
});
