/** A column of a table. */
export interface Column<Row> {
  readonly title: string;
  /** Least width; the widest value of the first rows may be more. */
  readonly width?: number;
  readonly align?: "right";
  readonly value: (row: Row) => string;
}

/** Rows as text, made as they come: widths are those of the first `sample` rows, later values may be wider than their column. */
export class Table<Row> {
  readonly #columns: readonly Column<Row>[];
  readonly #print: (line: string) => void;
  readonly #sample: number;
  #waiting: string[][] | undefined = [];
  #widths: readonly number[] = [];

  constructor(columns: readonly Column<Row>[], print: (line: string) => void, sample = 100) {
    this.#columns = columns;
    this.#print = print;
    this.#sample = sample;
  }

  add(row: Row): void {
    const cells = this.#columns.map(({ value }) => printable(value(row)));
    if (this.#waiting === undefined) return this.#line(cells);
    this.#waiting.push(cells);
    if (this.#waiting.length === this.#sample) this.end();
  }

  /** No more rows, or time to print what there is. */
  end(): void {
    const waiting = this.#waiting;
    if (waiting === undefined || waiting.length === 0) return;
    this.#waiting = undefined;
    this.#widths = this.#columns.map(({ title, width = 0 }, at) =>
      Math.max(title.length, width, ...waiting.map((cells) => cells[at]?.length ?? 0)),
    );
    this.#line(this.#columns.map(({ title }) => title));
    for (const cells of waiting) this.#line(cells);
  }

  #line(cells: readonly string[]): void {
    const padded = cells.map((cell, at) => {
      const width = this.#widths[at] ?? 0;
      return this.#columns[at]?.align === "right" ? cell.padStart(width) : cell.padEnd(width);
    });
    this.#print(padded.join("  ").trimEnd());
  }
}

/** Text from a store, which guests and strangers have a hand in, on one line and without what a terminal would obey. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu,
    (char) => `\\u{${(char.codePointAt(0) as number).toString(16)}}`,
  );
}
