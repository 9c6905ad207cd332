import type { ValueColumns } from "@spanduct/protocol";
import type { CallSite, Parent, Relay } from "@spanduct/receiver";
import { JsonWriter } from "../../packages/protocol/src/json/writer.ts";

/**
 * Tells every call as the members of a JSON object. Spans are numbers, 1, 2, 3…, across all receivers it serves; call sites go
 * by their place in the arena.
 */
export class RecordingRelay implements Relay<number> {
  readonly #print: (members: string) => void;
  #spans = 0;

  constructor(print: (members: string) => void) {
    this.#print = print;
  }

  registerCallSite({ index, data }: CallSite): void {
    this.#print(`"call":"register_callsite","metadata":${index},"data":{${text((writer) => writer.callSite(data))}}`);
  }

  newSpan(callSite: CallSite, _id: number | bigint, values: ValueColumns, parent: Parent<number>): number {
    const id = ++this.#spans;
    this.#print(`"call":"new_span","id":${id},${where(callSite, parent)},"values":${show(values)}`);
    return id;
  }

  record(span: number, values: ValueColumns): void {
    this.#print(`"call":"record","id":${span},"values":${show(values)}`);
  }

  recordFollowsFrom(span: number, followsFrom: number): void {
    this.#print(`"call":"record_follows_from","id":${span},"follows_from":${followsFrom}`);
  }

  enter(span: number): void {
    this.#print(`"call":"enter","id":${span}`);
  }

  exit(span: number): void {
    this.#print(`"call":"exit","id":${span}`);
  }

  tryClose(span: number): void {
    this.#print(`"call":"try_close","id":${span}`);
  }

  event(callSite: CallSite, values: ValueColumns, parent: Parent<number>): void {
    this.#print(`"call":"event",${where(callSite, parent)},"values":${show(values)}`);
  }
}

function where({ index, data }: CallSite, { explicit, span }: Parent<number>): string {
  const parent = explicit ? `{"explicit":${span}}` : '"contextual"';
  return `"metadata":${index},"name":${text((writer) => writer.string(data.name))},"parent":${parent}`;
}

function show(values: ValueColumns): string {
  return text((writer) => writer.values(values));
}

function text(write: (writer: JsonWriter) => void): string {
  const writer = new JsonWriter();
  write(writer);
  return Buffer.from(writer.bytes).toString();
}
