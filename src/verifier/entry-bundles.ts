import { decodeEntryBundle } from '../core/entry-bundle.js';
import { entriesPath, parseTilePath, tileWidth } from '../core/tile-path.js';
import type { LayoutReader } from './layout-reader.js';

/** What a bundle of entries holds, as far as it can be read. */
export interface ReadBundle {
  readonly path: string;
  /** The first of them, at most as many as were asked for. */
  readonly bodies: readonly Uint8Array[];
  /** Why there are fewer, or that there are more than the checkpoint covers; null when all is as it has to be. */
  readonly fault: string | null;
  /** The bytes of `bodies` in the bundle. */
  readonly bytes: Uint8Array;
}

/**
 * Bundle `index` with its first `width` entries; null where it is not published. A partial bundle may have been replaced by a
 * larger one since the checkpoint was signed. Where there is only a smaller one, as after entries were cut off, that is read,
 * so that the first missing entry can be named.
 */
export async function readBundle(reader: LayoutReader, index: number, width: number): Promise<ReadBundle | null> {
  const path = entriesPath(index, width);
  const exact = await reader.read(path);
  if (exact !== null) return decodeFirst(path, exact, width, width);
  const fullPath = entriesPath(index);
  const full = width < tileWidth ? await reader.read(fullPath) : null;
  if (full !== null) return decodeFirst(fullPath, full, width, tileWidth);
  let widest: { path: string; width: number } | null = null;
  for await (const partial of listPartials(reader, fullPath)) {
    if (partial.width > (widest?.width ?? 0)) widest = partial;
  }
  const bytes = widest === null ? null : await reader.read(widest.path);
  return widest === null || bytes === null ? null : decodeFirst(widest.path, bytes, width, widest.width);
}

/** The partial bundle at `path`; null where it is gone. */
export async function readPartial(reader: LayoutReader, path: string, width: number): Promise<ReadBundle | null> {
  const bytes = await reader.read(path);
  return bytes === null ? null : decodeFirst(path, bytes, width, width);
}

/** Decodes what comes before any damage too: the index at which it begins is what the auditor wants to know. */
function decodeFirst(path: string, bytes: Uint8Array, wanted: number, allowed: number): ReadBundle {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let [end, count] = [0, 0];
  while (count < wanted && end + 2 <= bytes.length && end + 2 + view.getUint16(end) <= bytes.length) {
    end += 2 + view.getUint16(end);
    count += 1;
  }
  const used = bytes.subarray(0, end);
  const bodies = decodeEntryBundle(used);
  if (count < wanted) {
    const state = end === bytes.length ? 'ends' : 'cannot be read';
    return { path, bodies, fault: `${path} ${state} after ${count} of ${wanted} entries`, bytes: used };
  }
  const isTooLong = wanted === allowed && end < bytes.length;
  const fault = isTooLong ? `${path} holds more than the ${wanted} entries that it should` : null;
  return { path, bodies, fault, bytes: used };
}

/**
 * Partial tiles that were published while the tile grew and have not been removed; none where the source cannot list.
 * `fullPath` is that of the full tile or bundle.
 */
export async function* listPartials(
  reader: LayoutReader,
  fullPath: string,
): AsyncGenerator<{ path: string; width: number }> {
  if (reader.list === undefined) return;
  for await (const path of reader.list(`${fullPath}.p/`)) {
    const width = path.startsWith(`${fullPath}.p/`) ? parseTilePath(path)?.width : undefined;
    if (width !== undefined && width < tileWidth) yield { path, width };
  }
}
