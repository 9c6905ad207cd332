import { maxReadValues } from "../codec.ts";
import { type ErrorLink, MAX_ERROR_NESTING, nestErrors } from "../error-chain.ts";
import { DecodeError } from "../errors.ts";
import type { CallSiteData, CallSiteKind, Level, TracedError } from "../event.ts";
import { LevelNumber } from "../level.ts";
import type { Limits } from "../limits.ts";
import { type RawValue, type TracedValues, ValueKind } from "../values.ts";
import { Key, keySet } from "./keys.ts";
import type { JsonScanner } from "./scanner.ts";

/** Members of a call site's data; what stands in an event beside them is not its business. */
export const CALL_SITE_KEYS: number = keySet(
  Key.kind,
  Key.name,
  Key.target,
  Key.level,
  Key.module_path,
  Key.file,
  Key.line,
  Key.fields,
);
/** Those that must be there. */
export const CALL_SITE_REQUIRED: number = keySet(Key.kind, Key.name, Key.target, Key.level, Key.fields);

const ERROR_KEYS = keySet(Key.message, Key.source, Key.type, Key.stack, Key.omitted);
const ERROR_REQUIRED = keySet(Key.message);

/** A call site's data while its members come in. */
export class CallSiteDraft {
  #kind: CallSiteKind = "span";
  #name = "";
  #target = "";
  #level: Level = "error";
  #modulePath: string | undefined;
  #file: string | undefined;
  #line: number | undefined;
  #fields: string[] = [];

  /** Forget what came in. */
  clear(): void {
    this.#name = "";
    this.#target = "";
    this.#modulePath = undefined;
    this.#file = undefined;
    this.#line = undefined;
    this.#fields = [];
  }

  /** Read the value of `key`, one of `CALL_SITE_KEYS`. */
  read(key: Key, scanner: JsonScanner, limits: Limits): void {
    switch (key) {
      case Key.kind:
        this.#kind = readKind(scanner);
        break;
      case Key.name:
        this.#name = scanner.text();
        break;
      case Key.target:
        this.#target = scanner.text();
        break;
      case Key.level:
        this.#level = readLevel(scanner);
        break;
      case Key.module_path:
        this.#modulePath = readOptionalText(scanner);
        break;
      case Key.file:
        this.#file = readOptionalText(scanner);
        break;
      case Key.line:
        this.#line = scanner.tryNull() ? undefined : scanner.u32();
        break;
      case Key.fields:
        this.#fields = readFields(scanner, limits);
    }
  }

  /** The data, once all that is required has come in. */
  finish(): CallSiteData {
    return {
      kind: this.#kind,
      name: this.#name,
      target: this.#target,
      level: this.#level,
      ...(this.#modulePath !== undefined && { module_path: this.#modulePath }),
      ...(this.#file !== undefined && { file: this.#file }),
      ...(this.#line !== undefined && { line: this.#line }),
      fields: this.#fields,
    };
  }
}

function readKind(scanner: JsonScanner): CallSiteKind {
  const at = scanner.offset;
  const kind = scanner.variant("kind");
  if (kind !== "span" && kind !== "event") scanner.fail("kind is neither span nor event", at);
  return kind as CallSiteKind;
}

function readLevel(scanner: JsonScanner): Level {
  const at = scanner.offset;
  const level = scanner.variant("level");
  if (level === "off" || !Object.hasOwn(LevelNumber, level)) scanner.fail("unknown level", at);
  return level as Level;
}

function readOptionalText(scanner: JsonScanner): string | undefined {
  return scanner.tryNull() ? undefined : scanner.text();
}

function readFields(scanner: JsonScanner, limits: Limits): string[] {
  const fields: string[] = [];
  scanner.openList("fields");
  while (scanner.moreItems()) {
    if (fields.length === limits.maxFieldsPerCallSite) scanner.exceed("maxFieldsPerCallSite", fields.length + 1);
    fields.push(scanner.text());
  }
  return fields;
}

/** A map of values; names that come again keep their first place and take their last value. */
export function readValues(scanner: JsonScanner, limits: Limits, values: TracedValues): void {
  const max = maxReadValues(limits);
  values.clear();
  scanner.open("values");
  while (scanner.more()) {
    if (values.size >= max) scanner.exceed("maxValuesPerRecord", values.size);
    const name = scanner.name();
    let kind: ValueKind;
    let raw: RawValue;
    scanner.open("a value");
    if (!scanner.more()) scanner.fail("a value without type");
    const at = scanner.offset;
    switch (scanner.key()) {
      case Key.bool:
        kind = ValueKind.bool;
        raw = scanner.boolean();
        break;
      case Key.int:
        kind = ValueKind.int;
        raw = scanner.i128();
        break;
      case Key.u_int:
        kind = ValueKind.uInt;
        raw = scanner.u128();
        break;
      case Key.float:
        kind = ValueKind.float;
        raw = scanner.float();
        break;
      case Key.string:
        kind = ValueKind.string;
        raw = scanner.text();
        break;
      case Key.object:
        kind = ValueKind.object;
        raw = scanner.text();
        break;
      case Key.error:
        kind = ValueKind.error;
        raw = readError(scanner, limits);
        break;
      default:
        scanner.fail("unknown type of value", at);
    }
    if (scanner.more()) scanner.fail("a value of two types");
    values.set(name, kind, raw);
  }
}

interface ErrorDraft {
  readonly links: ErrorLink[];
  /** What the last link says. */
  omitted: number;
}

function readError(scanner: JsonScanner, limits: Limits): TracedError {
  const draft: ErrorDraft = { links: [], omitted: 0 };
  readErrorLink(scanner, draft, 0);
  const { links } = draft;
  const cut = Math.max(links.length - limits.maxErrorDepth, 0);
  return nestErrors(links.slice(0, links.length - cut), draft.omitted + cut);
}

/** `source` may stand before `message`, so the link at `depth` is put in its place when it is complete. */
function readErrorLink(scanner: JsonScanner, draft: ErrorDraft, depth: number): void {
  if (depth === MAX_ERROR_NESTING) {
    throw new DecodeError("limit_exceeded", `a chain of more than ${MAX_ERROR_NESTING} errors`, scanner.offset);
  }
  let message = "";
  let type: string | undefined;
  let stack: string | undefined;
  let omitted = 0;
  let isLast = true;
  let seen = 0;
  scanner.open("an error");
  for (;;) {
    const key = scanner.member(ERROR_KEYS, seen);
    if (key === Key.unknown) break;
    seen |= 1 << key;
    switch (key) {
      case Key.message:
        message = scanner.text();
        break;
      case Key.source:
        if (!scanner.tryNull()) {
          isLast = false;
          readErrorLink(scanner, draft, depth + 1);
        }
        break;
      case Key.type:
        type = readOptionalText(scanner);
        break;
      case Key.stack:
        stack = readOptionalText(scanner);
        break;
      case Key.omitted:
        omitted = scanner.tryNull() ? 0 : scanner.u32();
    }
  }
  scanner.require(ERROR_REQUIRED, seen);
  draft.links[depth] = { message, type, stack };
  if (isLast) draft.omitted = omitted;
}
