import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { encodeTimestampRequest } from '../../src/anchors/timestamp-authority.js';
import { decodeUtf8, encodeUtf8 } from '../../src/core/bytes.js';
import { sha256 } from '../../src/core/digest.js';
import { parseNote } from '../../src/core/signed-note.js';
import { flipBit } from '../support/flip-bits.js';
import { codesOf, createLayoutFolders, intact, verifyFolder } from '../support/sample-layout.js';
import { createTimestampIssuer } from '../support/timestamp-issuer.js';

const page = readFileSync('docs/verification.md', 'utf8');
const commands = /```sh\n(.*?)```/s.exec(page)![1]!;
const root = 'roots/2026-03-02.checkpoint';

/** Runs what the page says in a folder with the layout; answers what it printed. */
async function runPage(folder: string): Promise<string> {
  const { stdout, stderr } = await promisify(execFile)('sh', ['-ec', commands], { cwd: folder });
  return stdout + stderr;
}

test("the page's commands check a day's timestamp with OpenSSL, and refuse that of another head", async () => {
  await using issuer = await createTimestampIssuer();
  await using folders = await createLayoutFolders();
  const { text } = parseNote(decodeUtf8(intact.get(root)!));
  const response = await issuer.reply(encodeTimestampRequest(sha256(encodeUtf8(text)), 7n));
  const stamped = new Map(intact).set(root.replace('checkpoint', 'tsr'), response);

  const folder = await folders.write(stamped);
  await copyFile(issuer.rootFile, join(folder, 'authority.pem'));
  const printed = await runPage(folder);
  expect(printed).toContain('Verification: OK');
  expect(printed).toContain('Time stamp:');
  const found = await verifyFolder(folder);
  expect(codesOf(found)).toEqual([]);
  expect(found.roots.timestamped).toBe(1);
  expect(found.notChecked.join('\n')).toContain('openssl ts -verify');

  const other = await folders.write(new Map(stamped).set(root, flipBit(intact.get(root)!, 8)));
  await copyFile(issuer.rootFile, join(other, 'authority.pem'));
  await expect(runPage(other)).rejects.toMatchObject({ code: 1 });
});
