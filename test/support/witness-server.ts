import { generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { decodeBase64 } from '../../src/core/bytes.js';
import { parseCheckpoint, parseSize } from '../../src/core/checkpoint.js';
import { verifyConsistency } from '../../src/core/consistency-proof.js';
import { cosignedMessage } from '../../src/core/cosignature.js';
import { emptyRoot, type Hash } from '../../src/core/merkle-tree.js';
import { encodeNote, parseNote, verifyNote } from '../../src/core/signed-note.js';
import { type VerifierKey, verifierKeyOf } from '../../src/core/verifier-key.js';
import { findFreePort } from './test-server.js';

/** What the witness does instead of answering by the specification; it still checks and remembers first. */
export type WitnessLie =
  | 'other-root'
  | 'bad-signature'
  | 'old-time'
  | 'future-time'
  | 'other-key'
  | 'no-lines'
  | 'garbage'
  | 'no-answer'
  | 'huge-answer'
  | 'redirect'
  | 'teapot'
  | 'bare-conflict'
  | 'wrong-size'
  | 'repeated-conflict'
  | 'moving-size'
  | 'down';

interface Answer {
  readonly status: number;
  readonly type?: string;
  readonly body?: string;
}

/** What a witness remembers of a log. */
interface WitnessedTree {
  readonly size: number;
  readonly root: Hash;
}

/** A witness of C2SP tlog-witness on loopback, with an Ed25519 key of its own. */
export interface WitnessServer extends AsyncDisposable {
  /** With a path, to see that the client keeps it. */
  readonly url: string;
  readonly key: VerifierKey;
  /** The latest cosigned tree by origin; tests may change it. */
  readonly trees: Map<string, WitnessedTree>;
  /** Old sizes and numbers of proof lines of the requests so far. */
  readonly requests: { oldSize: number; proofLines: number }[];
  /** From now on; null: none. */
  lie(lie: WitnessLie | null): void;
}

const sizeType = 'text/x.tlog.size';

/** A witness for the logs whose keys are given, by origin. `nowSeconds` is its clock. */
export async function startWitness(options: {
  readonly name: string;
  readonly logs: ReadonlyMap<string, VerifierKey>;
  readonly nowSeconds: () => number;
}): Promise<WitnessServer> {
  const { name, logs, nowSeconds } = options;
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const rawKey = Buffer.from(publicKey.export({ format: 'jwk' }).x!, 'base64url');
  const key = verifierKeyOf(name, new Uint8Array(rawKey), 4);
  const trees = new Map<string, WitnessedTree>();
  const requests: { oldSize: number; proofLines: number }[] = [];
  let lie: WitnessLie | null = null;

  /** A cosignature line of a note's text; `by` may be another key's name and id. */
  const cosign = (text: string, seconds: number, by = key) => {
    const time = Buffer.alloc(8);
    time.writeBigUInt64BE(BigInt(seconds));
    const signature = Buffer.concat([time, sign(null, cosignedMessage(text, seconds), privateKey)]);
    if (lie === 'bad-signature') signature[70]! ^= 1;
    const note = encodeNote({ text, signatures: [{ name: by.name, keyId: by.keyId, signature }] });
    return note.slice(text.length + 1);
  };

  const addCheckpoint = (body: string): Answer => {
    const parsed = parseRequest(body);
    if (parsed === null) return { status: 400 };
    const { oldSize, proof, note } = parsed;
    const { text } = note;
    const { origin, size, root } = parseCheckpoint(text);
    requests.push({ oldSize, proofLines: proof.length });
    if (lie === 'down') return { status: 503, body: 'restarting' };
    if (lie === 'teapot') return { status: 418 };
    if (lie === 'bare-conflict') return { status: 409, type: 'text/plain', body: 'conflict' };
    if (lie === 'wrong-size') return { status: 409, type: sizeType, body: '007\n' };
    if (lie === 'moving-size') return { status: 409, type: sizeType, body: `${requests.length}\n` };
    if (lie === 'repeated-conflict') return { status: 409, type: sizeType, body: '1\n' };
    const logKey = logs.get(origin);
    if (logKey === undefined) return { status: 404 };
    if (verifyNote(note, [logKey]).status !== 'verified') return { status: 403 };
    if (oldSize > size) return { status: 400 };
    const latest = trees.get(origin) ?? { size: 0, root: emptyRoot };
    if (oldSize !== latest.size) return { status: 409, type: sizeType, body: `${latest.size}\n` };
    const isSame = oldSize === size && size > 0;
    const grew = { fromSize: oldSize, fromRoot: latest.root, toSize: size, toRoot: root, proof };
    if (isSame && Buffer.compare(latest.root, root) !== 0)
      return { status: 409, type: sizeType, body: `${latest.size}\n` };
    if (!verifyConsistency(grew)) return { status: 422 };
    trees.set(origin, { size, root });
    return { status: 200, type: 'text/plain; charset=utf-8', body: cosignatures(text) };
  };

  const cosignatures = (text: string): string => {
    const now = nowSeconds();
    const stranger = verifierKeyOf('stranger.example/w9', new Uint8Array(32).fill(7), 4);
    const [origin, size] = text.split('\n');
    const otherText = `${origin}\n${size}\n${Buffer.alloc(32).toString('base64')}\n`;
    const lies: Partial<Record<WitnessLie, string>> = {
      'other-root': cosign(otherText, now),
      'old-time': cosign(text, now - 24 * 60 * 60 - 1),
      'future-time': cosign(text, now + 5 * 60 + 1),
      'other-key': cosign(text, now, stranger),
      'no-lines': '',
      garbage: '<html>signed</html>\n',
    };
    // The client must ignore lines of keys it does not know.
    const truth = cosign(text, now, stranger) + cosign(text, now);
    return lie === null ? truth : (lies[lie] ?? truth);
  };

  const port = await findFreePort();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      if (request.method !== 'POST' || request.url !== '/w1/add-checkpoint') return void response.writeHead(405).end();
      const { status, type, body = '' } = addCheckpoint(Buffer.concat(chunks).toString('utf8'));
      if (lie === 'no-answer') return;
      if (lie === 'redirect') return void response.writeHead(307, { location: 'http://127.0.0.1:9/' }).end();
      const answer = lie === 'huge-answer' ? 'x'.repeat(100 * 1024) : body;
      response.writeHead(status, type === undefined ? {} : { 'content-type': type }).end(answer);
    });
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${port}/w1`,
    key,
    trees,
    requests,
    lie: (next) => {
      lie = next;
    },
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

/** The parts of a request; null where it is malformed. */
function parseRequest(body: string) {
  const headEnd = body.indexOf('\n\n');
  const [first = '', ...proofLines] = body.slice(0, headEnd).split('\n');
  if (headEnd < 0 || !first.startsWith('old ') || proofLines.length > 63) return null;
  try {
    const note = parseNote(body.slice(headEnd + 2));
    parseCheckpoint(note.text);
    return { oldSize: parseSize(first.slice(4)), proof: proofLines.map(decodeBase64), note };
  } catch {
    return null;
  }
}
