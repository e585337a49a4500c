import Table from 'cli-table3';
import { meetsTarget, type Comparison } from './comparison.js';

/** The comparisons as a table for people: ratio first, absolute figures beside it. */
export function formatTable(comparisons: readonly Comparison[]): string {
  const table = new Table({
    head: ['bench', 'what', 'ours', 'baseline', 'ratio', 'lowest–highest', 'target', 'met?'],
    style: { head: [], border: [] },
    colAligns: ['left', 'left', 'right', 'right', 'right', 'right', 'right', 'left'],
  });
  for (const line of comparisons) {
    const met = meetsTarget(line);
    table.push([
      line.bench,
      `${line.what}\n  against ${line.baselineIs}`,
      `${formatFigure(line.ours)} ${line.unit}`,
      `${formatFigure(line.baseline)} ${line.unit}`,
      formatRatio(line.ratio),
      `${formatRatio(line.ratioMin)}–${formatRatio(line.ratioMax)}`,
      formatTarget(line.target),
      met === null ? '' : met ? 'yes' : 'NO',
    ]);
  }
  return table.toString();
}

function formatTarget(target: Comparison['target']): string {
  if (target === null) return '';
  return 'atLeast' in target ? `≥ ${target.atLeast}` : `≤ ${target.atMost}`;
}

function formatRatio(ratio: number): string {
  return ratio.toFixed(ratio >= 10 ? 1 : 2);
}

function formatFigure(figure: number): string {
  return figure.toLocaleString('en', { maximumFractionDigits: figure >= 100 ? 0 : figure >= 10 ? 1 : 3 });
}
