import { DecimalSum, multiplyDecimals } from './decimal-sum.js';
import { hashLeaf } from './hash-entry.js';

/**
 * What an evidence pack derives from the bodies of a day's entries: rows of its CSV files, its significant events and its
 * control totals. A pack is built with this and checked with this, so that the readable files cannot say anything that the
 * proven entries do not (docs/packs.md).
 */

/** Files derived from entries, with the columns of those that have some. */
export const derivedColumns = {
  'orders.csv': [
    'index',
    'id',
    'recorded_at',
    'occurred_at',
    'event',
    'order_id',
    'deal_id',
    'signal_id',
    'symbol',
    'side',
    'order_type',
    'quantity',
    'price',
    'stop_loss',
    'target_price',
    'old_value',
    'new_value',
    'message',
    'actor',
    'verification_hash',
  ],
  'fills.csv': [
    'index',
    'id',
    'recorded_at',
    'occurred_at',
    'event',
    'order_id',
    'deal_id',
    'signal_id',
    'symbol',
    'side',
    'quantity',
    'price',
    'notional',
    'fee',
    'remaining_quantity',
    'actor',
    'verification_hash',
  ],
  'alerts.jsonl': null,
  'signals.csv': [
    'index',
    'id',
    'recorded_at',
    'generated_at',
    'symbol',
    'action',
    'entry_price',
    'target_price',
    'stop_loss',
    'confidence',
    'strategy',
    'rationale',
    'rationale_origin',
    'supersedes',
    'producer',
    'verification_hash',
  ],
} as const;

export type DerivedFile = keyof typeof derivedColumns;
export const derivedFiles = Object.keys(derivedColumns) as DerivedFile[];

/** One line of a derived file, with its line break. */
export interface DerivedLine {
  readonly file: DerivedFile;
  readonly line: string;
}

/** Events that count as significant whatever their outcome. */
const significantEvents: ReadonlySet<string> = new Set([
  'Rejected',
  'ModificationRefused',
  'ModificationNumbersSkipped',
  'AnchorFailed',
  'IncidentOpened',
  'IncidentAcknowledged',
  'IncidentClosed',
  'IntegrityBaselineSet',
  'ApiKeyCreated',
  'ApiKeyRevoked',
  'BotStarted',
  'BotStopped',
]);
const significantCategories: ReadonlySet<string> = new Set(['ALERT', 'CONFIG', 'SECRET', 'BACKUP']);
/** Outcomes of calls that were refused for who made them. */
const refusedOutcomes: ReadonlySet<string> = new Set(['UNAUTHENTICATED', 'FORBIDDEN']);

type Members = Readonly<Record<string, unknown>>;

/** The control totals of a pack; decimals are exact. */
export interface PackTotals {
  readonly orders_accepted: number;
  readonly orders_rejected: number;
  readonly stops_updated: number;
  readonly orders_quantity: string;
  readonly fills: number;
  readonly fills_quantity: string;
  readonly fills_notional: string;
  readonly fees: string;
  readonly alerts: number;
  readonly signals: number;
  readonly signals_buy: number;
  readonly signals_sell: number;
  readonly signals_hold: number;
  /** Number of redactions by rule. */
  readonly redactions: Readonly<Record<string, number>>;
}

/** The first line of a derived file, empty where it has none. */
export function headerOf(file: DerivedFile): string {
  const columns = derivedColumns[file];
  return columns === null ? '' : encodeCsvLine(columns);
}

/** RFC 4180: fields with a comma, quote or line break are quoted, lines end in CR LF. Absent values are empty fields. */
export function encodeCsvLine(fields: readonly string[]): string {
  return `${fields.map((field) => (/[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field)).join(',')}\r\n`;
}

