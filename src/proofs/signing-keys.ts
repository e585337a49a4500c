import { createPrivateKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import type { Logger } from 'pino';
import type { Append } from '../access/request-calls.js';
import { isKeyOutOfReach, type Rewrapping, type RootKey, type WrappedKeys } from '../access/root-key.js';
import { encodeHex } from '../core/bytes.js';
import { encodeCanonicalJson } from '../core/canonical-json.js';
import { encodeVerifierKey, verifierKeyOf, type VerifierKey } from '../core/verifier-key.js';
import type { NoteSignature } from '../core/signed-note.js';
import { sqlState } from '../db/admin-connection.js';
import { DaybookError } from '../errors.js';
import { serviceEntry } from '../ledger/new-entries.js';
import type { Queryable } from '../ledger/read-entries.js';
import { logNames, type LogName } from '../ledger/rows.js';

/** PKIX form of an Ed25519 public key: this many bytes precede the 32 raw ones. */
const publicKeyPrefixBytes = 12;
const uniqueViolation = '23505';
/** Other nodes make and end keys: what this one knows is so old at most when it signs, in milliseconds. */
const freshMs = 1_000;
/** A key that could not be opened is tried again after so long, in milliseconds. */
const reopenMs = 5_000;

/** A key as everybody may see it. Times are RFC 3339; `validUntil` is null while it signs. */
export interface PublishedKey {
  readonly log: LogName;
  readonly verifierKey: VerifierKey;
  readonly validFrom: string;
  readonly validUntil: string | null;
}

interface KeyRow {
  readonly origin: string;
  readonly key_id: string;
  readonly log: LogName;
  readonly public_key: string;
  readonly sealed_private_key: string;
  readonly master_key_id: string;
  readonly valid_from: string;
  readonly valid_until: string | null;
}

const selectKeys = `SELECT origin, key_id, log, public_key, sealed_private_key, master_key_id, valid_from, valid_until
  FROM public.signing_keys`;

/** What signing keys need. `root` seals the private keys. `origin`: first part of each log's name. */
export interface SigningKeyOptions {
  readonly database: Queryable;
  readonly append: Append;
  readonly root: RootKey;
  readonly origin: string;
  readonly log: Logger;
}

/** A key that this node could not open, and until when it is not tried again. */
interface ClosedKey {
  readonly reason: DaybookError;
  readonly untilMs: number;
}

/** The logs' Ed25519 keys: made on first start, opened with the root key, held in memory as key objects only. */
export class SigningKeys implements WrappedKeys {
  readonly #options: SigningKeyOptions;
  #signers = new Map<LogName, readonly { readonly key: VerifierKey; readonly privateKey: KeyObject }[]>();
  #published: readonly PublishedKey[] = [];
  #closed = new Map<string, ClosedKey>();
  #readAtMs = -Infinity;
  /** Readings follow each other, so that an older one never replaces a newer. */
  #reading: Promise<void> = Promise.resolve();
  /** Keys under another name that were reported already. */
  readonly #strangers = new Set<string>();

  private constructor(options: SigningKeyOptions) {
    this.#options = options;
  }

  /**
   * Reads the keys, and makes those that are missing, each with its SigningKeyCreated entry in one transaction. Nodes that
   * start together make one. Throws CONFIG_INVALID where a key of another origin signs the ledger.
   */
  static async open(options: SigningKeyOptions): Promise<SigningKeys> {
    const keys = new SigningKeys(options);
    await keys.refresh();
    for (const log of logNames) if (!keys.#published.some((key) => key.log === log)) await keys.#create(log);
    return keys;
  }

  /** Every key of both logs, oldest first. */
  get published(): readonly PublishedKey[] {
    return this.#published;
  }

  /** Whether checkpoints of a log are to be signed with this key, as far as this node knows. */
  isSigning(log: LogName, keyId: string): boolean {
    return this.#published.some((key) => key.log === log && key.verifierKey.keyId === keyId && key.validUntil === null);
  }

  /** The keys that checkpoints of a log may be signed with, old ones included. */
  verifiersOf(log: LogName): VerifierKey[] {
    return this.#published.filter((key) => key.log === log).map((key) => key.verifierKey);
  }

  /** Ends a key: signatures made later than now are not the log's, earlier ones stay good. Its private part is destroyed. */
  async end(keyId: string, origin: string): Promise<void> {
    await this.#options.database.query(
      `UPDATE public.signing_keys SET valid_until = clock_timestamp(), sealed_private_key = ''
       WHERE origin = $1 AND key_id = $2 AND valid_until IS NULL`,
      [origin, keyId],
    );
    await this.refresh();
  }

  originOf(log: LogName): string {
    return `${this.#options.origin}/${log}`;
  }

  /** False where this node's root key opens none of the log's keys: another node has to sign. */
  canSign(log: LogName): boolean {
    return (this.#signers.get(log)?.length ?? 0) > 0;
  }

  /** Signatures of all keys that sign now, over the text of a note. Throws SIGNING_UNAVAILABLE where there is none. */
  sign(log: LogName, text: string): NoteSignature[] {
    const signers = this.#signers.get(log) ?? [];
    if (signers.length === 0) throw this.#lockedError(log);
    return signers.map(({ key, privateKey }) => ({
      name: key.name,
      keyId: key.keyId,
      signature: sign(null, Buffer.from(text), privateKey),
    }));
  }

  /** Reads the keys anew, through `database`, where they were last read a while ago. */
  async refreshOld(database: Queryable): Promise<void> {
    if (performance.now() - this.#readAtMs > freshMs) await this.refresh(database);
  }

  /** Reads the keys anew: another node may have made or ended some. */
  refresh(database: Queryable = this.#options.database): Promise<void> {
    const reading = this.#reading.then(() => this.#read(database));
    this.#reading = reading.catch(() => undefined);
    return reading;
  }

  async #read(database: Queryable): Promise<void> {
    const readAtMs = performance.now();
    const found = await database.query<KeyRow>(`${selectKeys} ORDER BY valid_from, key_id`);
    const signers = new Map<LogName, { key: VerifierKey; privateKey: KeyObject }[]>();
    const closed = new Map<string, ClosedKey>();
    const ours = found.rows.filter((row) => this.#isOurs(row));
    const published: PublishedKey[] = [];
    for (const row of ours) {
      const key = verifierKeyOf(row.origin, Uint8Array.from(Buffer.from(row.public_key, 'hex')));
      published.push({ log: row.log, verifierKey: key, validFrom: row.valid_from, validUntil: row.valid_until });
      if (row.valid_until !== null) continue;
      const opened = await this.#open(row, key);
      if ('reason' in opened) closed.set(row.key_id, opened);
      else signers.set(row.log, [...(signers.get(row.log) ?? []), { key, privateKey: opened.privateKey }]);
    }
    this.#published = published;
    this.#signers = signers;
    this.#closed = closed;
    this.#readAtMs = readAtMs;
  }

  /** Keys that are open already are not opened again, and those that could not be opened only after a pause. */
  async #open(row: KeyRow, key: VerifierKey): Promise<{ readonly privateKey: KeyObject } | ClosedKey> {
    const known = this.#signers.get(row.log)?.find((signer) => signer.key.keyId === key.keyId);
    if (known !== undefined) return known;
    const before = this.#closed.get(row.key_id);
    if (before !== undefined && performance.now() < before.untilMs) return before;
    try {
      const opened = await this.#unwrap(row);
      try {
        return { privateKey: openPrivateKey(opened) };
      } finally {
        opened.fill(0);
      }
    } catch (error) {
      if (!isKeyOutOfReach(error)) throw error;
      if (before?.reason.code !== error.code) {
        this.#options.log.error({ key: row.key_id, log: row.log }, `a signing key cannot be opened: ${error.message}`);
      }
      return { reason: error, untilMs: performance.now() + reopenMs };
    }
  }

  #unwrap({
    origin,
    key_id: keyId,
    sealed_private_key: sealed,
    master_key_id: rootKeyId,
  }: KeyRow): Promise<Uint8Array> {
    return this.#options.root.unwrap({ wrapped: Buffer.from(sealed, 'hex'), rootKeyId }, contextOf(origin, keyId));
  }

  /** Unwraps a stored key now, though it may be open already. Throws what the root key throws. */
  async checkStored(keyId: string): Promise<void> {
    const found = await this.#options.database.query<KeyRow>(`${selectKeys} WHERE key_id = $1`, [keyId]);
    for (const row of found.rows.filter((each) => this.#isOurs(each))) (await this.#unwrap(row)).fill(0);
  }

  async rewrapAll(): Promise<readonly Rewrapping[]> {
    const { root, database } = this.#options;
    const to = await root.id();
    const found = await database.query<KeyRow>(
      `${selectKeys} WHERE valid_until IS NULL AND master_key_id <> $1 ORDER BY key_id`,
      [to],
    );
    const rewrapped: Rewrapping[] = [];
    for (const row of found.rows) {
      const pkcs8 = await this.#unwrap(row);
      try {
        rewrapped.push(await rewrapRow(root, row, pkcs8));
      } finally {
        pkcs8.fill(0);
      }
    }
    return rewrapped;
  }

  /**
   * A key of another origin that has ended never signed for this ledger: it is reported once, and neither published nor
   * trusted. Throws CONFIG_INVALID for one that signs.
   */
  #isOurs({ origin, log, key_id: keyId, valid_until: validUntil }: KeyRow): boolean {
    if (origin === this.originOf(log)) return true;
    if (validUntil === null) {
      throw new DaybookError(
        'CONFIG_INVALID',
        `this ledger was begun as ${origin}: set DAYBOOK_ORIGIN to ${origin.replace(/\/[^/]*$/, '')}`,
      );
    }
    const name = `${origin} ${keyId}`;
    if (!this.#strangers.has(name)) {
      this.#options.log.error({ origin, key: keyId, log }, 'a signing key of another origin is stored: it is ignored');
      this.#strangers.add(name);
    }
    return false;
  }

  /** A private key and its public half, not stored. `pkcs8` is for the caller to overwrite. */
  makeKey(log: LogName): { readonly key: VerifierKey; readonly pkcs8: Buffer } {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const rawPublic = publicKey.export({ format: 'der', type: 'spki' }).subarray(publicKeyPrefixBytes);
    const key = verifierKeyOf(this.originOf(log), Uint8Array.from(rawPublic));
    return { key, pkcs8: privateKey.export({ format: 'der', type: 'pkcs8' }) };
  }

  async #create(log: LogName): Promise<void> {
    const { key, pkcs8 } = this.makeKey(log);
    await this.store(log, key, pkcs8, 1);
    this.#options.log.info(
      { verifierKey: encodeVerifierKey(key) },
      `the ${log} log has a signing key, which auditors pin`,
    );
  }

  /**
   * Stores a key with its SigningKeyCreated entry: from then on every node that refreshes signs with it, beside the one
   * before. Of one generation there is one key: where it is there already, nothing happens.
   */
  async store(log: LogName, key: VerifierKey, pkcs8: Uint8Array, generation: number): Promise<void> {
    const { append, root } = this.#options;
    const { wrapped, rootKeyId } = await root.wrap(pkcs8, contextOf(key.name, key.keyId));
    const entry = serviceEntry({
      category: 'SECRET',
      event: 'SigningKeyCreated',
      action: 'CREATE',
      resource: `signing-key/${key.keyId}`,
      details: encodeCanonicalJson({ log, verifierKey: encodeVerifierKey(key) }),
    });
    try {
      await append({
        entries: [entry],
        alongside: async (client) => {
          await client.query(
            `INSERT INTO public.signing_keys
               (origin, key_id, log, public_key, sealed_private_key, master_key_id, generation)
             VALUES ($1, $2, $3, decode($4, 'hex'), decode($5, 'hex'), $6, $7)`,
            [
              key.name,
              key.keyId,
              log,
              encodeHex(key.publicKey),
              Buffer.from(wrapped).toString('hex'),
              rootKeyId,
              generation,
            ],
          );
        },
      });
    } catch (error) {
      // Another node made it in the meantime.
      if (sqlState(error) !== uniqueViolation) throw error;
    }
    await this.refresh();
  }

  #lockedError(log: LogName): DaybookError {
    const keys = this.#published.filter((key) => key.log === log).map((key) => key.verifierKey.keyId);
    const closed = keys.map((keyId) => this.#closed.get(keyId)).find((one) => one !== undefined);
    const why = closed === undefined ? 'there is none that has not ended' : closed.reason.message;
    return new DaybookError('SIGNING_UNAVAILABLE', `no signing key of the ${log} log is open on this node: ${why}`);
  }
}

