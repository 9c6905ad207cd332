import type { CallSiteData, Level } from "@spanduct/protocol";
import type { CallSite } from "@spanduct/receiver";
import { AttributePlan } from "./attribute-plan.ts";
import type { AttributeValue } from "./attribute-value.ts";
import { AttributeWriter } from "./attribute-writer.ts";
import type { SpanLimits } from "./limits.ts";
import type { InstrumentationScope } from "./sdk.ts";

/** The OpenTelemetry severity number of each level. */
const SEVERITY: Readonly<Record<Level, number>> = { trace: 1, debug: 5, info: 9, warn: 13, error: 17 };

/** The field that is an event's text rather than one of its attributes. */
const MESSAGE = "message";

const NO_LIMIT = Number.POSITIVE_INFINITY;

type Attribute = readonly [string, AttributeValue];

/** Scopes kept at once; hostile guests make up targets without end. */
const MAX_SCOPES = 4096;

/** What a relay works out once for each call site. */
export class CallSitePlan {
  /** The call site's name; for an event that has only the name that Rust's macros make up, `undefined`. */
  readonly name: string | undefined;
  /** The call site's name, made up or not. */
  readonly givenName: string;
  readonly scope: InstrumentationScope;
  /** Whether it is of level error. */
  readonly isError: boolean;
  readonly severityNumber: number;
  /** The level in capitals, as Rust prints it. */
  readonly severityText: string;
  /** Whether one of the fields is an `otel.…` one. */
  readonly hasSpecialFields: boolean;
  readonly #data: CallSiteData;
  readonly #limits: Required<SpanLimits>;
  // Most call sites need only one of these.
  #spanAttributes: AttributePlan | undefined;
  #eventAttributes: AttributePlan | undefined;
  #logAttributes: AttributePlan | undefined;

  constructor(data: CallSiteData, scope: InstrumentationScope, limits: Required<SpanLimits>) {
    this.#data = data;
    this.#limits = limits;
    this.name = isMadeUp(data) ? undefined : data.name;
    this.givenName = data.name;
    this.scope = scope;
    this.isError = data.level === "error";
    this.severityNumber = SEVERITY[data.level];
    this.severityText = data.level.toUpperCase();
    this.hasSpecialFields = data.fields.some((field) => field.startsWith("otel."));
  }

  get spanAttributes(): AttributePlan {
    this.#spanAttributes ??= this.#planSpans();
    return this.#spanAttributes;
  }

  get eventAttributes(): AttributePlan {
    this.#eventAttributes ??= this.#planEvents();
    return this.#eventAttributes;
  }

  get logAttributes(): AttributePlan {
    this.#logAttributes ??= this.#plan(this.#place(), MESSAGE, NO_LIMIT, NO_LIMIT);
    return this.#logAttributes;
  }

  #planSpans(): AttributePlan {
    const { module_path: modulePath } = this.#data;
    const { attributeCountLimit, attributeValueLengthLimit } = this.#limits;
    const fixed: Attribute[] = [...this.#place(), ["level", this.severityText]];
    if (modulePath !== undefined) fixed.unshift(["code.function.name", functionName(this.#data, modulePath)]);
    return this.#plan(fixed, undefined, attributeCountLimit, attributeValueLengthLimit);
  }

  #planEvents(): AttributePlan {
    const { target, fields } = this.#data;
    const { attributePerEventCountLimit, attributeValueLengthLimit } = this.#limits;
    const fixed: Attribute[] = [["level", this.severityText], ["target", target], ...this.#place()];
    // The event gets its message for a name.
    if (this.name !== undefined && fields.includes(MESSAGE)) fixed.push(["event.name", this.name]);
    return this.#plan(fixed, MESSAGE, attributePerEventCountLimit, attributeValueLengthLimit);
  }

  #place(): Attribute[] {
    const { file, line } = this.#data;
    const place: Attribute[] = [];
    if (file !== undefined) place.push(["code.file.path", file]);
    if (line !== undefined) place.push(["code.line.number", line]);
    return place;
  }

  #plan(fixed: readonly Attribute[], message: string | undefined, countLimit: number, lengthLimit: number): AttributePlan {
    const writer = new AttributeWriter(countLimit, lengthLimit);
    return new AttributePlan(writer, fixed, this.#data.fields, message, countLimit);
  }
}

/** Call sites whose plans are found without a map. */
const RECENT = 16;

/** Plans by call site, each as long as the call site lives or a little longer, and scopes by target, so that exporters can group by them. */
export class CallSitePlans {
  readonly #limits: Required<SpanLimits>;
  readonly #plans: WeakMap<CallSite, CallSitePlan> = new WeakMap();
  readonly #scopes: Map<string, InstrumentationScope> = new Map();
  readonly #recent: (CallSite | undefined)[] = new Array<undefined>(RECENT).fill(undefined);
  readonly #recentPlans: (CallSitePlan | undefined)[] = new Array<undefined>(RECENT).fill(undefined);

  constructor(limits: Required<SpanLimits>) {
    this.#limits = limits;
  }

  get(callSite: CallSite): CallSitePlan {
    const place = callSite.index % RECENT;
    if (this.#recent[place] === callSite) return this.#recentPlans[place] as CallSitePlan;
    const plan = this.#find(callSite);
    this.#recent[place] = callSite;
    this.#recentPlans[place] = plan;
    return plan;
  }

  #find(callSite: CallSite): CallSitePlan {
    let plan = this.#plans.get(callSite);
    if (plan === undefined) {
      plan = new CallSitePlan(callSite.data, this.scope(callSite.data.target), this.#limits);
      this.#plans.set(callSite, plan);
    }
    return plan;
  }

  /** The scope of this name: the same object for the same name, as far as memory allows. */
  scope(target: string): InstrumentationScope {
    let scope = this.#scopes.get(target);
    if (scope === undefined) {
      if (this.#scopes.size >= MAX_SCOPES) this.#scopes.clear();
      scope = { name: target };
      this.#scopes.set(target, scope);
    }
    return scope;
  }
}

/** Whether the name is what Rust's macros give to an event: `event src/lib.rs:12`. */
function isMadeUp({ kind, name, file, line }: CallSiteData): boolean {
  return kind === "event" && (file === undefined ? /^event .+:\d+$/.test(name) : name === `event ${file}:${line}`);
}

/** Rust's `module::path::name`; a dot elsewhere. */
function functionName({ name, file }: CallSiteData, modulePath: string): string {
  const isRust = modulePath.includes("::") || file?.endsWith(".rs") === true;
  return `${modulePath}${isRust ? "::" : "."}${name}`;
}
