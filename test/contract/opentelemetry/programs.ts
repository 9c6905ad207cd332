import type { CallSiteData, TracedError, TracedValue, TracingEvent } from "@spanduct/protocol";
import fc from "fast-check";
import { callSite, Guest } from "./guest.ts";

const SITES: readonly CallSiteData[] = [
  callSite("plain"),
  callSite("rust", { module_path: "app::jobs", file: "src/jobs.rs", line: 3, target: "app::jobs" }),
  callSite("steered", { fields: ["a", "otel.name", "otel.kind", "otel.status_code", "otel.status_description", "__proto__"] }),
  callSite("said", { kind: "event" }),
  callSite("event src/jobs.rs:9", { kind: "event", file: "src/jobs.rs", line: 9, level: "error" }),
];
const SPAN_SITES = 3;

const error: fc.Arbitrary<TracedError> = fc.record(
  {
    message: fc.string(),
    source: fc.constantFrom(null, { message: "cause", source: null }),
    type: fc.string(),
    stack: fc.string(),
  },
  { requiredKeys: ["message", "source"] },
);

const value: fc.Arbitrary<TracedValue> = fc.oneof(
  fc.boolean().map((bool) => ({ bool })),
  fc.maxSafeInteger().map((int) => ({ int })),
  fc.constantFrom(2n ** 100n, -(2n ** 63n)).map((int) => ({ int })),
  fc.double().map((float) => ({ float })),
  fc.string({ unit: "binary" }).map((string) => ({ string })),
  fc.constantFrom("server", "ERROR", "ok", "\ud800").map((object) => ({ object })),
  error.map((failure) => ({ error: failure })),
);

type Step = (guest: Guest, sites: readonly number[], live: (number | bigint)[]) => void;

const pick = fc.nat({ max: 1000 });
const values = (fields: readonly string[]): fc.Arbitrary<{ [name: string]: TracedValue }> =>
  fc
    .array(fc.tuple(fc.constantFrom(...fields), value), { maxLength: fields.length })
    .map((entries) => Object.fromEntries(entries));

/** A live span, by a number that any may be picked with. */
const nth = (live: readonly (number | bigint)[], at: number): number | bigint => live[at % live.length] as number | bigint;

function on(
  step: (guest: Guest, span: number | bigint, sites: readonly number[], live: (number | bigint)[]) => void,
): (at: number) => Step {
  return (at) => (guest, sites, live) => {
    if (live.length > 0) step(guest, nth(live, at), sites, live);
  };
}

const open: fc.Arbitrary<Step> = fc.nat({ max: SPAN_SITES - 1 }).chain((site) =>
  fc.tuple(values(SITES[site]?.fields ?? []), fc.option(pick)).map(
    ([given, parent]): Step =>
      (guest, sites, live) => {
        const more = parent === null || live.length === 0 ? {} : { parent: nth(live, parent) };
        live.push(guest.open(sites[site] as number, given, more));
      },
  ),
);

const emit: fc.Arbitrary<Step> = fc
  .tuple(fc.integer({ min: SPAN_SITES, max: SITES.length - 1 }), values(SITES[SPAN_SITES]?.fields ?? []), fc.option(pick))
  .map(
    ([site, given, parent]): Step =>
      (guest, sites, live) => {
        guest.emit(sites[site] as number, given, parent === null || live.length === 0 ? undefined : nth(live, parent));
      },
  );

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: open },
  { weight: 2, arbitrary: emit },
  { weight: 3, arbitrary: pick.map(on((guest, span) => guest.enter(span))) },
  { weight: 2, arbitrary: pick.map(on((guest, span) => guest.exit(span))) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(pick, values(["a", "otel.name", "__proto__"]))
      .map(([at, given]) => on((guest, span) => guest.record(span, given))(at)),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(pick, pick).map(([at, other]) => on((guest, span, _, live) => guest.follows(span, nth(live, other)))(at)),
  },
  {
    weight: 1,
    arbitrary: pick.map(
      on((guest, span) => {
        guest.clone(span);
        guest.close(span);
      }),
    ),
  },
  {
    weight: 2,
    arbitrary: pick.map(
      on((guest, span, _, live) => {
        guest.close(span);
        live.splice(live.indexOf(span), 1);
      }),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.integer({ min: -2000, max: 5_000_000_000 }).map(
      (nanos): Step =>
        (guest) =>
          guest.wait(nanos),
    ),
  },
);

/** Events of a guest that opens, enters, leaves, links and closes spans in any order, and has closed all of them in the end. */
export const program: fc.Arbitrary<readonly TracingEvent[]> = fc.array(step, { minLength: 1, maxLength: 25 }).map((steps) => {
  const guest = new Guest();
  const sites = SITES.map((data) => guest.callSite(data));
  const live: (number | bigint)[] = [];
  for (const take of steps) take(guest, sites, live);
  for (const span of live.reverse()) guest.close(span);
  return guest.events;
});
