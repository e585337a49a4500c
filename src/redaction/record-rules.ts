import type { RedactionRules } from '../access/redaction-rules.js';
import type { Append } from '../access/request-calls.js';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import { serviceEntry } from '../ledger/new-entries.js';
import type { Queryable } from '../ledger/read-entries.js';

const event = 'RedactionRulesChanged';

/**
 * Leaves a `RedactionRulesChanged` entry where the rules in force are not those of the newest such entry, so that each entry of
 * the log can be read by the rules of its time. Nodes that start together may leave one each; they say the same.
 */
export async function recordRedactionRules(
  database: Queryable,
  append: Append,
  rules: RedactionRules,
): Promise<'recorded' | 'unchanged'> {
  const newest = await database.query<{ details: string }>(
    'SELECT details FROM public.audit_entries WHERE event = $1 ORDER BY chain_index DESC LIMIT 1',
    [event],
  );
  const [row] = newest.rows;
  const before = row === undefined ? null : (JSON.parse(row.details) as { hash: string });
  if (before?.hash === rules.hash) return 'unchanged';
  const details = encodeCanonicalJson({
    hash: rules.hash,
    previousHash: before?.hash,
    rules: rules.described.map(({ name }) => name),
  });
  await append({
    entries: [
      serviceEntry({
        category: 'CONFIG',
        event,
        action: 'UPDATE',
        resource: 'redaction-rules',
        sessionId: 'start',
        details,
      }),
    ],
  });
  return 'recorded';
}
