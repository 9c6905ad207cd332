import type { ValueKind } from "./values.ts";

// One by one, for senders and encoders of guests: bundlers put the numbers in their place, and leave `ValueKind` out.

/** `ValueKind.bool`. */
export const BOOL: typeof ValueKind.bool = 1;
/** `ValueKind.int`. */
export const INT: typeof ValueKind.int = 2;
/** `ValueKind.uInt`. */
export const U_INT: typeof ValueKind.uInt = 3;
/** `ValueKind.float`. */
export const FLOAT: typeof ValueKind.float = 4;
/** `ValueKind.string`. */
export const STRING: typeof ValueKind.string = 5;
/** `ValueKind.object`. */
export const OBJECT: typeof ValueKind.object = 6;
/** `ValueKind.error`. */
export const ERROR: typeof ValueKind.error = 7;
