import type { AuditRow } from '../ledger/rows.js';
import { encodeEcs } from './encode-ecs.js';
import { encodeJsonlLine } from './encode-jsonl-line.js';

/** As `encodeJsonlLine`, once for all sinks of this node. */
export const jsonlLineOf = shared(encodeJsonlLine);
/** As `encodeEcs`, once for all sinks of this node. */
export const ecsDocumentOf = shared(encodeEcs);

/** Rows are shared by the sinks that are not far behind, and kept for a moment: so is what was made of them. */
function shared(encode: (row: AuditRow) => string): (row: AuditRow) => string {
  const encoded = new WeakMap<AuditRow, string>();
  return (row) => {
    let text = encoded.get(row);
    if (text === undefined) {
      text = encode(row);
      encoded.set(row, text);
    }
    return text;
  };
}
