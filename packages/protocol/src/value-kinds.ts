import type { ValueKind } from "./values.ts";

// Of `ValueKind`, those that the protobuf encoder names: bundlers put their values in their place and leave the object out.
export const BOOL: typeof ValueKind.bool = 1;
export const INT: typeof ValueKind.int = 2;
export const U_INT: typeof ValueKind.uInt = 3;
export const FLOAT: typeof ValueKind.float = 4;
export const STRING: typeof ValueKind.string = 5;
export const ERROR: typeof ValueKind.error = 7;
