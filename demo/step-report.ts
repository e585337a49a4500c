import Table from 'cli-table3';
import { SingleBar } from 'cli-progress';

/** Between plain progress lines, where no terminal can redraw one, in milliseconds. */
const plainIntervalMs = 1_000;

interface Row {
  readonly step: string;
  readonly result: string;
  readonly durationMs: number;
}

/** Tells on `output` what the demo is doing, and collects what it did for the table at the end. */
export class StepReport {
  readonly #rows: Row[] = [];

  constructor(private readonly output: NodeJS.WriteStream) {}

  /** Runs one step; `resultOf` words its outcome for the table. A step that throws ends the demo. */
  async run<Value>(step: string, work: () => Promise<Value>, resultOf: (value: Value) => string): Promise<Value> {
    this.output.write(`${step} …\n`);
    const startedMs = performance.now();
    const value = await work();
    const durationMs = performance.now() - startedMs;
    const result = resultOf(value);
    this.output.write(`  ${result}\n`);
    this.#rows.push({ step, result, durationMs });
    return value;
  }

  /** Tells something beside the steps. */
  note(text: string): void {
    this.output.write(`  ${text}\n`);
  }

  /** A step that this run leaves out, and why. */
  skip(step: string, reason: string): void {
    this.output.write(`${step}: left out, ${reason}\n`);
    this.#rows.push({ step, result: `left out: ${reason}`, durationMs: 0 });
  }

  /** Runs work of known length: a bar on a terminal, else a line each second. */
  async progress<Value>(total: number, unit: string, work: (onDone: (done: number) => void) => Promise<Value>) {
    const startedMs = performance.now();
    const rateOf = (done: number) => Math.round(done / Math.max((performance.now() - startedMs) / 1000, 0.001));
    if (!this.output.isTTY) return work(this.#plainLines(total, unit, rateOf));
    const format = `  [{bar}] {value}/{total} ${unit}, {rate}/s, {eta_formatted} left`;
    const bar = new SingleBar({ format, stream: this.output, hideCursor: true });
    bar.start(total, 0, { rate: 0 });
    try {
      return await work((done) => bar.update(done, { rate: rateOf(done) }));
    } finally {
      bar.stop();
    }
  }

  #plainLines(total: number, unit: string, rateOf: (done: number) => number): (done: number) => void {
    let writtenMs = performance.now();
    return (done) => {
      if (performance.now() - writtenMs < plainIntervalMs) return;
      writtenMs = performance.now();
      this.output.write(`  ${done} of ${total} ${unit}, ${rateOf(done)}/s\n`);
    };
  }

  /** Every step with its result and duration. */
  table(): string {
    const table = new Table({
      head: ['step', 'result', 'ms'],
      colAligns: ['left', 'left', 'right'],
      style: { head: [], border: [] },
    });
    for (const { step, result, durationMs } of this.#rows) table.push([step, result, Math.round(durationMs)]);
    return table.toString();
  }
}
