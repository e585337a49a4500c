import { decodeBase64, encodeBase64 } from './bytes.js';
import { encodeSize, parseCheckpoint, parseSize } from './checkpoint.js';
import { areHashes, isTreeSize, type Hash } from './merkle-tree.js';
import { parseNote } from './signed-note.js';

/** An inclusion proof as a file that is verified offline (C2SP tlog-proof, `.tlog-proof`). */
export interface TlogProof {
  /** Of the entry, from 0. */
  readonly index: number;
  /** The inclusion proof, leaf's sibling first. */
  readonly hashes: readonly Hash[];
  /** The signed checkpoint whose tree holds the entry: the note verbatim. */
  readonly checkpoint: string;
  /** Opaque bytes of whoever made the file, covered by no signature; absent where there are none, as in ours. */
  readonly extra?: Uint8Array;
}

const header = 'c2sp.org/tlog-proof@v1';

/** Indexes are below 2^53, so no leaf lies deeper. */
const hashesMax = 53;

/** The proof as text. Throws SyntaxError for one that parseTlogProof would not read back. */
export function encodeTlogProof(proof: TlogProof): string {
  if (!isTreeSize(proof.index)) throw new SyntaxError(`${proof.index} is not the index of an entry`);
  const extra = proof.extra === undefined ? [] : [`extra ${encodeBase64(proof.extra)}`];
  const lines = [header, ...extra, `index ${encodeSize(proof.index)}`, ...proof.hashes.map(encodeBase64), ''];
  const encoded = lines.map((line) => `${line}\n`).join('') + proof.checkpoint;
  parseTlogProof(encoded);
  return encoded;
}

/**
 * Reads what encodeTlogProof writes; the checkpoint must be one, but neither its signatures nor the proof are verified.
 * Throws SyntaxError for anything else.
 */
export function parseTlogProof(text: string): TlogProof {
  const blankLine = text.indexOf('\n\n');
  if (blankLine < 0) throw new SyntaxError('the proof has no blank line before its checkpoint');
  const [first, ...lines] = text.slice(0, blankLine).split('\n');
  if (first !== header) throw new SyntaxError(`the proof does not begin with ${header}`);
  const extra = lines[0]?.startsWith('extra ') === true ? decodeExtra(lines.shift()) : undefined;
  const indexLine = lines.shift();
  if (indexLine?.startsWith('index ') !== true) throw new SyntaxError('the proof has no index');
  if (lines.length > hashesMax) throw new SyntaxError(`the proof has more than ${hashesMax} hashes`);
  const hashes = lines.map(decodeBase64);
  if (!areHashes(hashes)) throw new SyntaxError('a hash of the proof has not 32 bytes');
  const checkpoint = text.slice(blankLine + 2);
  parseCheckpoint(parseNote(checkpoint).text);
  const proof = { index: parseSize(indexLine.slice('index '.length)), hashes, checkpoint };
  return extra === undefined ? proof : { ...proof, extra };
}

function decodeExtra(line = ''): Uint8Array {
  const extra = decodeBase64(line.slice('extra '.length));
  if (extra.length === 0) throw new SyntaxError('a proof without extra data has no such line');
  return extra;
}
