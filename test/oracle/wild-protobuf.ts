/** A protobuf writer that takes every liberty the format leaves, by the schema alone. */
import { type DescField, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";

/** Whole numbers from 0 up to but not including `below`. */
export type Choose = (below: number) => number;

/**
 * `message` in bytes that mean the same to every reader: fields in any order (repeated ones in theirs), unknown fields of every
 * wire type in between, defaults that are written out, singular numbers and text written more than once, varints and lengths
 * with superfluous bytes. The first `ordered` fields of the outermost message come before the rest.
 */
export function writeWild(schema: DescMessage, message: Message, choose: Choose, ordered: number): Uint8Array {
  return Uint8Array.from(writeMessage(reflect(schema, message), choose, ordered));
}

function writeMessage(message: ReflectMessage, choose: Choose, ordered: number): number[] {
  const queues = message.fields.map((field) => pieces(message, field, choose));
  const bytes: number[] = [];
  const flush = (from: (readonly number[][])[]): void => {
    const open = from.map((queue) => [...queue]).filter((queue) => queue.length > 0);
    while (open.length > 0) {
      if (choose(6) === 0) bytes.push(...unknownField(choose));
      const at = choose(open.length);
      bytes.push(...((open[at] as number[][]).shift() as number[]));
      if ((open[at] as number[][]).length === 0) open.splice(at, 1);
    }
  };
  flush(queues.slice(0, ordered));
  flush(queues.slice(ordered));
  if (choose(6) === 0) bytes.push(...unknownField(choose));
  return bytes;
}

/** One field as the pieces of bytes that have to come in this order. */
function pieces(message: ReflectMessage, field: DescField, choose: Choose): number[][] {
  const { number } = field;
  if (field.fieldKind === "list") {
    return Array.from(message.get(field), (item) =>
      field.listKind === "message"
        ? [...tag(number, 2, choose), ...delimited(writeMessage(item as ReflectMessage, choose, 0), choose)]
        : scalar(field.scalar as ScalarType, number, item, choose),
    );
  }
  if (field.fieldKind === "message") {
    if (!message.isSet(field)) return [];
    return [[...tag(number, 2, choose), ...delimited(writeMessage(message.get(field), choose, 0), choose)]];
  }
  if (field.fieldKind !== "scalar" && field.fieldKind !== "enum") throw new Error(`${field} is of a kind the contract has not`);
  const type = field.fieldKind === "enum" ? ScalarType.UINT32 : field.scalar;
  const hasPresence = field.oneof !== undefined || field.proto.proto3Optional;
  if (!message.isSet(field) && (hasPresence || choose(2) === 0)) return [];
  const written = scalar(type, number, message.get(field), choose);
  // Members of a oneof put each other out, so a reader may refuse two of them.
  const inOneof = field.oneof !== undefined && !field.proto.proto3Optional;
  if (inOneof || choose(5) !== 0) return [written];
  // In the range of every enum.
  const replaced = type === ScalarType.STRING ? "replaced" : type === ScalarType.UINT32 ? 1 + choose(2) : BigInt(choose(100));
  return [scalar(type, number, replaced, choose), written];
}

function scalar(type: ScalarType, number: number, value: unknown, choose: Choose): number[] {
  switch (type) {
    case ScalarType.BOOL:
      // Any number but 0 is true.
      return [...tag(number, 0, choose), ...varint(value === true ? BigInt(1 + choose(300)) : 0n, choose)];
    case ScalarType.UINT32:
      return [...tag(number, 0, choose), ...varint(BigInt(value as number), choose)];
    case ScalarType.UINT64:
      return [...tag(number, 0, choose), ...varint(value as bigint, choose)];
    case ScalarType.SINT64: {
      const signed = value as bigint;
      return [...tag(number, 0, choose), ...varint(BigInt.asUintN(64, (signed << 1n) ^ (signed >> 63n)), choose)];
    }
    case ScalarType.FIXED64: {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setBigUint64(0, value as bigint, true);
      return [...tag(number, 1, choose), ...bytes];
    }
    case ScalarType.DOUBLE: {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setFloat64(0, value as number, true);
      return [...tag(number, 1, choose), ...bytes];
    }
    case ScalarType.STRING:
      return [...tag(number, 2, choose), ...delimited([...new TextEncoder().encode(value as string)], choose)];
    case ScalarType.BYTES:
      return [...tag(number, 2, choose), ...delimited([...(value as Uint8Array)], choose)];
    default:
      throw new Error(`a scalar of a type that the contract has not: ${ScalarType[type]}`);
  }
}

/** Numbers that no message of the contract uses. */
const UNKNOWN_NUMBERS = [12, 15, 16, 100, 2047, 2048, 2 ** 29 - 1];

function unknownField(choose: Choose): number[] {
  const number = UNKNOWN_NUMBERS[choose(UNKNOWN_NUMBERS.length)] as number;
  const random = (length: number): number[] => Array.from({ length }, () => choose(256));
  switch (choose(4)) {
    case 0:
      return [...tag(number, 0, choose), ...varint(BigInt(choose(2 ** 31)) ** 2n, choose)];
    case 1:
      return [...tag(number, 1, choose), ...random(8)];
    case 2:
      return [...tag(number, 2, choose), ...delimited(random(choose(200)), choose)];
    default:
      return [...tag(number, 5, choose), ...random(4)];
  }
}

function tag(number: number, wireType: number, choose: Choose): number[] {
  // Readers differ in how long a tag may be; five bytes is what all read.
  return varint(BigInt(number * 8 + wireType), choose, 5);
}

function delimited(bytes: readonly number[], choose: Choose): number[] {
  return [...varint(BigInt(bytes.length), choose, 5), ...bytes];
}

function varint(value: bigint, choose: Choose, maxLength = 10): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  } while (rest > 0n);
  if (choose(8) === 0) while (bytes.length < maxLength && choose(2) === 0) bytes.push(0x80);
  bytes.push((bytes.pop() as number) & 0x7f);
  return bytes;
}
