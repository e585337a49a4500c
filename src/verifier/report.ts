import { decodeHex, encodeBase64, encodeHex } from '../core/bytes.js';
import { encodeVerifierKey } from '../core/verifier-key.js';
import type { Cosigner, JudgedHead, SignerStatus, TlogProofVerdict } from '../core/verify-tlog-proof.js';
import type { GrowthVerdict } from './verify-growth.js';
import type { LayoutVerification } from './verify-layout.js';

/** What the commands print for people. Everything in it may come from a hostile log: see `printable`. */

const signerTexts = {
  verified: 'verified',
  'not-pinned': 'unknown: integrity only, no key of the log is pinned',
  'unknown-key': 'unknown: none of the pinned keys signed',
  'bad-signature': 'BAD: the signature of a pinned key is wrong',
} as const satisfies Record<SignerStatus, string>;

/** A text without characters that move the cursor, colour the screen or turn the direction of writing. */
export function printable(text: string): string {
  return text.replace(/[^\P{C}\n]/gu, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
}

export function describeLayout(found: LayoutVerification): string {
  const { origin, originExpected, treeSize, rootHash, roots, notChecked } = found;
  const root = rootHash === null ? '' : encodeBase64(decodeHex(rootHash));
  const dates = roots.firstDate === null ? '' : `, ${roots.firstDate} to ${roots.lastDate}`;
  return lines(
    `log          ${origin ?? 'unknown'}${originExpected ? '' : ' (as the checkpoint says)'}`,
    `source       ${found.source}`,
    `checkpoint   size ${treeSize ?? 'unknown'}, root ${root}`,
    `signer       ${signerTexts[found.signer]}`,
    ...found.signedBy.map((key) => `             ${key}`),
    `entries      ${found.entries} in ${found.seconds.toFixed(2)} s, ${Math.round(found.entriesPerSecond)}/s`,
    `chain_hash   ${found.headChainHash} (of the last entry, computed)`,
    `tiles        ${found.tiles} compared`,
    `days' roots  ${roots.roots}${dates}; ${roots.witnessed} cosigned, ${roots.timestamped} with a timestamp`,
    `earlier      ${found.earlierCheckpoints} checkpoints compared`,
    'not checked here',
    ...notChecked.map((line) => `  - ${line}`),
    ...describeBreaks(found),
  );
}

function describeBreaks({ firstBreak, breaks, breakCount }: LayoutVerification): string[] {
  if (firstBreak === null) return ['intact'];
  return [
    `first break ${firstBreak.code}${place(firstBreak.index)}`,
    ...breaks.map(({ code, index, message }) => `  ${code}${place(index)}: ${message}`),
    ...(breakCount > breaks.length ? [`  and ${breakCount - breaks.length} more`] : []),
  ];
}

function place(index: number | null): string {
  return index === null ? '' : ` at index ${index}`;
}

export function describeProof(verdict: TlogProofVerdict): string {
  if (!verdict.valid) return lines(`refused: ${verdict.code}: ${verdict.message}`);
  return lines(
    `entry        ${verdict.index} of ${verdict.origin}`,
    `checkpoint   size ${verdict.size}, root ${encodeBase64(verdict.root)}`,
    `leaf         ${encodeHex(verdict.leafHash)} (verification_hash)`,
    `signer       ${signerTexts[verdict.signer]}`,
    ...verdict.signedBy.map((key) => `             ${encodeVerifierKey(key)}`),
    ...verdict.cosigners.map(describeCosigner),
    'included',
  );
}

export function describeHead({ checkpoint, signer, signedBy, cosigners, faults }: JudgedHead): string {
  return lines(
    ...(checkpoint === null
      ? []
      : [
          `log          ${checkpoint.origin}`,
          `checkpoint   size ${checkpoint.size}, root ${encodeBase64(checkpoint.root)}`,
          `signer       ${signerTexts[signer]}`,
        ]),
    ...signedBy.map((key) => `             ${encodeVerifierKey(key)}`),
    ...cosigners.map(describeCosigner),
    ...(faults.length === 0 ? ['well formed'] : faults.map(({ code, message }) => `refused: ${code}: ${message}`)),
  );
}

export function describeGrowth(verdict: GrowthVerdict): string {
  if (!verdict.consistent) return lines(`refused: ${verdict.code}: ${verdict.message}`);
  const { origin, fromSize, toSize, signer } = verdict;
  return lines(
    `log          ${origin}`,
    `signer       ${signerTexts[signer]}`,
    `grew from ${fromSize} to ${toSize}: consistent`,
  );
}

function describeCosigner({ key, seconds }: Cosigner): string {
  const time = seconds <= 8_640_000_000_000 ? new Date(seconds * 1000).toISOString() : `second ${seconds}`;
  return `cosigned     ${time} by ${encodeVerifierKey(key)}`;
}

function lines(...texts: string[]): string {
  return printable(texts.map((text) => `${text}\n`).join(''));
}
