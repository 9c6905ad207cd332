import type { CallSiteData, Level } from "@spanduct/protocol";
import type { CallSite } from "@spanduct/receiver";
import { type AttributeTemplate, type AttributeValue, attributeTemplate } from "./attributed.ts";
import type { SpanLimits } from "./limits.ts";
import type { InstrumentationScope } from "./sdk.ts";

/** The OpenTelemetry severity number of each level. */
const SEVERITY: Readonly<Record<Level, number>> = { trace: 1, debug: 5, info: 9, warn: 13, error: 17 };

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
  readonly spanAttributes: AttributeTemplate;
  readonly eventAttributes: AttributeTemplate;
  readonly logAttributes: AttributeTemplate;

  constructor(data: CallSiteData, scope: InstrumentationScope, limits: Required<SpanLimits>) {
    this.name = isMadeUp(data) ? undefined : data.name;
    this.givenName = data.name;
    this.scope = scope;
    this.isError = data.level === "error";
    this.severityNumber = SEVERITY[data.level];
    this.severityText = data.level.toUpperCase();
    this.hasSpecialFields = data.fields.some((field) => field.startsWith("otel."));

    const code: [string, AttributeValue][] = [];
    if (data.file !== undefined) code.push(["code.file.path", data.file]);
    if (data.line !== undefined) code.push(["code.line.number", data.line]);
    const level = ["level", this.severityText] as const;
    const { attributeCountLimit, attributePerEventCountLimit, attributeValueLengthLimit } = limits;
    const span = data.module_path === undefined ? [] : [["code.function.name", functionName(data, data.module_path)] as const];
    this.spanAttributes = attributeTemplate([...span, ...code, level], attributeCountLimit, attributeValueLengthLimit);
    const event = [level, ["target", data.target] as const, ...code];
    this.eventAttributes = attributeTemplate(event, attributePerEventCountLimit, attributeValueLengthLimit);
    this.logAttributes = attributeTemplate(code, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
  }
}

/** Plans by call site, each as long as the call site lives, and scopes by target, so that exporters can group by them. */
export class CallSitePlans {
  readonly #limits: Required<SpanLimits>;
  readonly #plans: WeakMap<CallSite, CallSitePlan> = new WeakMap();
  readonly #scopes: Map<string, InstrumentationScope> = new Map();

  constructor(limits: Required<SpanLimits>) {
    this.#limits = limits;
  }

  get(callSite: CallSite): CallSitePlan {
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
