import type { PackFault } from './pack-faults.js';
import type { PackVerdict } from './verify-pack.js';

const dayMs = 86_400_000;

/**
 * What is wrong between packs of days that each were verified, in any order: a day left out, or a pack that does not name
 * the one before it. The pack before the first is not asked for.
 */
export function verifyPackSequence(verdicts: readonly PackVerdict[]): PackFault[] {
  const faults: PackFault[] = [];
  const days = verdicts
    .flatMap(({ manifest, manifestSha256 }) => (manifest?.kind === 'DAY' ? [{ manifest, manifestSha256 }] : []))
    .sort((left, right) => (left.manifest.export_date < right.manifest.export_date ? -1 : 1));
  days.forEach(({ manifest }, place) => {
    const before = days[place - 1];
    if (before === undefined) return;
    const date = manifest.export_date;
    const expected = new Date(Date.parse(`${date}T00:00:00Z`) - dayMs).toISOString().slice(0, 10);
    const fault = (message: string) => faults.push({ code: 'DAY_MISSING', file: null, message });
    if (before.manifest.export_date !== expected) {
      fault(`between ${before.manifest.export_date} and ${date} there is no pack`);
    } else if (manifest.previous_manifest?.sha256 !== before.manifestSha256) {
      fault(`the pack of ${date} names another pack of ${expected} than the one that is there`);
    } else if (
      (['audit', 'signals'] as const).some(
        (log) => manifest.logs[log].previous_tree_size !== before.manifest.logs[log].tree_size,
      )
    ) {
      fault(`the entries of ${date} do not begin where those of ${expected} end`);
    }
  });
  return faults;
}
