import { type Level, type TracedError, type TracedValueMap, type TracedValues, toValueMap } from "@spanduct/protocol";
import type { CallSite, Loss, Parent, Relay } from "@spanduct/receiver";

/** A span as a receiver told of it. */
export interface RecordedSpan {
  readonly name: string;
  readonly target: string;
  readonly values: TracedValueMap;
  /** What happened in it, oldest first. */
  readonly children: (RecordedSpan | RecordedEvent)[];
  state: "open" | "closed" | "rolled back";
}

/** An event as a receiver told of it. */
export interface RecordedEvent {
  readonly name: string;
  readonly target: string;
  readonly level: Level;
  readonly values: TracedValueMap;
}

/** The error that an event carries in its field `error`. */
export function errorOf(event: RecordedEvent | undefined): TracedError {
  const value = event?.values["error"];
  if (value === undefined || !("error" in value)) throw new Error("there is no error");
  return value.error;
}

/** Keeps the trace of one attempt as a tree. */
export class TraceRecorder implements Relay<RecordedSpan> {
  /** Spans and events without a parent. */
  readonly roots: (RecordedSpan | RecordedEvent)[] = [];
  readonly losses: Loss[] = [];
  ending: "commit" | "rollback" | undefined;
  readonly #onEvent: (event: RecordedEvent) => void;

  /** @param onEvent called while the guest is still in the call that brought the event */
  constructor(onEvent: (event: RecordedEvent) => void = () => undefined) {
    this.#onEvent = onEvent;
  }

  /** All spans, parents before their children. */
  get spans(): RecordedSpan[] {
    const spansIn = (list: (RecordedSpan | RecordedEvent)[]): RecordedSpan[] =>
      list.flatMap((item) => ("children" in item ? [item, ...spansIn(item.children)] : []));
    return spansIn(this.roots);
  }

  /** All events. */
  get events(): RecordedEvent[] {
    return [{ children: this.roots }, ...this.spans].flatMap(({ children }) => children.filter((item) => "level" in item));
  }

  /** The tree as lines: spans as `name {values}`, events with a dot in front, children two spaces further in. */
  lines(): string[] {
    const print = (list: (RecordedSpan | RecordedEvent)[], indent: string): string[] =>
      list.flatMap((item) => {
        const values = Object.entries(item.values).map(([name, value]) => `${name}=${Object.values(value)[0]}`);
        const mark = "level" in item ? "· " : "";
        const state = "children" in item && item.state !== "closed" ? ` (${item.state})` : "";
        const line = [`${indent}${mark}${item.name}${state}`, ...values].join(" ");
        return "children" in item ? [line, ...print(item.children, `${indent}  `)] : [line];
      });
    return print(this.roots, "");
  }

  newSpan({ data }: CallSite, _id: number | bigint, values: TracedValues, parent: Parent<RecordedSpan>): RecordedSpan {
    const { name, target } = data;
    const span: RecordedSpan = { name, target, values: toValueMap(values), children: [], state: "open" };
    (parent.span?.children ?? this.roots).push(span);
    return span;
  }

  record(span: RecordedSpan, values: TracedValues): void {
    Object.assign(span.values, toValueMap(values));
  }

  recordFollowsFrom(): void {
    // No test asks.
  }

  enter(): void {
    // The receiver knows who is the contextual parent.
  }

  exit(): void {
    // As above.
  }

  tryClose(span: RecordedSpan): void {
    span.state = this.ending === "rollback" ? "rolled back" : "closed";
  }

  event({ data }: CallSite, values: TracedValues, parent: Parent<RecordedSpan>): void {
    const { name, target, level } = data;
    const event: RecordedEvent = { name, target, level, values: toValueMap(values) };
    (parent.span?.children ?? this.roots).push(event);
    this.#onEvent(event);
  }

  loss({ batches, events }: Loss): void {
    this.losses.push({ batches, events });
  }

  commit(): void {
    this.ending = "commit";
  }

  rollback(): void {
    this.ending = "rollback";
  }
}
