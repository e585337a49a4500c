import type { AuditRow } from '../ledger/rows.js';
import {
  addressOf,
  detailsOf,
  digestOf,
  millisecondsOf,
  severityOf,
  shortCharactersMax,
  shortened,
  summaryOf,
  textOf,
  userOf,
  type Severity,
} from './entry-facts.js';

/** What goes out tells which program wrote it. */
export interface Product {
  readonly name: string;
  readonly version: string;
}

/** CEF counts from 0 to 10: to 3 low, to 6 medium, to 8 high. */
const severities: Readonly<Record<Severity, number>> = { info: 1, low: 3, medium: 5, high: 8, critical: 10 };
/** Characters of an event's name that receivers take. */
const nameCharactersMax = 200;
/** Characters of a custom string (cs1 to cs6) that receivers take. */
const customCharactersMax = 4_000;

/**
 * An audit entry in the Common Event Format, version 0. A message of more than `bytesMax` bytes has the size and hash of its
 * details in their place, and its texts shortened.
 */
export function encodeCef(row: AuditRow, product: Product, bytesMax: number): string {
  const whole = cefOf(row, product, Infinity);
  return Buffer.byteLength(whole) <= bytesMax ? whole : cefOf(row, product, shortCharactersMax);
}

function cefOf(row: AuditRow, product: Product, charactersMax: number): string {
  const details = detailsOf(row);
  const cut = (text: string | null | undefined) =>
    text === null || text === undefined ? undefined : shortened(text, charactersMax);
  const fits = charactersMax === Infinity && row.details.length <= customCharactersMax;
  const address = addressOf(row, details);
  const isVersion6 = address?.includes(':') === true;
  const extension: readonly (readonly [string, string | undefined])[] = [
    ['rt', String(millisecondsOf(row.recordedAt))],
    ['start', String(millisecondsOf(row.occurredAt))],
    ['cat', row.category],
    ['act', row.action ?? undefined],
    ['outcome', row.outcome],
    ['suser', cut(userOf(row, details))],
    ['spriv', row.role ?? undefined],
    ['src', isVersion6 ? undefined : address],
    ['requestMethod', cut(textOf(details.method))],
    ['requestClientApplication', cut(row.userAgent)],
    ['externalId', row.id],
    ...labelled('cn1', 'index', row.chainIndex),
    ...labelled('c6a2', 'Source IPv6 Address', isVersion6 ? address : undefined),
    ...labelled('cs1', 'hash', row.verificationHash),
    ...labelled('cs2', 'sessionId', cut(row.sessionId)),
    ...labelled('cs3', 'requestId', cut(row.requestId)),
    ...labelled('cs4', 'signalId', row.signalId ?? undefined),
    ...labelled('cs5', 'resource', cut(row.resource)),
    ...labelled('cs6', 'details', fits ? row.details : JSON.stringify(digestOf(row.details))),
  ];
  const summary = shortened(summaryOf(row), nameCharactersMax);
  const header = ['Daybook', product.name, product.version, row.event, summary].map(escapeHeader).join('|');
  let text = '';
  for (const [key, value] of extension) if (value !== undefined) text += ` ${key}=${escapeExtension(value)}`;
  return `CEF:0|${header}|${severities[severityOf(row, details)]}|${text.slice(1)}`;
}

function labelled(key: string, label: string, value: string | undefined): readonly (readonly [string, string])[] {
  return value === undefined
    ? []
    : [
        [key, value],
        [`${key}Label`, label],
      ];
}

/** Line breaks have no place in a header. */
function escapeHeader(text: string): string {
  return text.replace(/[\r\n]+/g, ' ').replace(/[\\|]/g, (character) => `\\${character}`);
}

function escapeExtension(text: string): string {
  if (!/[\\=\r\n]/.test(text)) return text;
  return text
    .replace(/[\\=]/g, (character) => `\\${character}`)
    .replaceAll('\r', '\\r')
    .replaceAll('\n', '\\n');
}
