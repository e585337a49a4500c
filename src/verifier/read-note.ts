import { decodeUtf8 } from '../core/bytes.js';
import { judgeHead, type JudgedHead, type Trust } from '../core/verify-tlog-proof.js';
import type { LayoutReader } from './layout-reader.js';

/** The signed note at `path`, judged; null where there is none. Bytes that are no text are a malformed checkpoint. */
export async function readHead(reader: LayoutReader, path: string, trust: Trust): Promise<JudgedHead | null> {
  const bytes = await reader.read(path);
  return bytes === null ? null : judgeHeadBytes(bytes, trust);
}

/** Judges the bytes of a file that should hold a signed tree head. */
export function judgeHeadBytes(bytes: Uint8Array, trust: Trust): JudgedHead {
  try {
    return judgeHead(decodeUtf8(bytes), trust);
  } catch (err) {
    if (!(err instanceof SyntaxError)) throw err;
    return { ...judgeHead('', trust), faults: [{ code: 'CHECKPOINT_MALFORMED', message: err.message }] };
  }
}
