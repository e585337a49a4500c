import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { PackDecoder } from '../core/pack-encoding.js';

/** Decompresses gzip. Throws SyntaxError for what is no gzip, or ends too early, and what the source throws. */
export const gunzip: PackDecoder = async function* (bytes) {
  // An error on the way reaches whoever reads the last stream; a reader that stops ends the source.
  const plain = pipeline(Readable.from(bytes), createGunzip(), () => undefined);
  try {
    for await (const part of plain) yield part as Uint8Array;
  } catch (error) {
    if (!(error as NodeJS.ErrnoException).code?.startsWith('Z_')) throw error;
    throw new SyntaxError(`it cannot be decompressed: ${(error as Error).message}`, { cause: error });
  }
};
