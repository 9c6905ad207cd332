/** What pages take for `node:util`: traces without colours. */
export const styleText = (_style: unknown, text: string): string => text;
export const stripVTControlCharacters = (text: string): string => text;
