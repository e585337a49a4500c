/**
 * How the files of an evidence pack are stored: as they are, compressed, encrypted, or both (docs/packs.md). What is signed
 * names the bytes before and after, so that the stored bytes can be checked by anybody and what is in them by its readers.
 */
export interface PackEncoding {
  readonly compression: 'none' | 'gzip';
  /** age public keys, sorted. Empty: nothing is encrypted. */
  readonly recipients: readonly string[];
}

export const plainEncoding: PackEncoding = { compression: 'none', recipients: [] };

/** One step of an encoding, in the order in which they are applied. */
const codings = ['gzip', 'age'] as const;
export type PackCoding = (typeof codings)[number];

const suffixes: Readonly<Record<PackCoding, string>> = { gzip: '.gz', age: '.age' };

/** Undoes one coding. Throws SyntaxError for bytes that are not of it, SealedFileError where no key fits. */
export type PackDecoder = (bytes: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;

/** What can be undone here. */
export type PackDecoders = Readonly<Partial<Record<PackCoding, PackDecoder>>>;

/** The file is encrypted to none of the keys at hand: nothing can be said about what is in it. */
export class SealedFileError extends Error {
  override readonly name = 'SealedFileError';
}

/** What was done to a file. Tree heads are published anyway: they stay readable, so that whoever cannot decrypt checks them. */
export function codingsOf(name: string, { compression, recipients }: PackEncoding): readonly PackCoding[] {
  if (name.endsWith('.checkpoint')) return [];
  return codings.filter((coding) => (coding === 'gzip' ? compression === 'gzip' : recipients.length > 0));
}

/** The name under which a file lies after these codings. */
export function encodedName(name: string, done: readonly PackCoding[]): string {
  return name + done.map((coding) => suffixes[coding]).join('');
}

/**
 * The plain bytes; null where one of the codings cannot be undone here. Reading them throws what the decoders throw.
 */
export function decodeFile(
  bytes: AsyncIterable<Uint8Array>,
  done: readonly PackCoding[],
  decoders: PackDecoders,
): AsyncIterable<Uint8Array> | null {
  let plain = bytes;
  for (const coding of done.toReversed()) {
    const decode = decoders[coding];
    if (decode === undefined) return null;
    plain = decode(plain);
  }
  return plain;
}

export function isPackEncoding(value: unknown): value is PackEncoding {
  if (typeof value !== 'object' || value === null) return false;
  const { compression, recipients } = value as Readonly<Record<string, unknown>>;
  return (
    (compression === 'none' || compression === 'gzip') &&
    Array.isArray(recipients) &&
    recipients.every((each) => typeof each === 'string')
  );
}
