import { stripVTControlCharacters, styleText } from "node:util";
import { type HrTime, SpanStatusCode } from "@opentelemetry/api";
import type { ReadableSpan, TimedEvent } from "@opentelemetry/sdk-trace";
import { printable } from "./printable.ts";

type Style = Parameters<typeof styleText>[0];

/** How a tree is printed. */
export interface TreeOptions {
  /** Whether to use ANSI colours. */
  readonly color: boolean;
  /** Columns of the timeline on the left; 0 for none. */
  readonly timelineWidth: number;
  /** Columns of a line; attributes that do not fit are left out. */
  readonly maxWidth: number;
  /** Of so many neighbours with one name and nothing in them all are printed; of more, the first two. */
  readonly maxAlike: number;
  /** Whether to say what differs from run to run and from machine to machine: durations, and frames of stacks. Default true. */
  readonly details?: boolean;
}

/** Attributes that other columns say, or an error's own lines. */
const HIDDEN = /^(level|target|event\.name|busy_ns|idle_ns|spanduct\.rolled_back|error(\.chain|\.type)?|(exception|code)\..+)$/;
const LEVEL_STYLES: { readonly [level: string]: Style } = {
  ERROR: "red",
  WARN: "yellow",
  INFO: "green",
  DEBUG: "blue",
  TRACE: "magenta",
};
const SCOPE_STYLES: readonly Style[] = ["white", "cyan", "yellow", "magenta", "blue"];
const MAX_VALUE_LENGTH = 60;
const MAX_STACK_FRAMES = 3;
/** Of the tunnel's own code in QuickJS. */
const OWN_FRAME = /\(spanduct:/;
/** Columns of duration and level. */
const COLUMNS_WIDTH = 16;

/**
 * Spans as a tree, one line each, with their events in between, oldest first. On the left, where they lie in time, how long they
 * took (events: when they happened), and their level.
 */
export function traceTree(spans: readonly ReadableSpan[], options: TreeOptions): string {
  return new TreePrinter(spans, options).print();
}

/** Something that is printed; `time` in nanoseconds since the begin. */
type Node = SpanNode | EventNode | AlikeNode;

interface SpanNode {
  readonly kind: "span";
  readonly time: number;
  readonly span: ReadableSpan;
  readonly children: readonly Node[];
}

interface EventNode {
  readonly kind: "event";
  readonly time: number;
  readonly event: TimedEvent;
}

/** Spans that get one line together. */
interface AlikeNode {
  readonly kind: "alike";
  readonly time: number;
  readonly spans: readonly ReadableSpan[];
}

/** What leads to a line, what stands in front of lines below it, and the scope of the span around. */
interface Place {
  readonly branch: string;
  readonly indent: string;
  readonly scope: string | undefined;
}

class TreePrinter {
  readonly #options: TreeOptions;
  readonly #spans: readonly ReadableSpan[];
  readonly #begin: HrTime;
  readonly #total: number;
  readonly #children: Map<string, ReadableSpan[]>;
  readonly #scopes: Map<string, Style> = new Map();
  readonly #errorsSeen: Set<string> = new Set();
  readonly #lines: string[] = [];
  readonly #details: boolean;

  constructor(spans: readonly ReadableSpan[], options: TreeOptions) {
    this.#options = options;
    this.#details = options.details !== false;
    this.#spans = [...spans].sort((a, b) => nanos(b.startTime, a.startTime));
    this.#begin = this.#spans[0]?.startTime ?? [0, 0];
    this.#total = spans.reduce((total, span) => Math.max(total, nanos(this.#begin, span.endTime)), 1);
    this.#children = Map.groupBy(this.#spans, (span) => span.parentSpanContext?.spanId ?? "");
  }

  print(): string {
    const ids = new Set(this.#spans.map((span) => span.spanContext().spanId));
    for (const span of this.#spans) {
      const isRoot = !ids.has(span.parentSpanContext?.spanId ?? "");
      if (isRoot) this.#print(this.#node(span), { branch: "", indent: "", scope: undefined });
    }
    return this.#lines.join("\n");
  }

  #node(span: ReadableSpan): SpanNode {
    const spans = this.#children.get(span.spanContext().spanId) ?? [];
    const children: Node[] = [
      ...this.#folded(spans.map((child) => this.#node(child))),
      ...span.events.map((event): EventNode => ({ kind: "event", time: nanos(this.#begin, event.time), event })),
    ];
    children.sort((a, b) => a.time - b.time);
    return { kind: "span", time: nanos(this.#begin, span.startTime), span, children };
  }

  /** Put neighbours that are alike into one line. */
  #folded(nodes: readonly SpanNode[]): Node[] {
    const folded: Node[] = [];
    for (let i = 0; i < nodes.length; ) {
      const first = nodes[i] as SpanNode;
      let end = i + 1;
      if (isPlain(first)) while (isPlain(nodes[end]) && nodes[end]?.span.name === first.span.name) end++;
      const shown = end - i > this.#options.maxAlike ? i + 2 : end;
      folded.push(...nodes.slice(i, shown));
      const rest = nodes.slice(shown, end);
      if (rest[0] !== undefined) folded.push({ kind: "alike", time: rest[0].time, spans: rest.map(({ span }) => span) });
      i = end;
    }
    return folded;
  }

  #print(node: Node, place: Place): void {
    if (node.kind === "span") return this.#printSpan(node, place);
    if (node.kind === "event") return this.#printEvent(node.event, place);
    const [first] = node.spans as readonly [ReadableSpan];
    const total = node.spans.reduce((sum, span) => sum + nanos(span.startTime, span.endTime), 0);
    const text = this.#paint("dim", `… ${node.spans.length} more ${printable(first.name)}`);
    this.#line(this.#bar(node.spans), duration(total), first.attributes["level"], place.branch, text);
  }

  #printSpan({ span, children }: SpanNode, place: Place): void {
    const { attributes, instrumentationScope, status, startTime, endTime } = span;
    const scope = instrumentationScope.name;
    const isFailed = status.code === SpanStatusCode.ERROR;
    const spanName = printable(span.name);
    const name = isFailed ? this.#paint(["bold", "red"], `✗ ${spanName}`) : this.#paint("bold", spanName);
    const label = scope === place.scope ? "" : this.#paint(this.#scopeStyle(scope), ` [${printable(scope)}]`);
    const rolledBack = attributes["spanduct.rolled_back"] === true ? this.#paint("red", " ↩ rolled back") : "";
    const text = this.#withValues(`${name}${label}${rolledBack}`, attributes, place.branch);
    this.#line(this.#bar([span]), duration(nanos(startTime, endTime)), attributes["level"], place.branch, text);
    children.forEach((child, i) => {
      const isLast = i === children.length - 1;
      const branch = `${place.indent}${isLast ? "└─ " : "├─ "}`;
      this.#print(child, { branch, indent: `${place.indent}${isLast ? "   " : "│  "}`, scope });
    });
  }

  #printEvent(event: TimedEvent, { branch, indent, scope }: Place): void {
    const { attributes = {} } = event;
    const { level, target } = attributes;
    const name = printable(event.name);
    const label = target === scope || target === undefined ? "" : this.#paint("dim", ` [${printable(target)}]`);
    const message = attributes["exception.message"];
    const time = `+${duration(nanos(this.#begin, event.time))}`;
    if (typeof message !== "string") {
      const text = this.#withValues(`${this.#paint(levelStyle(level), "●")} ${name}${label}`, attributes, branch);
      return this.#line(this.#mark(event), time, level, branch, text);
    }
    const type = attributes["exception.type"];
    const headline = `✗ ${name === "exception" ? "" : `${name}: `}${type === undefined ? "" : `${printable(type)}: `}${printable(message)}`;
    this.#line(this.#mark(event), time, level, branch, `${this.#paint("red", headline)}${label}`);
    // An error that is on its way out is reported by every span that it passes.
    if (this.#errorsSeen.has(message)) return;
    this.#errorsSeen.add(message);
    for (const line of explanation(attributes["exception.stacktrace"], this.#details ? MAX_STACK_FRAMES : 0)) {
      this.#line(this.#bar([]), "", "", indent, this.#paint("dim", line));
    }
  }

  #line(bar: string, time: string, level: unknown, branch: string, text: string): void {
    const label = this.#paint(levelStyle(level), printable(level ?? "").padEnd(5));
    const duration = this.#details ? `${this.#paint("dim", time.padStart(9))} ` : "";
    this.#lines.push(`${bar}${duration}${label} ${this.#paint("dim", branch)}${text}`);
  }

  /** As many attributes as fit. */
  #withValues(text: string, attributes: ReadableSpan["attributes"], branch: string): string {
    const { maxWidth, timelineWidth } = this.#options;
    const left = COLUMNS_WIDTH + (timelineWidth === 0 ? 0 : timelineWidth + 2);
    let room = maxWidth - left - branch.length - stripVTControlCharacters(text).length;
    let line = text;
    for (const [name, value] of Object.entries(attributes)) {
      if (HIDDEN.test(name)) continue;
      const full = printable(value);
      const cut = full.length > MAX_VALUE_LENGTH ? `${full.slice(0, MAX_VALUE_LENGTH - 1)}…` : full;
      room -= name.length + cut.length + 2;
      if (room < 0) return `${line}${this.#paint("dim", " …")}`;
      line += ` ${this.#paint("dim", `${printable(name)}=`)}${cut}`;
    }
    return line;
  }

  /** Where spans lie in time. */
  #bar(spans: readonly ReadableSpan[]): string {
    return this.#timeline((cells) => {
      for (const { startTime, endTime, status, instrumentationScope } of spans) {
        const style = status.code === SpanStatusCode.ERROR ? "red" : this.#scopeStyle(instrumentationScope.name);
        cells.fill(this.#paint(style, "━"), this.#cell(startTime), this.#cell(endTime) + 1);
      }
    });
  }

  /** Where an event lies in time. */
  #mark({ time, attributes }: TimedEvent): string {
    return this.#timeline((cells) => {
      cells[this.#cell(time)] = this.#paint(levelStyle(attributes?.["level"]), "◆");
    });
  }

  #timeline(draw: (cells: string[]) => void): string {
    const { timelineWidth } = this.#options;
    if (timelineWidth === 0) return "";
    const cells = Array.from({ length: timelineWidth }, () => " ");
    draw(cells);
    return `${this.#paint("dim", "▏")}${cells.join("")}${this.#paint("dim", "▕")}`;
  }

  #cell(time: HrTime): number {
    const { timelineWidth } = this.#options;
    return Math.min(timelineWidth - 1, Math.floor((nanos(this.#begin, time) / this.#total) * timelineWidth));
  }

  /** Scopes get colours in the order in which they come. */
  #scopeStyle(scope: string): Style {
    const style = this.#scopes.get(scope) ?? (SCOPE_STYLES[this.#scopes.size % SCOPE_STYLES.length] as Style);
    this.#scopes.set(scope, style);
    return style;
  }

  #paint(style: Style, text: string): string {
    return this.#options.color && text.trim() !== "" ? styleText(style, text, { validateStream: false }) : text;
  }
}

