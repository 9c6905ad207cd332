import type { TraceContext } from "@spanduct/protocol";
import {
  captureConsole,
  performanceClock,
  propagate,
  type SenderOptions,
  type SenderOutput,
  TracingEventSender,
} from "@spanduct/sender";

/** How a guest connects to its host. */
export interface ConnectOptions extends Pick<SenderOptions, "target" | "maxLevel"> {
  /** Whether what is written to `console` becomes events too. Default false. */
  readonly captureConsole?: boolean;
}

/** The sender of a guest in a realm that has `performance` and `console`. */
export function guestSender(
  output: SenderOutput,
  { captureConsole: capture, ...options }: ConnectOptions & Pick<SenderOptions, "isWatched">,
): TracingEventSender {
  const sender = new TracingEventSender(output, { clock: performanceClock(performance), ...options });
  if (capture === true) captureConsole(sender, console);
  return sender;
}

/** Follow what the host says at the begin of a run. @param control its control word */
export function beginRun(sender: TracingEventSender, control: number, traceContext: TraceContext | undefined): void {
  sender.control(control);
  propagate(sender, traceContext);
}
