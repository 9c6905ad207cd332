/** Calls on an event sink to and from the classes that protobuf-es generates from the contract. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type BatchHeader,
  type CallSiteData,
  canonicalInteger,
  type EventTime,
  type Id,
  type Level,
  type RawValue,
  type TracedError,
  TracedValues,
  type ValueColumns,
  ValueKind,
} from "@spanduct/protocol";
import { replay, type SinkCall } from "../support/sink-calls.ts";
import {
  type Batch,
  BatchSchema,
  CallSiteKind,
  type Cause,
  ClockDomain,
  type EventSchema,
  type Level as LevelEnum,
  type Value,
  type ValueSchema,
} from "./gen/spanduct/v1/tunnel_pb.js";

const CLOCKS = {
  wall: ClockDomain.WALL,
  frozen: ClockDomain.FROZEN,
  logical: ClockDomain.LOGICAL,
  none: ClockDomain.NONE,
} as const;

const LEVELS: readonly Level[] = ["error", "warn", "info", "debug", "trace"];

/** The message that an encoder has to write for these calls of one batch. */
export function toMessage(calls: readonly SinkCall[]): Batch {
  const events: MessageInitShape<typeof EventSchema>[] = [];
  let header: BatchHeader | undefined;
  let base = 0n;
  let last = 0n;
  const add = (time: EventTime, kind: NonNullable<MessageInitShape<typeof EventSchema>["kind"]>): void => {
    if (time === undefined) {
      events.push({ kind });
      return;
    }
    const at = base + BigInt(time);
    events.push({ timeDeltaNano: at - last, kind });
    last = at;
  };
  replay(calls, {
    batch(given) {
      header = given;
      base = last = given.baseTimeUnixNano;
    },
    timeBase(unixNano) {
      base = unixNano;
    },
    newCallSite(id, data, time) {
      const { kind, level, module_path: modulePath, file, line } = data;
      const value = {
        id: BigInt(id),
        kind: kind === "span" ? CallSiteKind.SPAN : CallSiteKind.EVENT,
        level: (LEVELS.indexOf(level) + 1) as LevelEnum,
        name: data.name.toWellFormed(),
        target: data.target.toWellFormed(),
        ...(modulePath !== undefined && { modulePath: modulePath.toWellFormed() }),
        ...(file !== undefined && { file: file.toWellFormed() }),
        ...(line !== undefined && { line }),
        fields: data.fields.map((field) => field.toWellFormed()),
      };
      add(time, { case: "newCallSite", value });
    },
    newSpan(id, parent, metadataId, values, time) {
      const parentId = parent === undefined ? undefined : { parentId: BigInt(parent) };
      const value = { id: BigInt(id), ...parentId, metadataId: BigInt(metadataId), values: toValues(values) };
      add(time, { case: "newSpan", value });
    },
    followsFrom(id, followsFrom, time) {
      add(time, { case: "followsFrom", value: { id: BigInt(id), followsFrom: BigInt(followsFrom) } });
    },
    spanEntered: (id, time) => add(time, { case: "spanEntered", value: BigInt(id) }),
    spanExited: (id, time) => add(time, { case: "spanExited", value: BigInt(id) }),
    spanCloned: (id, time) => add(time, { case: "spanCloned", value: BigInt(id) }),
    spanDropped: (id, time) => add(time, { case: "spanDropped", value: BigInt(id) }),
    valuesRecorded(id, values, time) {
      add(time, { case: "valuesRecorded", value: { id: BigInt(id), values: toValues(values) } });
    },
    newEvent(metadataId, parent, values, time) {
      const explicit = parent === undefined ? undefined : { parent: BigInt(parent) };
      add(time, { case: "newEvent", value: { metadataId: BigInt(metadataId), ...explicit, values: toValues(values) } });
    },
  });
  if (header === undefined) throw new Error("a batch begins with its header");
  return create(BatchSchema, {
    version: header.version,
    clock: CLOCKS[header.clock],
    baseTimeUnixNano: header.baseTimeUnixNano,
    sequence: BigInt(header.sequence),
    droppedEvents: BigInt(header.droppedEvents),
    events,
  });
}

function toValues({ keys, kinds, raws, size }: ValueColumns): MessageInitShape<typeof ValueSchema>[] {
  return Array.from({ length: size }, (_, i) => {
    const key = keys[i] as number | string;
    return {
      ...(typeof key === "number" ? { field: key } : { name: key.toWellFormed() }),
      value: toValue(kinds[i] as ValueKind, raws[i] as RawValue),
    };
  });
}

