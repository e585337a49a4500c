import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { encodeUtf8 } from '../../src/core/bytes.js';
import { encodeCheckpoint } from '../../src/core/checkpoint.js';
import { encodeEntryBundle } from '../../src/core/entry-bundle.js';
import { encodeNote, parseNote } from '../../src/core/signed-note.js';
import { entriesPath, hashTilePath, tileWidth } from '../../src/core/tile-path.js';
import { formatTimestamp } from '../../src/core/timestamp.js';
import { encodeTlogProof } from '../../src/core/tlog-proof.js';
import type { LayoutReader } from '../../src/verifier/layout-reader.js';
import { MTH, PATH } from './literal-rfc6962.js';
import type { NoteSigner } from './note-signer.js';

/** The signed head of these entries; of the log that the signer is named after. */
export function signHead(signer: NoteSigner, bodies: readonly Uint8Array[], origin = signer.key.name): string {
  return signText(signer, encodeCheckpoint({ origin, size: bodies.length, root: MTH(bodies), extensions: [] }));
}

/** A note of any text. */
export function signText(signer: NoteSigner, text: string): string {
  return encodeNote({ text, signatures: [signer.sign(text)] });
}

/** The note with one more line, a witness's. */
export function cosign(witness: NoteSigner, note: string, seconds: number): string {
  const { text, signatures } = parseNote(note);
  return encodeNote({ text, signatures: [...signatures, witness.cosign(text, seconds)] });
}

/** When the tests' witness cosigns, in seconds since the Unix epoch. */
export const cosignedSeconds = 1_772_400_000;

/** Midnight before the first sample entry. */
const firstMicros = BigInt(Date.parse('2026-03-01T00:00:00Z')) * 1000n;

/** The body of an audit entry recorded so many seconds after 2026-03-01T00:00:00Z. */
export function sampleBody(name: string, seconds: number): Uint8Array {
  const time = formatTimestamp(firstMicros + BigInt(Math.round(seconds * 1e6)));
  return encodeUtf8(
    `{"category":"ORDER","details":{"order":"${name}"},"event":"OrderAccepted","id":"${name}",` +
      `"occurredAt":"${time}","outcome":"OK","recordedAt":"${time}","type":"audit","v":1}`,
  );
}

/** Bodies of `count` audit entries, so many seconds apart. */
export function sampleBodies(count: number, secondsBetween = 1): Uint8Array[] {
  return Array.from({ length: count }, (_, index) => sampleBody(`order-${index}`, index * secondsBetween));
}

/** A log's layout as path and bytes. */
export type LayoutFiles = Map<string, Uint8Array>;

export interface LayoutContent {
  readonly bodies: readonly Uint8Array[];
  readonly signer: NoteSigner;
  /** Also the roots of these days. */
  readonly rootDates?: readonly string[];
  /** Cosigns the days' roots. */
  readonly witness?: NoteSigner;
}

/** The whole layout of a log, each hash by the definition of C2SP tlog-tiles: checkpoint, bundles, tiles, days' roots. */
export function layoutFiles({ bodies, signer, rootDates = [], witness }: LayoutContent): LayoutFiles {
  const files: LayoutFiles = new Map([['checkpoint', encodeUtf8(signHead(signer, bodies))]]);
  inTiles(bodies.length, (index, first, end) => {
    files.set(entriesPath(index, end - first), encodeEntryBundle(bodies.slice(first, end)));
  });
  for (let [level, width] = [0, 1]; width <= bodies.length; [level, width] = [level + 1, width * tileWidth]) {
    inTiles(Math.floor(bodies.length / width), (index, first, end) => {
      const hashes = range(first, end).map((place) => MTH(bodies.slice(place * width, (place + 1) * width)));
      files.set(hashTilePath(level, index, end - first), Uint8Array.from(Buffer.concat(hashes)));
    });
  }
  for (const date of rootDates) {
    const note = signHead(
      signer,
      bodies.filter((body) => recordingDate(body) <= date),
    );
    files.set(`roots/${date}.checkpoint`, encodeUtf8(note));
    if (witness !== undefined) {
      files.set(`roots/${date}.witnessed`, encodeUtf8(cosign(witness, note, cosignedSeconds)));
    }
  }
  return files;
}

function recordingDate(body: Uint8Array): string {
  return (JSON.parse(Buffer.from(body).toString()) as { recordedAt: string }).recordedAt.slice(0, 10);
}

function inTiles(count: number, take: (index: number, first: number, end: number) => void): void {
  for (let index = 0; index * tileWidth < count; index += 1) {
    take(index, index * tileWidth, Math.min(count, (index + 1) * tileWidth));
  }
}

function range(first: number, end: number): number[] {
  return Array.from({ length: end - first }, (_, place) => first + place);
}

/** The `.tlog-proof` of one entry under a checkpoint of all of them. */
export function proofFile(signer: NoteSigner, bodies: readonly Uint8Array[], index: number): string {
  return encodeTlogProof({ index, hashes: PATH(index, bodies), checkpoint: signHead(signer, bodies) });
}

export async function writeLayout(folder: string, files: LayoutFiles): Promise<void> {
  for (const [path, bytes] of files) {
    await mkdir(join(folder, dirname(path)), { recursive: true });
    await writeFile(join(folder, path), bytes);
  }
}

/** Reads from memory; lists as a folder does, or not at all as a web server. */
export function memoryReader(files: LayoutFiles, options: { readonly lists?: boolean } = {}): LayoutReader {
  const read = async (path: string) => files.get(path) ?? null;
  if (options.lists === false) return { description: 'memory', read };
  return {
    description: 'memory',
    read,
    async *list(prefix) {
      for (const path of files.keys()) {
        if (path.startsWith(prefix) && !path.slice(prefix.length).includes('/')) yield path;
      }
    },
  };
}
