import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { build, type Plugin } from 'esbuild';
import { decodeUtf8 } from '../../src/core/bytes.js';
import { encodeVerifierKey } from '../../src/core/verifier-key.js';
import { bodies, origin, signer } from '../support/sample-layout.js';
import { startStaticFileServer } from '../support/static-file-server.js';
import { proofFile } from '../support/static-layout.js';

const root = join(import.meta.dirname, '../..');
const chromium = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(existsSync);

/** What the field `browser` of package.json does for a build of the package. */
const browserDigest: Plugin = {
  name: 'browser-digest',
  setup(bundle) {
    const path = join(root, 'src/core/digest.browser.ts');
    bundle.onResolve({ filter: /\/digest\.js$/ }, () => ({ path }));
  },
};

async function bundleForBrowser(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [join(root, 'src/client/verify-entry.ts')],
    bundle: true,
    platform: 'browser',
    format: 'esm',
    write: false,
    plugins: [browserDigest],
    logLevel: 'silent',
  });
  return outputFiles[0]!.text;
}

/** Verifies the entry of right.json and the altered one of wrong.json, and writes the verdicts into the document. */
const page = `<!doctype html><meta charset="utf-8"><title>verify</title><pre id="verdicts">none</pre>
<script type="module">
  import { verifyEntry } from './verify-entry.js';
  const verdicts = await Promise.all(
    ['right', 'flipped-body', 'flipped-proof', 'flipped-signature'].map(async (name) => {
      try {
        return verifyEntry(await (await fetch('./' + name + '.json')).json());
      } catch (err) {
        return String(err);
      }
    }),
  );
  document.getElementById('verdicts').textContent = JSON.stringify(verdicts);
</script>`;

function flipLetter(text: string, place: number): string {
  return text.slice(0, place) + (text[place] === 'A' ? 'B' : 'A') + text.slice(place + 1);
}

function dumpDocument(browser: string, url: string, profile: string): Promise<string> {
  const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'];
  // Virtual time holds the dump back until the page's requests are answered.
  const args = [...flags, `--user-data-dir=${profile}`, '--virtual-time-budget=20000', '--dump-dom', url];
  return new Promise((resolve, reject) => {
    execFile(
      browser,
      args,
      { timeout: 50_000, env: { HOME: profile, PATH: process.env['PATH'] } },
      (err, stdout, stderr) => {
        if (err === null) resolve(stdout);
        else reject(new Error(`${err.message}\n${stderr}`));
      },
    );
  });
}

test('the bundle for browsers holds nothing of Node', async () => {
  const bundle = await bundleForBrowser();
  expect(bundle).not.toMatch(/\bfrom\s*"(node:)?crypto"|\brequire\(|\bBuffer\b|\bprocess\./);
  expect(bundle).toContain('verifyEntry');
});

const inBrowser = chromium === undefined ? test.skip : test;
if (chromium === undefined)
  process.stderr.write('SKIPPED: no chromium at /usr/bin: proofs are not verified in a browser\n');

inBrowser('a browser accepts a right proof and refuses it with one letter changed', async () => {
  const index = 257;
  const proof = proofFile(signer, bodies, index);
  const options = {
    body: decodeUtf8(bodies[index]!),
    tlogProof: proof,
    verifierKeys: [encodeVerifierKey(signer.key)],
    origin,
  };
  const hashes = proof.indexOf('index 257\n') + 'index 257\n'.length;
  const files = new Map([
    ['index.html', page],
    ['verify-entry.js', await bundleForBrowser()],
    ['right.json', JSON.stringify(options)],
    [
      'flipped-body.json',
      JSON.stringify({ ...options, body: flipLetter(options.body, options.body.indexOf('order-257')) }),
    ],
    ['flipped-proof.json', JSON.stringify({ ...options, tlogProof: flipLetter(proof, hashes) })],
    ['flipped-signature.json', JSON.stringify({ ...options, tlogProof: flipLetter(proof, proof.length - 10) })],
  ]);
  const profile = await mkdtemp(join(tmpdir(), 'daybook-chromium-'));
  try {
    await using server = await startStaticFileServer({ files });
    const document = await dumpDocument(chromium!, `${server.url}/index.html`, profile);
    const verdicts: unknown = JSON.parse(/<pre id="verdicts">(.*?)<\/pre>/s.exec(document)?.[1] ?? 'null');
    expect(verdicts).toMatchObject([
      { valid: true, origin, index, treeSize: 700 },
      { valid: false, code: 'NOT_INCLUDED' },
      { valid: false, code: 'NOT_INCLUDED' },
      { valid: false, code: 'BAD_SIGNATURE' },
    ]);
  } finally {
    await rm(profile, { recursive: true, maxRetries: 5 });
  }
});
