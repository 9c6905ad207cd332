import type { TracedValues } from "@spanduct/protocol";
import type { SinkCall } from "../../support/sink-calls.ts";
import { addValue, CLOCKS, chain, idOf, newValues, optionalId, site, text, wide } from "./values.ts";

/** Integers are bigints, floats and binaries objects of their own, and maps are not looked into. */
type Item =
  | null
  | boolean
  | bigint
  | string
  | { readonly float: number }
  | { readonly bytes: Uint8Array }
  | "map"
  | readonly Item[];

/** Bytes as items, all of them first, then what they mean by the tables of `proto/README.md`. */
export function readMsgpack(bytes: Uint8Array): SinkCall[] {
  const [head, ...events] = itemsOf(bytes) as unknown as readonly Item[][];
  const [version, clock, base, sequence, dropped] = head as bigint[] as [bigint, bigint, bigint, bigint, bigint];
  const header = {
    version: Number(version),
    clock: CLOCKS[Number(clock)] as (typeof CLOCKS)[number],
    baseTimeUnixNano: base,
    sequence: Number(sequence),
    droppedEvents: Number(dropped),
  };
  const calls: SinkCall[] = [["batch", header]];
  let last = 0n;
  for (const [kind, delta, ...rest] of events) {
    if (delta !== null) last += delta as bigint;
    const time = delta === null ? undefined : Number(last);
    const [a, b, c, d] = rest as [bigint, bigint, bigint, Item[]];
    switch (kind) {
      case 2n: {
        const [, siteKind, level, name, target, modulePath, file, line, fields] = rest;
        const texts = { name: name as string, target: target as string, modulePath: optional(modulePath), file: optional(file) };
        const data = site(
          siteKind as bigint,
          level as bigint,
          texts,
          (line ?? undefined) as bigint | undefined,
          fields as string[],
        );
        calls.push(["newCallSite", idOf(a), data, time]);
        break;
      }
      case 3n:
        calls.push(["newSpan", idOf(a), optionalId(b ?? undefined), idOf(c), valuesOf(d), time]);
        break;
      case 4n:
        calls.push(["followsFrom", idOf(a), idOf(b), time]);
        break;
      case 5n:
        calls.push(["spanEntered", idOf(a), time]);
        break;
      case 6n:
        calls.push(["spanExited", idOf(a), time]);
        break;
      case 7n:
        calls.push(["spanCloned", idOf(a), time]);
        break;
      case 8n:
        calls.push(["spanDropped", idOf(a), time]);
        break;
      case 9n:
        calls.push(["valuesRecorded", idOf(a), valuesOf(b as unknown as Item[]), time]);
        break;
      case 10n:
        calls.push(["newEvent", idOf(a), optionalId(b ?? undefined), valuesOf(c as unknown as Item[]), time]);
    }
  }
  return calls;
}

function optional(item: Item | undefined): string | undefined {
  return item === null ? undefined : (item as string);
}

function valuesOf(list: readonly Item[]): TracedValues {
  if (list.length % 3 !== 0) throw new Error("not a multiple of 3");
  const values = newValues();
  for (let i = 0; i < list.length; i += 3) {
    const [key, kind, raw] = list.slice(i, i + 3) as [bigint | string, bigint, Item];
    addValue(values, typeof key === "string" ? key : Number(key), Number(kind), rawOf(Number(kind), raw));
  }
  return values;
}

function rawOf(kind: number, raw: Item): unknown {
  if (typeof raw === "object" && raw !== null && "bytes" in raw) return wide(raw.bytes, kind === 2);
  if (kind === 4) return typeof raw === "bigint" ? Number(raw) : (raw as { readonly float: number }).float;
  if (kind !== 7) return raw;
  const [omitted, ...causes] = raw as [bigint, ...(readonly Item[])[]];
  const links = causes.map(([message, type, stack]) => ({
    message: message as string,
    type: optional(type),
    stack: optional(stack),
  }));
  return chain(links, Number(omitted));
}

/** Text that is none may stand where nobody looks. */
function textOrBytes(bytes: Uint8Array): Item {
  try {
    return text(bytes);
  } catch {
    return { bytes };
  }
}

function itemsOf(bytes: Uint8Array): Item[] {
  let at = 0;
  const take = (length: number): Uint8Array => {
    at += length;
    if (at > bytes.length) throw new Error("truncated");
    return bytes.subarray(at - length, at);
  };
  const unsigned = (length: number): bigint => wide(take(length).toReversed(), false);
  const view = (length: number): DataView => {
    const { buffer, byteOffset } = take(length);
    return new DataView(buffer, byteOffset, length);
  };
  const count = (length: number): number => Number(unsigned(length));
  const items = (length: number): Item[] => Array.from({ length }, item);
  const map = (length: number): Item => {
    items(2 * length);
    return "map";
  };
  const item = (): Item => {
    const head = count(1);
    if (head < 0x80) return BigInt(head);
    if (head < 0x90) return map(head & 0xf);
    if (head < 0xa0) return items(head & 0xf);
    if (head < 0xc0) return textOrBytes(take(head & 0x1f));
    if (head >= 0xe0) return BigInt(head - 0x100);
    const step = head & 3;
    switch (head) {
      case 0xc0:
        return null;
      case 0xc2:
      case 0xc3:
        return head === 0xc3;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return { bytes: take(count(1 << step)) };
      case 0xc7:
        return { bytes: take(count(1) + 1) };
      case 0xc8:
        return { bytes: take(count(2) + 1) };
      case 0xc9:
        return { bytes: take(count(4) + 1) };
      case 0xca:
        return { float: view(4).getFloat32(0) };
      case 0xcb:
        return { float: view(8).getFloat64(0) };
      case 0xcc:
      case 0xcd:
      case 0xce:
      case 0xcf:
        return unsigned(1 << step);
      case 0xd0:
      case 0xd1:
      case 0xd2:
      case 0xd3:
        return BigInt.asIntN(8 << step, unsigned(1 << step));
      case 0xd4:
      case 0xd5:
      case 0xd6:
      case 0xd7:
      case 0xd8:
        return { bytes: take((1 << (head - 0xd4)) + 1) };
      case 0xd9:
        return textOrBytes(take(count(1)));
      case 0xda:
        return textOrBytes(take(count(2)));
      case 0xdb:
        return textOrBytes(take(count(4)));
      case 0xdc:
        return items(count(2));
      case 0xdd:
        return items(count(4));
      case 0xde:
        return map(count(2));
      case 0xdf:
        return map(count(4));
      default:
        throw new Error("0xc1");
    }
  };
  const all: Item[] = [];
  while (at < bytes.length) all.push(item());
  return all;
}
