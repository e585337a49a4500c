import type { Clock } from '../clock.js';
import { decodeUtf8, encodeUtf8, equalBytes } from '../core/bytes.js';
import { timestampFromMs } from '../core/timestamp.js';
import { DaybookError } from '../errors.js';
import type { ObjectStore } from '../storage/object-store.js';
import type { Anchor, AnchorFault, AnchorProof, SealedRoot } from './anchor.js';

const dayMs = 24 * 60 * 60 * 1_000;
/** A lock that was asked for earlier, for a root that came late, ends this much earlier at most. */
const toleranceMs = dayMs;
/** The reference of a root in a store without versions. */
const unversioned = 'unversioned';

/** Where a day's root lies in the store. */
export function rootKey(
  root: { readonly log: string; readonly date: string },
  form: 'checkpoint' | 'tsr' | 'witnessed',
) {
  return `${root.log}/roots/${root.date}.${form}`;
}

/**
 * Keeps each root's note in the object store, locked there (Object Lock, COMPLIANCE) for `retentionDays` where the store
 * can lock. The reference is the version id, by which the note is read back: a later upload under the same key does not
 * stand in for it.
 */
export function storeAnchor(options: {
  readonly store: ObjectStore;
  readonly mode: 'best-effort' | 'required';
  readonly retentionDays: number;
  readonly clock: Clock;
}): Anchor {
  const { store, mode, retentionDays, clock } = options;
  return {
    kind: 'object-store',
    target: store.description,
    mode,
    async anchor(root): Promise<AnchorProof> {
      const key = rootKey(root, 'checkpoint');
      const bytes = encodeUtf8(root.note);
      // A root that comes late, after a long outage, is locked for a day at least: a lock cannot end in the past.
      const untilMs = Math.max(Date.parse(root.sealedAt) + retentionDays * dayMs, clock.nowMs() + dayMs);
      const until = timestampFromMs(untilMs);
      const earlier = await store.read(key);
      if (earlier !== null && !equalBytes(earlier.bytes, bytes)) {
        throw new DaybookError(
          'ANCHOR_REFUSED',
          `${key} in ${store.description} holds another root: this ledger contradicts what was anchored, or shares its place with another one`,
          { details: { fork: true } },
        );
      }
      // A crash after the upload: what is there and locked is not uploaded again.
      if (earlier !== null && earlier.versionId !== null) {
        const retention = (await store.readVersion(key, earlier.versionId))?.retention ?? null;
        if (retention !== null && Date.parse(retention.until) >= untilMs - toleranceMs) {
          return { reference: earlier.versionId, evidence: bytes };
        }
      }
      const { objectLock } = await store.describe();
      if (earlier !== null && !objectLock) return { reference: earlier.versionId ?? unversioned, evidence: bytes };
      if (!objectLock) {
        const written = await store.write(key, bytes, { ifAbsent: true, contentType: 'text/plain; charset=utf-8' });
        return { reference: written.versionId ?? unversioned, evidence: bytes };
      }
      const locked = await store.writeLocked(key, bytes, { mode: 'COMPLIANCE', until });
      return { reference: locked.versionId ?? unversioned, evidence: bytes };
    },
    async verify(root, proof): Promise<AnchorFault | null> {
      const key = rootKey(root, 'checkpoint');
      const kept =
        proof.reference === unversioned ? await store.read(key) : await store.readVersion(key, proof.reference);
      if (kept === null) return { code: 'ANCHOR_MISSING', message: `${key} is gone from ${store.description}` };
      if (equalBytes(kept.bytes, encodeUtf8(root.note))) return null;
      return {
        code: 'ANCHOR_MISMATCH',
        message: `${key} in ${store.description} is ${shorten(kept.bytes)}, the database says ${JSON.stringify(root.text)}`,
      };
    },
  };
}

function shorten(bytes: Uint8Array): string {
  try {
    return JSON.stringify(decodeUtf8(bytes.subarray(0, 200)));
  } catch {
    return `${bytes.length} bytes that are no text`;
  }
}

/** Puts what vouches for a root beside it in the store, so that it is found without the database. */
export async function keepBesideRoot(
  store: ObjectStore | null,
  root: SealedRoot,
  form: 'tsr' | 'witnessed',
  bytes: Uint8Array,
): Promise<void> {
  await store?.write(rootKey(root, form), bytes);
}
