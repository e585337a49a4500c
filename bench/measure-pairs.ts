import type { BenchContext, Comparison } from './comparison.js';

/** Does one round's work and returns what it measured. */
export type Measure = () => Promise<number>;

export interface PairOptions extends Pick<BenchContext, 'progress' | 'signal'> {
  /** Pairs that count. */
  readonly rounds: number;
  /** Pairs before them that fill caches and let the compiler see the code. */
  readonly warmUpRounds: number;
  /** One measurement per line: those that share a baseline are taken beside it in every round. */
  readonly measure: Readonly<Record<string, Measure>>;
  /** What the progress says. */
  readonly doing: string;
}

/** Figures by name, one per round; places belong together. */
export type Samples = Readonly<Record<string, readonly number[]>>;

/**
 * Takes every measurement once a round, one after the other, so that what disturbs the machine for longer than a moment
 * disturbs all of them. The order turns around each round: none always follows the same other one.
 */
export async function measureInTurns(options: PairOptions): Promise<Samples> {
  const names = Object.keys(options.measure);
  const samples = Object.fromEntries(names.map((name) => [name, [] as number[]]));
  const rounds = options.warmUpRounds + options.rounds;
  for (let round = 0; round < rounds; round += 1) {
    options.signal.throwIfAborted();
    options.progress(round / rounds, options.doing);
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const figure = await options.measure[name]?.();
      if (round >= options.warmUpRounds && figure !== undefined) samples[name]?.push(figure);
    }
  }
  return samples;
}

/** The line that compares two measurements of the same rounds. */
export function compare(
  samples: Samples,
  ours: string,
  baseline: string,
  line: Pick<Comparison, 'bench' | 'what' | 'baselineIs' | 'unit' | 'target'>,
): Comparison {
  const ourFigures = samples[ours] ?? [];
  const baselineFigures = samples[baseline] ?? [];
  const ratios = ourFigures.map((figure, round) => figure / (baselineFigures[round] ?? NaN));
  return {
    ...line,
    ours: median(ourFigures),
    baseline: median(baselineFigures),
    ratio: median(ratios),
    ratioMin: Math.min(...ratios),
    ratioMax: Math.max(...ratios),
    rounds: ratios.length,
  };
}

export function median(figures: readonly number[]): number {
  const sorted = figures.toSorted((left, right) => left - right);
  const middle = sorted.length / 2;
  if (sorted.length === 0) return NaN;
  return sorted.length % 2 === 1
    ? (sorted[Math.floor(middle)] ?? NaN)
    : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
}
