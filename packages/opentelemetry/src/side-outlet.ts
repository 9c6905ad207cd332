import { type Context, type HrTime, type Span, trace } from "@opentelemetry/api";
import type { ValueColumns } from "@spanduct/protocol";
import type { CallSite, Loss } from "@spanduct/receiver";
import type { CallSitePlan } from "./call-site.ts";
import type { HostClock } from "./clock.ts";
import type { Outgoing, OutgoingLogRecord } from "./delivery.ts";
import { type GivenEvent, logRecord } from "./events.ts";
import type { PerTarget } from "./per-target.ts";
import type { Logger } from "./sdk.ts";
import { attributeBytes, EVENT_BYTES } from "./sizes.ts";

const LOSS = "spanduct.loss";
const PACKAGE = "@spanduct/opentelemetry";
const SEVERITY_WARN = 13;

/** Open roots that are told of one loss: a guest can open very many of them and lose a batch with every few bytes. */
export const MAX_TOLD_OF_LOSS = 16;

/** What an outlet is made with. */
export interface SideOutletSetup {
  /** `undefined`: there are no log records. */
  readonly loggers: PerTarget<Logger> | undefined;
  /** Context of the host. */
  readonly context: Context;
  readonly clock: HostClock;
  readonly send: (outgoing: SideOutgoing) => void;
}

/** What leaves through it. */
export type SideOutgoing = Extract<Outgoing, { readonly kind: "log" | "host event" }>;

/** What keeping it takes, about, in bytes. */
export function sideBytes(outgoing: SideOutgoing): number {
  if (outgoing.kind === "host event") return EVENT_BYTES + attributeBytes(outgoing.attributes);
  const { attributes, body } = outgoing.record;
  return EVENT_BYTES + attributeBytes(attributes) + (typeof body === "string" ? 2 * body.length : 0);
}

/** Where events go that do not become events of a guest's span: log records, and events of the host's own span. */
export class SideOutlet {
  readonly #setup: SideOutletSetup;

  constructor(setup: SideOutletSetup) {
    this.#setup = setup;
  }

  get hasLogs(): boolean {
    return this.#setup.loggers !== undefined;
  }

  /** @param context of the span that it happened in; default the host's */
  log(callSite: CallSite, plan: CallSitePlan, values: ValueColumns, time: HrTime, context: Context = this.#setup.context): void {
    this.#emit(callSite.data.target, logRecord(plan, values, time, this.#setup.clock(), context));
  }

  /** Dropped when the host has no span or does not record it. */
  hostEvent({ name, attributes, time }: GivenEvent): void {
    const span: Span | undefined = trace.getSpan(this.#setup.context);
    if (span?.isRecording() === true) this.#setup.send({ kind: "host event", span, name, attributes, time });
  }

  /** A loss that there is no open span to tell of. */
  loss(event: GivenEvent): void {
    const { loggers, context, clock } = this.#setup;
    if (loggers === undefined) return this.hostEvent(event);
    this.#emit(PACKAGE, {
      eventName: event.name,
      timestamp: event.time,
      observedTimestamp: clock(),
      severityNumber: SEVERITY_WARN,
      severityText: "WARN",
      attributes: event.attributes,
      context,
    });
  }

  #emit(target: string, record: OutgoingLogRecord): void {
    const { loggers, send } = this.#setup;
    if (loggers === undefined) return;
    const logger = loggers.get(target);
    if (loggers.isCommon(target)) record.attributes["target"] = target;
    send({ kind: "log", logger, scope: target, record });
  }
}

/** The event that says that something did not arrive. */
export function lossEvent({ batches, events }: Loss, time: HrTime): GivenEvent {
  return { name: LOSS, time, attributes: { batches, events }, droppedAttributesCount: 0 };
}