/** Takes the bodies of a day in the order of the logs and keeps their totals. Owned by one build or one check. */
export class PackContents {
  readonly #counts = {
    orders_accepted: 0,
    orders_rejected: 0,
    stops_updated: 0,
    fills: 0,
    alerts: 0,
    signals: 0,
    signals_buy: 0,
    signals_sell: 0,
    signals_hold: 0,
  };
  readonly #ordersQuantity = new DecimalSum();
  readonly #fillsQuantity = new DecimalSum();
  readonly #fillsNotional = new DecimalSum();
  readonly #fees = new DecimalSum();
  readonly #redactions = new Map<string, number>();

  get totals(): PackTotals {
    return {
      ...this.#counts,
      orders_quantity: this.#ordersQuantity.toString(),
      fills_quantity: this.#fillsQuantity.toString(),
      fills_notional: this.#fillsNotional.toString(),
      fees: this.#fees.toString(),
      redactions: Object.fromEntries([...this.#redactions].sort(([left], [right]) => (left < right ? -1 : 1))),
    };
  }

  /** The lines that one audit entry gives. Throws SyntaxError for a body that is no JSON object. */
  takeAudit(index: number, body: string): DerivedLine[] {
    const entry = parseObject(body);
    const details = isObject(entry['details']) ? entry['details'] : {};
    this.#countRedactions(details['redacted']);
    const lines: DerivedLine[] = [];
    if (entry['category'] === 'ORDER') lines.push(this.#order(index, body, entry, details));
    if (entry['category'] === 'FILL') lines.push(this.#fill(index, body, entry, details));
    if (isSignificant(entry)) {
      this.#counts.alerts += 1;
      lines.push({ file: 'alerts.jsonl', line: `${JSON.stringify(describeAlert(index, entry, details))}\n` });
    }
    return lines;
  }

  /** The lines that one signal gives. Throws as takeAudit. */
  takeSignal(index: number, body: string): DerivedLine[] {
    const signal = parseObject(body);
    this.#counts.signals += 1;
    if (signal['action'] === 'BUY') this.#counts.signals_buy += 1;
    if (signal['action'] === 'SELL') this.#counts.signals_sell += 1;
    if (signal['action'] === 'HOLD') this.#counts.signals_hold += 1;
    const fields = [
      String(index),
      ...texts(signal, [
        'signalId',
        'serverTimestamp',
        'generatedAt',
        'symbol',
        'action',
        'entryPrice',
        'targetPrice',
        'stopLoss',
        'confidence',
        'strategy',
        'rationale',
        'rationaleOrigin',
        'supersedes',
        'producer',
      ]),
      hashLeaf(body),
    ];
    return [{ file: 'signals.csv', line: encodeCsvLine(fields) }];
  }

  #order(index: number, body: string, entry: Members, details: Members): DerivedLine {
    if (entry['event'] === 'OrderAccepted') {
      this.#counts.orders_accepted += 1;
      this.#ordersQuantity.add(decimalIn(details, 'quantity') ?? '0');
    } else if (entry['event'] === 'Rejected') this.#counts.orders_rejected += 1;
    else if (entry['event'] === 'StopUpdated') this.#counts.stops_updated += 1;
    const fields = [
      ...beginningOf(index, entry),
      ...texts(details, ['orderId', 'dealId']),
      ...texts(entry, ['signalId']),
      ...texts(details, [
        'symbol',
        'side',
        'orderType',
        'quantity',
        'price',
        'stopLoss',
        'targetPrice',
        'oldValue',
        'newValue',
        'message',
      ]),
      ...texts(entry, ['actor']),
      hashLeaf(body),
    ];
    return { file: 'orders.csv', line: encodeCsvLine(fields) };
  }

  #fill(index: number, body: string, entry: Members, details: Members): DerivedLine {
    const [quantity, price, fee] = [
      decimalIn(details, 'quantity'),
      decimalIn(details, 'price'),
      decimalIn(details, 'fee'),
    ];
    const notional = quantity === null || price === null ? null : multiplyDecimals(quantity, price);
    this.#counts.fills += 1;
    this.#fillsQuantity.add(quantity ?? '0');
    this.#fillsNotional.add(notional ?? '0');
    this.#fees.add(fee ?? '0');
    const fields = [
      ...beginningOf(index, entry),
      ...texts(details, ['orderId', 'dealId']),
      ...texts(entry, ['signalId']),
      ...texts(details, ['symbol', 'side', 'quantity', 'price']),
      notional ?? '',
      ...texts(details, ['fee', 'remainingQuantity']),
      ...texts(entry, ['actor']),
      hashLeaf(body),
    ];
    return { file: 'fills.csv', line: encodeCsvLine(fields) };
  }

  #countRedactions(redacted: unknown): void {
    if (!Array.isArray(redacted)) return;
    for (const rule of redacted) {
      const name = String(rule).split(' ', 1)[0] ?? '';
      this.#redactions.set(name, (this.#redactions.get(name) ?? 0) + 1);
    }
  }
}

function isSignificant(entry: Members): boolean {
  const { category, event, outcome } = entry as { category?: string; event?: string; outcome?: string };
  return (
    significantCategories.has(category ?? '') ||
    significantEvents.has(event ?? '') ||
    (category === 'AUTH' && outcome !== 'OK') ||
    (category === 'INTEGRITY' && outcome !== 'OK') ||
    (category === 'API' && refusedOutcomes.has(outcome ?? ''))
  );
}

function describeAlert(index: number, entry: Members, details: Members): object {
  return {
    action: entry['action'],
    actor: entry['actor'],
    category: String(entry['category']).toLowerCase(),
    details,
    event: entry['event'],
    id: entry['id'],
    index,
    iso_ts: entry['recordedAt'],
    outcome: entry['outcome'],
    resource: entry['resource'],
    signal_id: entry['signalId'],
  };
}

function beginningOf(index: number, entry: Members): string[] {
  return [String(index), ...texts(entry, ['id', 'recordedAt', 'occurredAt', 'event'])];
}

function texts(members: Members, names: readonly string[]): string[] {
  return names.map((name) => textOf(members[name]));
}

function textOf(value: unknown): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** A plain SQL insert may hold anything there: what is no decimal does not count. */
function decimalIn(members: Members, name: string): string | null {
  const value = members[name];
  return typeof value === 'string' && /^-?\d{1,40}(\.\d{1,18})?$/.test(value) ? value : null;
}

function parseObject(body: string): Members {
  const value: unknown = JSON.parse(body);
  if (!isObject(value)) throw new SyntaxError('a body is a JSON object');
  return value;
}

function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
