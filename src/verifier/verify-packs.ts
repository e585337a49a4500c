import type { PackDecoders } from '../core/pack-encoding.js';
import type { PackFault } from '../core/pack-faults.js';
import { packExitCode } from '../core/pack-faults.js';
import type { VerifierKey } from '../core/verifier-key.js';
import { verifyPack, type PackVerdict } from '../core/verify-pack.js';
import { verifyPackSequence } from '../core/verify-pack-sequence.js';
import { exitCodes } from './exit-codes.js';
import { gunzip } from './gunzip.js';
import { findPacks, readPackFolder } from './read-pack.js';
import { printable } from './report.js';

export interface PacksVerification {
  readonly packs: readonly (PackVerdict & { readonly folder: string })[];
  /** Between packs: days left out. */
  readonly faults: readonly PackFault[];
}

/**
 * Verifies a pack, or every pack below a folder and that no day between them is left out. Files that are compressed are
 * opened, encrypted ones where `decoders` can. Throws RunError where something cannot be read.
 */
export async function verifyPacks(
  folder: string,
  keys: readonly VerifierKey[],
  decoders: PackDecoders = {},
): Promise<PacksVerification> {
  const packs: PacksVerification['packs'][number][] = [];
  for (const path of await findPacks(folder)) {
    const reader = await readPackFolder(path);
    packs.push({ ...(await verifyPack(reader, keys, { gzip: gunzip, ...decoders })), folder: path });
  }
  return { packs, faults: verifyPackSequence(packs) };
}

/** The exit code of what was found: 0, 3 where no key was pinned, 4 where a file stayed sealed, or that of the gravest fault. */
export function exitCodeOfPacks({ packs, faults }: PacksVerification): number {
  const all = [...packs.flatMap((pack) => pack.faults), ...faults];
  if (all.length > 0) return packExitCode(all);
  if (packs.some(({ signer }) => signer !== 'verified')) return exitCodes.signerUnknown;
  return packs.every(({ sealed }) => sealed.length === 0) ? exitCodes.verified : exitCodes.sealed;
}

export function describePacks({ packs, faults }: PacksVerification): string {
  const lines = packs.flatMap((pack) => {
    const { manifest, folder, signer, sealed, entriesChecked } = pack;
    const state = pack.faults.length > 0 ? 'BROKEN' : signer === 'verified' ? 'verified' : 'intact, signer unknown';
    return [
      `${manifest?.export_date ?? folder}: ${state}, ${entriesChecked} entries`,
      ...(sealed.length === 0 ? [] : [`  SEALED: ${describeSealed(sealed)}`]),
      ...pack.faults.map(({ code, file, message }) => `  ${code} ${file ?? ''}: ${message}`),
    ];
  });
  return printable(
    [...lines, ...faults.map(({ code, message }) => `${code}: ${message}`)].map((line) => `${line}\n`).join(''),
  );
}

function describeSealed(sealed: readonly string[]): string {
  return `only the stored bytes of ${sealed.join(', ')} were checked, not what is in them: they are encrypted`;
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
