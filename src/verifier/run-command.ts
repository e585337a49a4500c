import { createReadStream } from 'node:fs';
import { decodeUtf8, encodeHex } from '../core/bytes.js';
import { encodeVerifierKey, parseVerifierKey, type VerifierKey } from '../core/verifier-key.js';
import { verifyTlogProof, type Trust } from '../core/verify-tlog-proof.js';
import type { CommandLine } from './command-line.js';
import { exitCodeOf, RunError } from './exit-codes.js';
import type { LayoutReader } from './layout-reader.js';
import { ProgressLine } from './progress-line.js';
import { readFolder } from './read-folder.js';
import { readHttp } from './read-http.js';
import { judgeHeadBytes } from './read-note.js';
import { describeGrowth, describeHead, describeLayout, describeProof } from './report.js';
import { verifyGrowth } from './verify-growth.js';
import { verifyLayout } from './verify-layout.js';
import { describePacks, exitCodeOfPacks, jsonOfPacks, verifyPacks } from './verify-packs.js';

/** Of a file that the auditor names: above every valid note, proof, key file and body. */
const fileBytesMax = 2_000_000;

/** What a command found: for people, for programs, and for the shell. */
export interface Outcome {
  readonly text: string;
  readonly json: unknown;
  /** One of exitCodes, or of packExitCode. */
  readonly exitCode: number;
}

/** Runs one command. Throws RunError and LayoutReadError when it cannot run to its end, and the signal's reason. */
export async function runCommand(line: CommandLine, signal: AbortSignal): Promise<Outcome> {
  const keys = await readKeys(line);
  const trust: Trust = line.origin === undefined ? { keys } : { keys, origin: line.origin };
  switch (line.command) {
    case 'log':
      return runLog(line, trust, signal);
    case 'proof':
      return runProof(line, trust);
    case 'checkpoint':
      return runCheckpoint(line, trust);
    case 'consistency':
      return runConsistency(line, trust, signal);
    case 'pack':
      return runPack(line, keys);
  }
}

async function runLog(line: CommandLine, trust: Trust, signal: AbortSignal): Promise<Outcome> {
  const earlierCheckpoints = await Promise.all(line.earlier.map(readTextFile));
  const reader = await openLayout(line.operands[0] ?? '', line, signal);
  const progress = new ProgressLine(process.stderr);
  try {
    const onProgress = progress.update.bind(progress);
    const found = await verifyLayout({ ...trust, reader, earlierCheckpoints, onProgress, signal });
    const isIntact = found.breakCount === 0;
    const exitCode = exitCodeOf(isIntact, found.signer);
    return { text: describeLayout(found), json: { intact: isIntact, ...found }, exitCode };
  } finally {
    progress.stop();
  }
}

async function runProof(line: CommandLine, trust: Trust): Promise<Outcome> {
  const [proof, body] = await Promise.all([readTextFile(line.operands[0] ?? ''), readInput(line.entry ?? '')]);
  const verdict = verifyTlogProof({ ...trust, proof, body });
  if (!verdict.valid) {
    // The commonest mistake: an editor or a shell appended what no body ends in.
    const hint = verdict.code === 'NOT_INCLUDED' && body.at(-1) === 0x0a ? '; the file ends in a line break' : '';
    const refused = { ...verdict, message: verdict.message + hint };
    return { text: describeProof(refused), json: refused, exitCode: exitCodeOf(false, 'not-pinned') };
  }
  const { root, leafHash, signedBy, cosigners, ...rest } = verdict;
  const json = {
    ...rest,
    rootHash: encodeHex(root),
    verificationHash: encodeHex(leafHash),
    signedBy: signedBy.map(encodeVerifierKey),
    cosigners: cosigners.map(({ key, seconds }) => ({ key: encodeVerifierKey(key), seconds })),
  };
  return { text: describeProof(verdict), json, exitCode: exitCodeOf(true, verdict.signer) };
}

