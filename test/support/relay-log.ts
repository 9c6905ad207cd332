import {
  type ClockDomain,
  type EventTime,
  type TracedError,
  type TracedValue,
  tagged,
  type ValueColumns,
  valueName,
} from "@spanduct/protocol";
import type { CallSite, Loss, Parent, Relay, RestoredSpan } from "@spanduct/receiver";

/**
 * A relay that writes down every call as a line of text. Its spans are numbers, 1, 2, 3…
 *
 * `new 2 work{a=1} under 1`: span 2 of call site `work`, explicit parent 1; `in 1` stands for the contextual parent, nothing for
 * none. A time is `@` and nanoseconds after the base.
 */
export class RelayLog implements Relay<number> {
  readonly lines: string[] = [];
  #spans = 0;

  /** The lines since the last call. */
  take(): string[] {
    return this.lines.splice(0);
  }

  timeBase(baseUnixNano: bigint, clock: ClockDomain): void {
    this.lines.push(`time base ${baseUnixNano} ${clock}`);
  }

  registerCallSite({ data }: CallSite): void {
    this.lines.push(`call site ${showName(data.name)}`);
  }

  newSpan({ data }: CallSite, _id: number | bigint, values: ValueColumns, parent: Parent<number>, time: EventTime): number {
    const span = ++this.#spans;
    this.lines.push(`new ${span} ${showName(data.name)}${showColumns(values)}${showParent(parent)}${showTime(time)}`);
    return span;
  }

  record(span: number, values: ValueColumns, time: EventTime): void {
    this.lines.push(`record ${span} ${showColumns(values)}${showTime(time)}`);
  }

  recordFollowsFrom(span: number, followsFrom: number, time: EventTime): void {
    this.lines.push(`follows ${span} ${followsFrom}${showTime(time)}`);
  }

  enter(span: number, time: EventTime): void {
    this.lines.push(`enter ${span}${showTime(time)}`);
  }

  exit(span: number, time: EventTime): void {
    this.lines.push(`exit ${span}${showTime(time)}`);
  }

  tryClose(span: number, time: EventTime): void {
    this.lines.push(`close ${span}${showTime(time)}`);
  }

  event({ data }: CallSite, values: ValueColumns, parent: Parent<number>, time: EventTime): void {
    this.lines.push(`event ${showName(data.name)}${showColumns(values)}${showParent(parent)}${showTime(time)}`);
  }

  loss({ batches, events }: Loss): void {
    this.lines.push(`loss of ${batches} batches, ${events} events`);
  }

  suspend(): void {
    this.lines.push("suspend");
  }

  commit(): void {
    this.lines.push("commit");
  }

  rollback(): void {
    this.lines.push("rollback");
  }
}

/** A `RelayLog` that goes on with the spans of another process. */
export class RestoringRelayLog extends RelayLog {
  restoreSpan({ callSite, id, values, local, saved }: RestoredSpan<number>): number | undefined {
    const before = saved as { readonly span: number } | undefined;
    const is = `local ${local ?? "-"} saved ${before?.span ?? "-"}`;
    this.lines.push(`restore ${id} ${showName(callSite.data.name)}${showColumns(values)} ${is}`);
    return local ?? before?.span;
  }

  saveSpan(span: number): unknown {
    this.lines.push(`save ${span}`);
    return { span };
  }
}

/** `relay`, where calls of `method` throw; every one of them when it is left out. */
export function failing<R extends object>(relay: R, method?: string): R {
  return new Proxy(relay, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (method !== undefined && name !== method) return typeof value === "function" ? value.bind(target) : value;
      if (name === "maxLevel") throw new Error("maxLevel broke");
      return () => {
        throw new Error(`${String(name)} broke`);
      };
    },
  });
}

/** Names that are words as they are, others in quotes and escaped. */
export function showName(name: string): string {
  return /^\w+( \w+)*$/.test(name) ? name : JSON.stringify(name);
}

/** `{a=1, b="text"}`; nothing for no values. */
export function showValues(values: Iterable<readonly [name: string, value: TracedValue]>): string {
  const shown = Array.from(values, ([name, value]) => `${showName(name)}=${showValue(value)}`);
  return shown.length === 0 ? "" : `{${shown.join(", ")}}`;
}

function showColumns(values: ValueColumns): string {
  return showValues(
    Array.from({ length: values.size }, (_, i) => [
      valueName(values, i) ?? "?",
      tagged(values.kinds[i] as never, values.raws[i] as never),
    ]),
  );
}

function showValue(value: TracedValue): string {
  if ("bool" in value) return String(value.bool);
  if ("int" in value) return String(value.int);
  if ("u_int" in value) return `${value.u_int}u`;
  if ("float" in value) return `${Object.is(value.float, -0) ? "-0" : value.float}f`;
  if ("string" in value) return JSON.stringify(value.string);
  if ("object" in value) return `<${JSON.stringify(value.object)}>`;
  const messages: string[] = [];
  for (let link: TracedError | null = value.error; link !== null; link = link.source) messages.push(JSON.stringify(link.message));
  return `error ${messages.join(" < ")}`;
}

function showParent({ span, explicit }: Parent<number>): string {
  if (span === undefined) return "";
  return explicit ? ` under ${span}` : ` in ${span}`;
}

/** ` @5`; nothing for no time. */
export function showTime(time: EventTime): string {
  return time === undefined ? "" : ` @${time}`;
}