/** Whether there is nothing to see in it. */
function isPlain(node: SpanNode | undefined): boolean {
  return node !== undefined && node.children.length === 0 && node.span.status.code !== SpanStatusCode.ERROR;
}

function levelStyle(level: unknown): Style {
  return LEVEL_STYLES[String(level)] ?? "dim";
}

/** From a stack trace, where the error was thrown and what caused it. */
function explanation(stack: unknown, maxFrames: number): string[] {
  let frames = 0;
  return String(stack ?? "")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => !OWN_FRAME.test(line))
    .filter((line) => line.startsWith("Caused by:") || (line.startsWith("at ") && frames++ < maxFrames))
    .map((line) => `  ${printable(line)}`);
}

/** Nanoseconds from `begin` to `end`. */
function nanos(begin: HrTime, end: HrTime): number {
  return (end[0] - begin[0]) * 1e9 + (end[1] - begin[1]);
}

/** Three digits and a unit. */
function duration(nanos: number): string {
  if (nanos < 1e3) return `${Math.round(nanos)} ns`;
  const [value, unit] = nanos < 1e6 ? [nanos / 1e3, "µs"] : nanos < 1e9 ? [nanos / 1e6, "ms"] : [nanos / 1e9, "s"];
  return `${value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${unit}`;
}
