/** What a ratio must not fall below, or must not exceed. */
export type Target = { readonly atLeast: number } | { readonly atMost: number };

/** One line of the table: what was measured, against which baseline, in one unit. */
export interface Comparison {
  readonly bench: string;
  readonly what: string;
  readonly baselineIs: string;
  /** Of both figures, as in `rows/s` or `ms`. */
  readonly unit: string;
  /** Median over the rounds. */
  readonly ours: number;
  readonly baseline: number;
  /** Median of the rounds' own ratios ours ÷ baseline, and the lowest and highest of them. */
  readonly ratio: number;
  readonly ratioMin: number;
  readonly ratioMax: number;
  readonly rounds: number;
  /** Null for a line that only informs. */
  readonly target: Target | null;
  /** What stands below the table, as in a query's plan. */
  readonly details?: string;
}

/** What a bench is given. */
export interface BenchContext {
  /** Says on standard error how far the bench is, `share` from 0 to 1. */
  readonly progress: (share: number, doing: string) => void;
  /** Aborted when the run is to end: the bench throws its reason and leaves nothing behind. */
  readonly signal: AbortSignal;
  /** Whether lines about queries are to come with their plans, in `details`. */
  readonly plans: boolean;
  /** Entries of the larger log where a bench compares two sizes. */
  readonly entriesOfLarge: number;
}

/** Measures ours against its baseline on a server of its own, which is gone when the promise settles. */
export type Bench = (context: BenchContext) => Promise<readonly Comparison[]>;

/** Null where the comparison has no target. */
export function meetsTarget({ ratio, target }: Comparison): boolean | null {
  if (target === null) return null;
  return 'atLeast' in target ? ratio >= target.atLeast : ratio <= target.atMost;
}
