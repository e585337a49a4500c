import type { PackFault } from '../core/pack-faults.js';
import { packExitCode } from '../core/pack-faults.js';
import type { VerifierKey } from '../core/verifier-key.js';
import { verifyPack, type PackVerdict } from '../core/verify-pack.js';
import { verifyPackSequence } from '../core/verify-pack-sequence.js';
import { exitCodes } from './exit-codes.js';
import { findPacks, readPackFolder } from './read-pack.js';
import { printable } from './report.js';

export interface PacksVerification {
  readonly packs: readonly (PackVerdict & { readonly folder: string })[];
  /** Between packs: days left out. */
  readonly faults: readonly PackFault[];
}

/**
 * Verifies a pack, or every pack below a folder and that no day between them is left out. Throws RunError where something
 * cannot be read.
 */
export async function verifyPacks(
  folder: string,
  keys: readonly VerifierKey[],
  onPack: (folder: string) => void = () => undefined,
): Promise<PacksVerification> {
  const packs: PacksVerification['packs'][number][] = [];
  for (const path of await findPacks(folder)) {
    onPack(path);
    packs.push({ ...(await verifyPack(await readPackFolder(path), keys)), folder: path });
  }
  return { packs, faults: verifyPackSequence(packs) };
}

/** The exit code of what was found: 0, 3 where no key was pinned, or that of the gravest fault. */
export function exitCodeOfPacks({ packs, faults }: PacksVerification): number {
  const all = [...packs.flatMap((pack) => pack.faults), ...faults];
  if (all.length > 0) return packExitCode(all);
  return packs.every(({ signer }) => signer === 'verified') ? exitCodes.verified : exitCodes.signerUnknown;
}

export function describePacks({ packs, faults }: PacksVerification): string {
  const lines = packs.flatMap((pack) => {
    const { manifest, folder, signer, entriesChecked } = pack;
    const state = pack.faults.length > 0 ? 'BROKEN' : signer === 'verified' ? 'verified' : 'intact, signer unknown';
    return [
      `${manifest?.export_date ?? folder}: ${state}, ${entriesChecked} entries`,
      ...pack.faults.map(({ code, file, message }) => `  ${code} ${file ?? ''}: ${message}`),
    ];
  });
  return printable(
    [...lines, ...faults.map(({ code, message }) => `${code}: ${message}`)].map((line) => `${line}\n`).join(''),
  );
}

/** What programs get. */
export function jsonOfPacks(verification: PacksVerification): object {
  const { packs, faults } = verification;
  return {
    intact: packs.every((pack) => pack.faults.length === 0) && faults.length === 0,
    faults,
    packs: packs.map(({ manifest, ...pack }) => ({
      ...pack,
      date: manifest?.export_date ?? null,
      kind: manifest?.kind ?? null,
    })),
  };
}
