import type { CallSiteData, Id, TracingEvent } from "./event.ts";

/**
 * The same events without what changes from run to run or with every edit of the source, for snapshot tests, as
 * `TracingEvent::normalize` of the crate does it: call sites are numbered from 0 in order of appearance, lines are left out,
 * call sites of events are named `event`. Times are left out, too. Span ids, files and values stay. Mutates nothing.
 */
export function normalize(events: readonly TracingEvent[]): TracingEvent[] {
  const numbers = new Map<Id, number>();
  const number = (id: Id): number => {
    const known = numbers.get(id) ?? numbers.size;
    numbers.set(id, known);
    return known;
  };
  return events.map((event): TracingEvent => {
    if ("new_call_site" in event) {
      const { id, time_unix_nano: _time, line: _line, ...data } = event.new_call_site;
      // Announced again, it takes the next number, which a later one then takes, too: so the crate.
      const next = numbers.size;
      numbers.set(id, next);
      const named: CallSiteData = data.kind === "event" ? { ...data, name: "event" } : data;
      return { new_call_site: { id: next, ...named } };
    }
    if ("new_span" in event) {
      const { time_unix_nano: _time, ...span } = event.new_span;
      return { new_span: { ...span, metadata_id: number(span.metadata_id) } };
    }
    if ("new_event" in event) {
      const { time_unix_nano: _time, ...body } = event.new_event;
      return { new_event: { ...body, metadata_id: number(body.metadata_id) } };
    }
    const timeless = Object.entries(event).map(([kind, { time_unix_nano: _time, ...body }]) => [kind, body]);
    return Object.fromEntries(timeless) as TracingEvent;
  });
}
