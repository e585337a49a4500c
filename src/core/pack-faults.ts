/** Everything that can be wrong with an evidence pack, a closed list, the gravest first; docs/packs.md has the exit codes. */
export const packFaultCodes = {
  MANIFEST_MISSING: 'there is no manifest',
  MANIFEST_MALFORMED: 'the manifest is not one of this format',
  UNSIGNED: 'the manifest has no signature',
  WRONG_KEY: 'the manifest is signed, but by no key that is trusted',
  ROWS_CHANGED: 'the entries are not those of the signed tree head: some were changed, removed or added',
  SIGNATURE_BAD: 'a signature does not fit the manifest: it was changed after it was signed',
  CHECKPOINT_BAD: 'a tree head is not a checkpoint of the log by a trusted key',
  CHAIN_BROKEN: "the entries do not continue the previous day's chain, or do not lead to the chain hash they should",
  DAY_MISSING: 'a pack of a day in between is missing, or another one is in its place',
  FILE_RENAMED: 'a file is there under another name',
  FILE_MISSING: 'a file is missing',
  FILE_TRUNCATED: 'a file is shorter than the manifest says',
  FILE_ALTERED: 'a file is not the one that the manifest names',
  FILE_EXTRA: 'a file is there that the manifest does not name',
  ENCODING_BAD: 'a stored file does not decompress or decrypt to the one that the manifest names',
  DERIVED_MISMATCH: 'a readable file or a total does not say what the entries say',
  ANCHOR_MISSING: "a required anchor of the day's root is not there",
} as const;

export type PackFaultCode = keyof typeof packFaultCodes;

export interface PackFault {
  readonly code: PackFaultCode;
  /** Of the pack, or of one of its files. */
  readonly file: string | null;
  readonly message: string;
}

/** Exit code of each fault: the place in the list above, from 10 on. */
export function packExitCode(faults: readonly PackFault[]): number {
  const codes = Object.keys(packFaultCodes);
  return 10 + Math.min(...faults.map(({ code }) => codes.indexOf(code)));
}
