import type { Context, ContextManager, TimeInput } from "@opentelemetry/api";
import { type Level, LevelNumber, levelFromNumber } from "@spanduct/protocol";
import { thrown } from "../convert.ts";
import type { TracingEventSender } from "../sender.ts";
import { AttributeSites } from "./attribute-sites.ts";
import { spanOf } from "./context.ts";
import { targetOf } from "./scope.ts";
import { unixNano } from "./time.ts";
import { TunnelSpan } from "./tunnel-span.ts";

/** A log record of either line of the API: `@opentelemetry/api-logs`, and `logs` of `@opentelemetry/api` from 1.10 on. */
export interface LogRecord {
  readonly eventName?: string;
  readonly timestamp?: TimeInput;
  readonly observedTimestamp?: TimeInput;
  /** 1 to 24. Default 9, info. */
  readonly severityNumber?: number;
  readonly severityText?: string;
  readonly body?: unknown;
  readonly attributes?: { readonly [name: string]: unknown };
  readonly exception?: unknown;
  readonly context?: Context;
}

/** Emits log records. */
export interface Logger {
  emit(record: LogRecord): void;
  /** Whether a record like that would be sent at present. */
  enabled(record?: Pick<LogRecord, "severityNumber" | "eventName" | "context">): boolean;
}

/** How a logger provider is set up. */
export interface TunnelLoggerProviderOptions {
  /**
   * What is registered with the API for contexts. Without it a record that has no context of its own belongs to the span that was
   * entered last; a `StackContextManager` enters the active one.
   */
  readonly contextManager?: Pick<ContextManager, "active">;
}

/**
 * The guest as OpenTelemetry's logging. Severities become levels, the fatal ones `error`; the body is the field `message`, an
 * exception the field `error`.
 */
export class TunnelLoggerProvider {
  readonly #sites: AttributeSites;
  readonly #options: TunnelLoggerProviderOptions;

  constructor(sender: TracingEventSender, options: TunnelLoggerProviderOptions = {}) {
    this.#sites = new AttributeSites(sender.emitter);
    this.#options = options;
  }

  /** @param name with `version` the target of its call sites: `name@version` */
  getLogger(name: string, version?: string): Logger {
    const sites = this.#sites;
    const target = targetOf(name, version);
    const enabled: Logger["enabled"] = (record) => sites.isEnabled(levelOf(record?.severityNumber));
    return {
      enabled,
      emit: (record) => {
        try {
          if (enabled(record)) this.#emit(target, record);
        } catch {
          sites.emitter.dropped++;
        }
      },
    };
  }

  #emit(target: string, record: LogRecord): void {
    const { eventName, body, exception, attributes = {}, timestamp, observedTimestamp } = record;
    const context = record.context ?? this.#options.contextManager?.active();
    const span = context && spanOf(context);
    const level = levelOf(record.severityNumber);
    // A name such as Rust's macros make up for events that have none.
    const name = eventName ?? `event ${target}:${LevelNumber[level]}`;
    const site = this.#sites.scope("event", level, target).get(name);
    const special = {
      ...(site.data.name !== name && { message: name }),
      ...(body !== undefined && { message: body }),
      ...(exception !== undefined && { error: thrown(exception) }),
    };
    const parent = span instanceof TunnelSpan ? span.openNumber : undefined;
    this.#sites.emit(site, special, attributes, parent, unixNano(timestamp ?? observedTimestamp));
  }
}

function levelOf(severity: number | undefined): Level {
  // Four severities to a level, from trace up; what is above error is error.
  return levelFromNumber(6 - Math.min(Math.ceil((severity || 9) / 4), 5)) ?? "info";
}