async function runCheckpoint(line: CommandLine, trust: Trust): Promise<Outcome> {
  const head = judgeHeadBytes(await readInput(line.operands[0] ?? ''), trust);
  const { checkpoint, signer, signedBy, cosigners, faults } = head;
  const isIntact = faults.length === 0;
  const json = {
    valid: isIntact,
    origin: checkpoint?.origin ?? null,
    size: checkpoint?.size ?? null,
    rootHash: checkpoint === null ? null : encodeHex(checkpoint.root),
    signer,
    signedBy: signedBy.map(encodeVerifierKey),
    cosigners: cosigners.map(({ key, seconds }) => ({ key: encodeVerifierKey(key), seconds })),
    faults,
  };
  return { text: describeHead(head), json, exitCode: exitCodeOf(isIntact, signer) };
}

async function runConsistency(line: CommandLine, trust: Trust, signal: AbortSignal): Promise<Outcome> {
  const earlier = await readTextFile(line.operands[0] ?? '');
  const reader = await openLayout(line.operands[1] ?? '', line, signal);
  const verdict = await verifyGrowth({ ...trust, earlier, reader });
  const signer = verdict.consistent ? verdict.signer : 'not-pinned';
  return { text: describeGrowth(verdict), json: verdict, exitCode: exitCodeOf(verdict.consistent, signer) };
}

async function runPack(line: CommandLine, keys: readonly VerifierKey[]): Promise<Outcome> {
  const found = await verifyPacks(line.operands[0] ?? '', keys);
  return { text: describePacks(found), json: jsonOfPacks(found), exitCode: exitCodeOfPacks(found) };
}

async function openLayout(place: string, line: CommandLine, signal: AbortSignal): Promise<LayoutReader> {
  const isUrl = /^https?:\/\//i.test(place);
  if (!isUrl && line.apiKeyFile !== undefined) throw new RunError('USAGE', 'a folder needs no --api-key-file');
  if (!isUrl) return readFolder(place);
  const apiKey = line.apiKeyFile === undefined ? undefined : (await readTextFile(line.apiKeyFile)).trim();
  if (apiKey !== undefined && !/^[\x21-\x7e]+$/.test(apiKey)) {
    throw new RunError('USAGE', `${line.apiKeyFile} does not hold one key`);
  }
  return readHttp(apiKey === undefined ? { url: place, signal } : { url: place, apiKey, signal });
}

/** Keys of the command line and of files, in which empty lines and those after `#` are left out. */
async function readKeys({ keys, keyFiles }: CommandLine): Promise<VerifierKey[]> {
  const files = await Promise.all(keyFiles.map(readTextFile));
  const listed = files.flatMap((text) => text.split('\n').map((each) => each.trim()));
  return [...keys, ...listed.filter((each) => each !== '' && !each.startsWith('#'))].map((text) => {
    try {
      return parseVerifierKey(text);
    } catch (err) {
      throw new RunError('USAGE', `${text} is not a verifier key: ${(err as Error).message}`);
    }
  });
}

async function readTextFile(path: string): Promise<string> {
  const bytes = await readInput(path);
  try {
    return decodeUtf8(bytes);
  } catch {
    throw new RunError('FILE_UNREADABLE', `${path} is not UTF-8`);
  }
}

/** A file that the auditor names; it may be a pipe. */
async function readInput(path: string): Promise<Uint8Array> {
  const parts: Buffer[] = [];
  let length = 0;
  try {
    for await (const part of createReadStream(path)) {
      parts.push(part as Buffer);
      length += (part as Buffer).length;
      if (length > fileBytesMax) throw new RangeError(`it has more than ${fileBytesMax} bytes`);
    }
  } catch (err) {
    throw new RunError('FILE_UNREADABLE', `${path} cannot be read: ${(err as Error).message}`);
  }
  return new Uint8Array(Buffer.concat(parts));
}
