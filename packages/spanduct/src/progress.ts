const WIDTH = 30;
const INTERVAL_MS = 100;

/** Where progress is shown: `process.stderr`. */
export interface Terminal {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** A bar on a terminal; nothing anywhere else, so that output that is kept stays clean. */
export class Progress {
  readonly #terminal: Terminal;
  readonly #what: string;
  readonly #total: number | undefined;
  readonly #nowMs: () => number;
  #shownMs = Number.NEGATIVE_INFINITY;

  /** @param total `undefined`: it is not known, and only what is done is shown */
  constructor(terminal: Terminal, what: string, total: number | undefined, nowMs: () => number = () => performance.now()) {
    this.#terminal = terminal;
    this.#what = what;
    this.#total = total;
    this.#nowMs = nowMs;
  }

  /** So much is done; shown ten times a second at most. */
  at(done: number): void {
    const now = this.#nowMs();
    if (this.#terminal.isTTY !== true || now - this.#shownMs < INTERVAL_MS) return;
    this.#shownMs = now;
    this.#terminal.write(`\r\u001b[K${this.#line(done)}`);
  }

  /** Take it away. */
  end(): void {
    if (this.#terminal.isTTY === true) this.#terminal.write("\r\u001b[K");
  }

  #line(done: number): string {
    if (this.#total === undefined || this.#total === 0) return `${done} ${this.#what}`;
    const part = Math.min(done / this.#total, 1);
    const filled = Math.round(part * WIDTH);
    return `${"█".repeat(filled)}${"░".repeat(WIDTH - filled)} ${Math.round(part * 100)} % ${done}/${this.#total} ${this.#what}`;
  }
}
