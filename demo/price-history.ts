import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseFixed } from './fixed-point.js';

/** A price as published: `text` is what enters the ledger, `value` the same in units of 10^-9 for the strategies. */
export interface Bar {
  /** The day, as in 2008-07-01, or the month, as in 2008-07. */
  readonly date: string;
  readonly text: string;
  readonly value: bigint;
}

/** The closing prices of one instrument, oldest first. */
export interface PriceHistory {
  readonly symbol: string;
  readonly interval: 'day' | 'month';
  readonly bars: readonly Bar[];
}

/**
 * Real prices from the npm package vega-datasets: the S&P 500 by day from 2000 to 2020 and five stocks by month from 2000
 * to 2010. Throws where the package is not installed (npm ci --omit=dev) or a file is not what this expects.
 */
export async function readPriceHistories(): Promise<PriceHistory[]> {
  const index = await readRows('sp500-2000.csv');
  const stocks = await readRows('stocks.csv');
  const symbols = [...new Set(stocks.map((row) => column(row, 'symbol')))];
  return [
    { symbol: '^GSPC', interval: 'day', bars: index.map((row) => bar(column(row, 'date'), column(row, 'close'))) },
    ...symbols.map((symbol): PriceHistory => {
      const rows = stocks.filter((row) => row.get('symbol') === symbol);
      const bars = rows.map((row) => bar(isoMonth(column(row, 'date')), column(row, 'price')));
      return { symbol, interval: 'month', bars };
    }),
  ];
}

/** Rows of a CSV file without quoted fields, as both of these are. */
async function readRows(file: string): Promise<ReadonlyMap<string, string>[]> {
  const path = fileURLToPath(new URL(`../data/${file}`, import.meta.resolve('vega-datasets')));
  const [header = '', ...lines] = (await readFile(path, 'utf8')).trim().split(/\r?\n/);
  const names = header.split(',');
  return lines.map((line) => {
    const fields = line.split(',');
    return new Map(names.map((name, place) => [name, fields[place] ?? '']));
  });
}

function column(row: ReadonlyMap<string, string>, name: string): string {
  const value = row.get(name);
  if (value === undefined || value === '') throw new Error(`the price history has a row without ${name}`);
  return value;
}

function bar(date: string, text: string): Bar {
  return { date, text, value: parseFixed(text) };
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** `Mar 1 2000` → `2000-03`: the day says nothing, for it is always the first. */
function isoMonth(text: string): string {
  const [month = '', , year = ''] = text.split(' ');
  const number = months.indexOf(month) + 1;
  if (number === 0 || year.length !== 4) throw new Error(`the price history has the date ${JSON.stringify(text)}`);
  return `${year}-${String(number).padStart(2, '0')}`;
}