function toValue(kind: ValueKind, raw: RawValue): NonNullable<MessageInitShape<typeof ValueSchema>["value"]> {
  switch (kind) {
    case ValueKind.bool:
      return { case: "bool", value: raw as boolean };
    case ValueKind.int: {
      const value = BigInt(raw as bigint);
      return value >= -(2n ** 63n) && value < 2n ** 63n ? { case: "int", value } : { case: "int128", value: littleEndian(value) };
    }
    case ValueKind.uInt: {
      const value = BigInt(raw as bigint);
      return value < 2n ** 64n ? { case: "uInt", value } : { case: "uInt128", value: littleEndian(value) };
    }
    case ValueKind.float:
      return { case: "float", value: raw as number };
    case ValueKind.string:
      return { case: "string", value: (raw as string).toWellFormed() };
    case ValueKind.object:
      return { case: "object", value: (raw as string).toWellFormed() };
    case ValueKind.error: {
      const causes = [];
      let omitted = 0;
      for (let link: TracedError | null = raw as TracedError; link !== null; link = link.source) {
        causes.push({
          message: link.message.toWellFormed(),
          ...(link.type !== undefined && { type: link.type.toWellFormed() }),
          ...(link.stack !== undefined && { stack: link.stack.toWellFormed() }),
        });
        omitted = link.omitted ?? 0;
      }
      return { case: "error", value: { causes, omitted } };
    }
  }
}

function littleEndian(value: bigint): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: 16 }, (_, i) => Number(BigInt.asUintN(8, value >> BigInt(8 * i))));
}

/** The calls that a decoder has to make for this message. */
export function fromMessage(message: Batch): SinkCall[] {
  const clock = Object.entries(CLOCKS).find(([, number]) => number === message.clock)?.[0] ?? "none";
  const header = {
    version: message.version,
    clock: clock as keyof typeof CLOCKS,
    baseTimeUnixNano: message.baseTimeUnixNano,
    sequence: Number(message.sequence),
    droppedEvents: Number(message.droppedEvents),
  };
  const calls: SinkCall[] = [["batch", header]];
  let last = 0n;
  for (const { timeDeltaNano, kind } of message.events) {
    let time: EventTime;
    if (timeDeltaNano !== undefined) {
      last += timeDeltaNano;
      time = Number(last);
    }
    switch (kind.case) {
      case "newCallSite": {
        const { id, name, target, modulePath, file, line, fields } = kind.value;
        const data: CallSiteData = {
          kind: kind.value.kind === CallSiteKind.SPAN ? "span" : "event",
          name,
          target,
          level: LEVELS[kind.value.level - 1] as Level,
          ...(modulePath !== undefined && { module_path: modulePath }),
          ...(file !== undefined && { file }),
          ...(line !== undefined && { line }),
          fields,
        };
        calls.push(["newCallSite", canonicalInteger(id), data, time]);
        break;
      }
      case "newSpan": {
        const { id, parentId, metadataId, values } = kind.value;
        calls.push(["newSpan", canonicalInteger(id), optional(parentId), canonicalInteger(metadataId), fromValues(values), time]);
        break;
      }
      case "followsFrom":
        calls.push(["followsFrom", canonicalInteger(kind.value.id), canonicalInteger(kind.value.followsFrom), time]);
        break;
      case "spanEntered":
      case "spanExited":
      case "spanCloned":
      case "spanDropped":
        calls.push([kind.case, canonicalInteger(kind.value), time]);
        break;
      case "valuesRecorded":
        calls.push(["valuesRecorded", canonicalInteger(kind.value.id), fromValues(kind.value.values), time]);
        break;
      case "newEvent": {
        const { metadataId, parent, values } = kind.value;
        calls.push(["newEvent", canonicalInteger(metadataId), optional(parent), fromValues(values), time]);
      }
    }
  }
  return calls;
}

function optional(id: bigint | undefined): Id | undefined {
  return id === undefined ? undefined : canonicalInteger(id);
}

function fromValues(list: readonly Value[]): TracedValues {
  const values = new TracedValues();
  for (const { field, name, value } of list) {
    const key = name ?? field;
    switch (value.case) {
      case "bool":
        values.set(key, ValueKind.bool, value.value);
        break;
      case "int":
        values.set(key, ValueKind.int, canonicalInteger(value.value));
        break;
      case "uInt":
        values.set(key, ValueKind.uInt, canonicalInteger(value.value));
        break;
      case "float":
        values.set(key, ValueKind.float, value.value);
        break;
      case "string":
        values.set(key, ValueKind.string, value.value);
        break;
      case "object":
        values.set(key, ValueKind.object, value.value);
        break;
      case "error":
        values.set(key, ValueKind.error, fromCauses(value.value.causes, value.value.omitted));
        break;
      case "int128":
        values.set(key, ValueKind.int, canonicalInteger(BigInt.asIntN(128, fromLittleEndian(value.value))));
        break;
      case "uInt128":
        values.set(key, ValueKind.uInt, canonicalInteger(fromLittleEndian(value.value)));
        break;
      default:
        throw new Error("a value without a value");
    }
  }
  return values;
}

function fromCauses(causes: readonly Cause[], omitted: number): TracedError {
  let error: TracedError | null = null;
  for (const { message, type, stack } of causes.toReversed()) {
    error = {
      message,
      source: error,
      ...(type !== undefined && { type }),
      ...(stack !== undefined && { stack }),
      ...(error === null && omitted > 0 && { omitted }),
    };
  }
  return error as TracedError;
}

function fromLittleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}
