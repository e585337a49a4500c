import type { Clock } from '../clock.js';
import { decodeUtf8, encodeUtf8 } from '../core/bytes.js';
import { consistencyProofNodes } from '../core/consistency-proof.js';
import { verifyCosignature } from '../core/cosignature.js';
import { parseNote } from '../core/signed-note.js';
import type { Queryable } from '../ledger/read-entries.js';
import type { LogName } from '../ledger/rows.js';
import { readFoldedGroups } from '../ledger/tree-nodes.js';
import type { ObjectStore } from '../storage/object-store.js';
import type { Anchor, SealedRoot } from './anchor.js';
import { rootKey } from './store-anchor.js';
import { requestCosignature, type Witness } from './witness.js';

/**
 * Has a witness (C2SP tlog-witness) cosign a root: the witness vouches that it never saw a tree that contradicts it. The
 * line is kept, and the note with all its cosignatures beside the root in the store.
 */
export function witnessAnchor(options: {
  readonly witness: Witness;
  readonly mode: 'best-effort' | 'required';
  readonly database: Queryable;
  readonly store: ObjectStore | null;
  readonly clock: Clock;
}): Anchor {
  const { witness, mode, database, store, clock } = options;
  const target = `${witness.key.name}+${witness.key.keyId} ${witness.url}`;
  return {
    kind: 'witness',
    target,
    mode,
    async anchor(root, signal) {
      const { line } = await requestCosignature({
        ...witness,
        note: root.note,
        size: root.treeSize,
        lastSize: await readCosignedSize(database, root.log, target),
        consistencyProof: (fromSize) =>
          readFoldedGroups(database, root.log, consistencyProofNodes(fromSize, root.treeSize)),
        nowSeconds: Math.floor(clock.nowMs() / 1_000),
        signal,
      });
      return { reference: `${witness.key.name}+${witness.key.keyId}`, evidence: encodeUtf8(`${line}\n`) };
    },
    keep: (root, { evidence }) => keepLine(store, root, decodeUtf8(evidence).trimEnd()),
    verify(root, { evidence }) {
      const signatures = readLines(root, decodeUtf8(evidence));
      const good = signatures.some((signature) => verifyCosignature(root.text, signature, witness.key) !== null);
      return Promise.resolve(
        good ? null : { code: 'ANCHOR_MISMATCH' as const, message: `the kept cosignature of ${target} is bad` },
      );
    },
  };
}

function readLines(root: SealedRoot, lines: string) {
  try {
    return parseNote(`${root.note}${lines}`).signatures;
  } catch {
    return [];
  }
}

/** The largest size that this witness cosigned for us, 0 where none is known. */
async function readCosignedSize(database: Queryable, log: LogName, target: string): Promise<number> {
  const found = await database.query<{ size: string | null }>(
    `SELECT max(root.tree_size) AS size FROM public.anchors JOIN public.merkle_roots AS root USING (log, date)
     WHERE log = $1 AND kind = 'witness' AND target = $2 AND status = 'ANCHORED'`,
    [log, target],
  );
  return Number(found.rows[0]?.size ?? 0);
}

/** Adds a cosignature to the note that lies beside the root. */
async function keepLine(store: ObjectStore | null, root: SealedRoot, line: string): Promise<void> {
  if (store === null) return;
  const key = rootKey(root, 'witnessed');
  const kept = await store.read(key);
  const note = kept === null ? root.note : decodeUtf8(kept.bytes);
  if (note.split('\n').includes(line)) return;
  const condition = kept === null ? ({ ifAbsent: true } as const) : { ifMatch: kept.etag };
  await store.write(key, encodeUtf8(`${note}${line}\n`), { ...condition, contentType: 'text/plain; charset=utf-8' });
}
