import type { TraceState } from "@opentelemetry/api";

/** A W3C `tracestate`. As the API's own, which is a value that this module would have to import. */
export class TraceStateList implements TraceState {
  /** `key=value` each. */
  readonly #members: readonly string[];

  constructor(text: string) {
    this.#members = text.split(/\s*,\s*/).filter((member) => member.includes("="));
  }

  get(key: string): string | undefined {
    return this.#members.find((member) => member.startsWith(`${key}=`))?.slice(key.length + 1);
  }

  /** What is set moves to the front. */
  set(key: string, value: string): TraceState {
    return new TraceStateList([`${key}=${value}`, ...this.#without(key)].join());
  }

  unset(key: string): TraceState {
    return new TraceStateList(this.#without(key).join());
  }

  serialize(): string {
    return this.#members.join();
  }

  #without(key: string): readonly string[] {
    return this.#members.filter((member) => !member.startsWith(`${key}=`));
  }
}
