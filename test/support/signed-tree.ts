import pg from 'pg';
import { concatBytes, encodeUtf8 } from '../../src/core/bytes.js';
import { encodeCheckpoint } from '../../src/core/checkpoint.js';
import { encodeNote } from '../../src/core/signed-note.js';
import { ledgerConnection } from '../../src/db/pool.js';
import { integrateTiles } from '../../src/ledger/integrate-tiles.js';
import { logs, type LogName } from '../../src/ledger/rows.js';
import { MTH, PROOF } from './literal-rfc6962.js';
import { createNoteSigner, type NoteSigner } from './note-signer.js';

/**
 * One log's tiles, checkpoints and daily roots, written as the service would, by a key of its own; roots and proofs are
 * those of the literal RFC 6962 over the stored bodies.
 */
export interface SignedTree extends AsyncDisposable {
  readonly signer: NoteSigner;
  /** Stores every full tile that is not stored yet. */
  integrate(): Promise<void>;
  /** Signs and stores checkpoints of the given sizes; returns the notes. */
  sign(...sizes: readonly number[]): Promise<string[]>;
  /**
   * Seals days in order, `[date, tree size]`, from the empty tree on, and signs what is missing. Days need not be over: takes
   * a superuser's URL, for the guard of new roots is switched off meanwhile.
   */
  seal(...days: readonly (readonly [string, number])[]): Promise<void>;
}

/** A checkpoint's note, signed by those given; its origin is the first one's name. */
export function signNote(size: number, root: Uint8Array, ...signers: readonly NoteSigner[]): string {
  const text = encodeCheckpoint({ origin: signers[0]!.key.name, size, root, extensions: [] });
  return encodeNote({ text, signatures: signers.map((signer) => signer.sign(text)) });
}

/** `url`: of the application, or of a superuser. `seed`: of the key, which the database is told. */
export async function openSignedTree(url: string, log: LogName, seed = 1): Promise<SignedTree> {
  const client = new pg.Client(ledgerConnection(url, 'test'));
  await client.connect();
  const signer = createNoteSigner(`test.example/${log}`, seed);
  await client.query(
    `INSERT INTO public.signing_keys (origin, key_id, log, public_key, sealed_private_key, master_key_id)
     VALUES ($1, $2, $3, $4, '\\x00', 'test') ON CONFLICT DO NOTHING`,
    [signer.key.name, signer.key.keyId, log, Buffer.from(signer.key.publicKey)],
  );
  const readBodies = async () => {
    const found = await client.query<{ body: string }>(
      `SELECT body FROM public.${logs[log].table} ORDER BY chain_index`,
    );
    return found.rows.map(({ body }) => encodeUtf8(body));
  };
  const sign = async (...sizes: readonly number[]) => {
    const bodies = await readBodies();
    const notes: string[] = [];
    for (const size of sizes) {
      const root = MTH(bodies.slice(0, size));
      notes.push(signNote(size, root, signer));
      await client.query(
        `INSERT INTO public.checkpoints (log, tree_size, root_hash, note) VALUES ($1, $2, $3, $4)
         ON CONFLICT DO NOTHING`,
        [log, size, Buffer.from(root), notes.at(-1)],
      );
    }
    return notes;
  };
  return {
    signer,
    integrate: async () => void (await integrateTiles(client, log, (await readBodies()).length, 1_000_000)),
    sign,
    seal: async (...days) => {
      const bodies = await readBodies();
      let before = 0;
      const guard = 'TRIGGER guard_new_merkle_root_trigger';
      await client.query(`SET event_triggers = off; ALTER TABLE public.merkle_roots DISABLE ${guard}`);
      for (const [date, size] of days) {
        await sign(size);
        const proof = before === 0 ? [] : PROOF(before, bodies.slice(0, size));
        await client.query(
          `INSERT INTO public.merkle_roots (log, date, tree_size, entries_of_day, consistency_proof, sealed_by)
           VALUES ($1, $2, $3, $4, $5, 'test')`,
          [log, date, size, size - before, Buffer.from(concatBytes(...proof))],
        );
        before = size;
      }
      await client.query(`ALTER TABLE public.merkle_roots ENABLE ALWAYS ${guard}; RESET event_triggers`);
    },
    [Symbol.asyncDispose]: () => client.end(),
  };
}
