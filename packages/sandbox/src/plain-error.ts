/** An error as data, because not every browser clones errors with all that is in them. */
export interface PlainError {
  readonly name: string;
  readonly message: string;
  readonly stack: string;
  readonly cause?: PlainError;
}

const MAX_CAUSES = 16;
/** UTF-16 units. */
const MAX_TEXT = 20_000;
const UNREADABLE = "something that cannot be read";

/** What was thrown, with its causes. Never throws itself. */
export function toPlainError(thrown: unknown, depth: number = MAX_CAUSES): PlainError {
  try {
    // What comes from another realm is no `Error` of this one.
    const { name, message, stack, cause } = Object(thrown) as Partial<Error>;
    if (message === undefined) return { name: "Error", message: text(thrown), stack: "" };
    return {
      name: text(name ?? "Error"),
      message: text(message),
      stack: text(stack ?? ""),
      ...(cause !== undefined && cause !== null && depth > 1 && { cause: toPlainError(cause, depth - 1) }),
    };
  } catch {
    return { name: "Error", message: UNREADABLE, stack: "" };
  }
}

/** What a guest says was thrown, whatever that is, as an error. */
export function fromPlainError(plain: unknown, depth: number = MAX_CAUSES): Error {
  const { name, message, stack, cause } = Object(plain) as { readonly [key in keyof PlainError]?: unknown };
  const error = new Error(
    typeof message === "string" ? text(message) : UNREADABLE,
    cause !== undefined && depth > 1 ? { cause: fromPlainError(cause, depth - 1) } : undefined,
  );
  error.name = typeof name === "string" ? text(name) : "Error";
  error.stack = typeof stack === "string" && stack !== "" ? text(stack) : `${error.name}: ${error.message}`;
  return error;
}

function text(value: unknown): string {
  return String(value).slice(0, MAX_TEXT);
}
