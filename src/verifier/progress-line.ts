import type { LayoutProgress } from './verify-layout.js';

/** Between lines, or between redraws on a terminal. */
const plainIntervalMs = 2_000;
const redrawIntervalMs = 100;

/** Shows how far long work is: one line that is redrawn on a terminal, else a line every two seconds. */
export class ProgressLine {
  readonly #startedMs = performance.now();
  #writtenMs = this.#startedMs;
  #isDrawn = false;

  constructor(private readonly output: NodeJS.WriteStream) {}

  update({ checked, total }: LayoutProgress): void {
    const rate = Math.round((checked / (performance.now() - this.#startedMs)) * 1000);
    this.show(`${checked} of ${total} entries checked, ${rate}/s`);
  }

  show(line: string): void {
    const nowMs = performance.now();
    if (nowMs - this.#writtenMs < (this.output.isTTY ? redrawIntervalMs : plainIntervalMs)) return;
    this.#writtenMs = nowMs;
    // Carriage return, then erase to the end of the line.
    this.output.write(this.output.isTTY ? `\r${line}\u001b[K` : `${line}\n`);
    this.#isDrawn = this.output.isTTY;
  }

  /** Clears the redrawn line. */
  stop(): void {
    if (this.#isDrawn) this.output.write('\r\u001b[K');
    this.#isDrawn = false;
  }
}
