import cliProgress from 'cli-progress';
import type { BenchContext } from './comparison.js';

/** Shows on standard error how far one bench is; disposing it clears the line. */
export function showProgress(bench: string): Pick<BenchContext, 'progress'> & Disposable {
  const bar = new cliProgress.SingleBar({
    format: `${bench} {bar} {percentage}% {doing}`,
    stream: process.stderr,
    noTTYOutput: false,
    clearOnComplete: true,
    hideCursor: true,
  });
  bar.start(100, 0, { doing: 'starting its server' });
  return {
    progress: (share, doing) => bar.update(Math.round(share * 100), { doing }),
    [Symbol.dispose]: () => bar.stop(),
  };
}
