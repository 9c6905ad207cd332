/** A text that a guest chose, on one line and without what a terminal would obey. */
export function printable(value: unknown): string {
  return String(value).replace(/[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu, (char) =>
    char === "\n" ? "\\n" : `\\u{${char.charCodeAt(0).toString(16)}}`,
  );
}
