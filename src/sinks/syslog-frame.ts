import type { AuditRow } from '../ledger/rows.js';
import { detailsOf, severityOf, type Severity } from './entry-facts.js';

/** What of a message's header does not come from the entry. */
export interface SyslogSender {
  /** RFC 5424 §6.2.1: 13 is the log audit, 16 to 23 are for local use. */
  readonly facility: number;
  readonly hostname: string;
  readonly appName: string;
  /** IANA's number of whoever defines the structured data; 32473 is the one for examples. */
  readonly enterpriseId: number;
}

/** Numerical severities of RFC 5424: 2 critical, 3 error, 4 warning, 5 notice, 6 informational. */
const severities: Readonly<Record<Severity, number>> = { info: 6, low: 5, medium: 4, high: 3, critical: 2 };

/**
 * One message of RFC 5424 about an entry. Index, id and leaf hash are structured data, so that receivers can drop what they
 * got before. The text carries no byte order mark: what reads CEF or JSON would trip over it.
 */
export function encodeSyslogMessage(row: AuditRow, text: string, sender: SyslogSender): string {
  const priority = sender.facility * 8 + severities[severityOf(row, detailsOf(row))];
  const data = [
    `daybook@${sender.enterpriseId}`,
    parameter('index', row.chainIndex),
    parameter('id', row.id),
    parameter('hash', row.verificationHash),
  ].join(' ');
  const header = [
    `<${priority}>1`,
    row.recordedAt,
    headerText(sender.hostname, 255),
    headerText(sender.appName, 48),
    '-',
    headerText(row.event, 32),
  ].join(' ');
  return `${header} [${data}] ${text}`;
}

/** Octet counting of RFC 6587 §3.4.1, which RFC 5425 prescribes: the length in bytes goes before the message. */
export function frameSyslogMessage(message: string): string {
  return `${Buffer.byteLength(message)} ${message}`;
}

/** Printable ASCII without spaces; `-` where nothing is left. */
function headerText(text: string, charactersMax: number): string {
  return text.replace(/[^\x21-\x7e]/g, '').slice(0, charactersMax) || '-';
}

function parameter(name: string, value: string): string {
  return `${name}="${value.replace(/["\\\]]/g, (character) => `\\${character}`)}"`;
}
