import { tileWidth } from './tile-path.js';

/** Bundles of entries as they are served (C2SP tlog-tiles, "Log entries"): each body behind its length, uint16 big-endian. */

/** What the length's 16 bits can say. */
export const bodyBytesMax = 65_535;

/** Up to 256 bodies of at most 65,535 bytes. Throws RangeError for more. */
export function encodeEntryBundle(bodies: readonly Uint8Array[]): Uint8Array {
  if (bodies.length > tileWidth) throw new RangeError(`a bundle holds at most ${tileWidth} entries`);
  if (bodies.some((body) => body.length > bodyBytesMax))
    throw new RangeError(`a body has at most ${bodyBytesMax} bytes`);
  const bundle = new Uint8Array(bodies.reduce((length, body) => length + 2 + body.length, 0));
  const view = new DataView(bundle.buffer);
  let place = 0;
  for (const body of bodies) {
    view.setUint16(place, body.length);
    bundle.set(body, place + 2);
    place += 2 + body.length;
  }
  return bundle;
}

/** The bodies, as views into `bytes`. Throws SyntaxError for a bundle that is cut off or holds more than 256. */
export function decodeEntryBundle(bytes: Uint8Array): Uint8Array[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const bodies: Uint8Array[] = [];
  for (let place = 0; place < bytes.length;) {
    if (bodies.length === tileWidth) throw new SyntaxError(`the bundle holds more than ${tileWidth} entries`);
    const begin = place + 2;
    const end = begin > bytes.length ? Infinity : begin + view.getUint16(place);
    if (end > bytes.length) throw new SyntaxError(`the bundle ends within entry ${bodies.length}`);
    bodies.push(bytes.subarray(begin, end));
    place = end;
  }
  return bodies;
}
