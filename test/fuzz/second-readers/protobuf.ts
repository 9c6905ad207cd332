import type { TracedValues } from "@spanduct/protocol";
import type { SinkCall } from "../../support/sink-calls.ts";
import { addValue, CLOCKS, chain, idOf, newValues, optionalId, site, text, wide } from "./values.ts";

type Field = readonly [number: number, type: number, value: bigint | Uint8Array];

/** Bytes as fields, all of them first, then what they mean: the contract as a beginner would read it. */
export function readProtobuf(bytes: Uint8Array): SinkCall[] {
  const batch = fieldsOf(bytes);
  const header = {
    version: Number(number(batch, 1) ?? 0n),
    clock: CLOCKS[Number(number(batch, 2) ?? 0n)] as (typeof CLOCKS)[number],
    baseTimeUnixNano: (of(batch, 3, 1).at(-1) as bigint | undefined) ?? 0n,
    sequence: Number(number(batch, 4) ?? 0n),
    droppedEvents: Number(number(batch, 5) ?? 0n),
  };
  const calls: SinkCall[] = [["batch", header]];
  let last = 0n;
  for (const event of messages(batch, 6)) {
    const delta = number(event, 1);
    if (delta !== undefined) last += zigzag(delta);
    calls.push(...callOf(event, delta === undefined ? undefined : Number(last)));
  }
  return calls;
}

function callOf(event: readonly Field[], time: number | undefined): SinkCall[] {
  const calls: SinkCall[] = [];
  for (const s of messages(event, 2)) {
    const texts = { name: string(s, 4) ?? "", target: string(s, 5) ?? "", modulePath: string(s, 6), file: string(s, 7) };
    const fields = (of(s, 9, 2) as Uint8Array[]).map(text);
    const data = site(number(s, 2) ?? 0n, number(s, 3) ?? 0n, texts, number(s, 8), fields);
    calls.push(["newCallSite", idOf(number(s, 1) ?? 0n), data, time]);
  }
  for (const s of messages(event, 3)) {
    const [id, site] = [idOf(number(s, 1) ?? 0n), idOf(number(s, 3) ?? 0n)];
    calls.push(["newSpan", id, optionalId(number(s, 2)), site, valuesOf(messages(s, 4)), time]);
  }
  for (const s of messages(event, 4)) calls.push(["followsFrom", idOf(number(s, 1) ?? 0n), idOf(number(s, 2) ?? 0n), time]);
  for (const [kind, method] of [
    [5, "spanEntered"],
    [6, "spanExited"],
    [7, "spanCloned"],
    [8, "spanDropped"],
  ] as const) {
    for (const id of of(event, kind, 0)) calls.push([method, idOf(id as bigint), time]);
  }
  for (const s of messages(event, 9)) calls.push(["valuesRecorded", idOf(number(s, 1) ?? 0n), valuesOf(messages(s, 2)), time]);
  for (const s of messages(event, 10)) {
    calls.push(["newEvent", idOf(number(s, 1) ?? 0n), optionalId(number(s, 2)), valuesOf(messages(s, 3)), time]);
  }
  if (calls.length > 1) throw new Error("an event of two kinds");
  return calls;
}

function valuesOf(list: readonly (readonly Field[])[]): TracedValues {
  const values = newValues();
  for (const value of list) {
    const key = string(value, 2) ?? Number(number(value, 1) ?? 0n);
    let read: readonly [kind: number, raw: unknown] | undefined;
    // The last one counts.
    for (const [field, type, raw] of value) {
      if (type === 0 && field === 3) read = [1, raw !== 0n];
      else if (type === 0 && field === 4) read = [2, zigzag(raw as bigint)];
      else if (type === 0 && field === 5) read = [3, raw];
      else if (type === 1 && field === 6) read = [4, float(raw as bigint)];
      else if (type === 2 && (field === 7 || field === 8)) read = [field - 2, text(raw as Uint8Array)];
      else if (type === 2 && field === 9) read = [7, errorOf(fieldsOf(raw as Uint8Array))];
      else if (type === 2 && (field === 10 || field === 11)) read = [field - 8, wide(raw as Uint8Array, field === 10)];
    }
    if (read === undefined) throw new Error("a value without a value");
    addValue(values, key, ...read);
  }
  return values;
}

function errorOf(error: readonly Field[]): unknown {
  const causes = messages(error, 1).map((cause) => ({
    message: string(cause, 1) ?? "",
    type: string(cause, 2),
    stack: string(cause, 3),
  }));
  return chain(causes, Number(number(error, 2) ?? 0n));
}

/** Values of the fields of a number and wire type; the others of that number are not its. */
function of(fields: readonly Field[], number: number, type: number): (bigint | Uint8Array)[] {
  return fields.filter((field) => field[0] === number && field[1] === type).map(([, , value]) => value);
}

function number(fields: readonly Field[], number: number): bigint | undefined {
  return of(fields, number, 0).at(-1) as bigint | undefined;
}

function string(fields: readonly Field[], number: number): string | undefined {
  const all = (of(fields, number, 2) as Uint8Array[]).map(text);
  return all.at(-1);
}

function messages(fields: readonly Field[], number: number): Field[][] {
  return (of(fields, number, 2) as Uint8Array[]).map(fieldsOf);
}

function fieldsOf(bytes: Uint8Array): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error("truncated");
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (value >> 64n > 0n) break;
        return value;
      }
    }
    throw new Error("beyond 64 bits");
  };
  const take = (length: number): Uint8Array => {
    at += length;
    if (at > bytes.length) throw new Error("truncated");
    return bytes.subarray(at - length, at);
  };
  const fixed = (length: number): bigint => wide(take(length), false);
  while (at < bytes.length) {
    const tag = Number(varint());
    const [number, type] = [Math.floor(tag / 8), tag % 8];
    if (number === 0) throw new Error("field 0");
    if (type === 0) fields.push([number, type, varint()]);
    else if (type === 1) fields.push([number, type, fixed(8)]);
    else if (type === 2) fields.push([number, type, take(Number(varint()))]);
    else if (type === 5) fields.push([number, type, fixed(4)]);
    else throw new Error(`wire type ${type}`);
  }
  return fields;
}

function zigzag(value: bigint): bigint {
  return value % 2n === 0n ? value / 2n : -(value + 1n) / 2n;
}

function float(bits: bigint): number {
  return new Float64Array(BigUint64Array.of(bits).buffer)[0] as number;
}