/** Without a copy of the bytes, which the caller overwrites. */
export function openPrivateKey(pkcs8: Uint8Array): KeyObject {
  const key = Buffer.from(pkcs8.buffer, pkcs8.byteOffset, pkcs8.byteLength);
  return createPrivateKey({ key, format: 'der', type: 'pkcs8' });
}

async function rewrapRow(root: RootKey, row: KeyRow, pkcs8: Uint8Array): Promise<Rewrapping> {
  const { origin, key_id: keyId, sealed_private_key: sealed, master_key_id: from } = row;
  const { wrapped, rootKeyId: to } = await root.wrap(pkcs8, contextOf(origin, keyId));
  return {
    key: `signing-key/${keyId}`,
    from,
    to,
    store: async (client) => {
      const { rowCount } = await client.query(
        `UPDATE public.signing_keys SET sealed_private_key = decode($1, 'hex'), master_key_id = $2
         WHERE origin = $3 AND key_id = $4 AND master_key_id = $5 AND sealed_private_key = decode($6, 'hex')`,
        [Buffer.from(wrapped).toString('hex'), to, origin, keyId, from, sealed],
      );
      return rowCount === 1;
    },
  };
}

function contextOf(origin: string, keyId: string): string {
  return `signing-key ${origin} ${keyId}`;
}
