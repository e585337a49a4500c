import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import type { PackEncoding } from '../../src/core/pack-encoding.js';
import { ledgerConnection } from '../../src/db/pool.js';
import { makePack } from '../sample-packs.js';
import { answerParent } from './answer-parent.js';

export interface PackMemoryOptions {
  readonly url: string;
  readonly entries: number;
  readonly encoding: PackEncoding;
}

/** Makes one pack. The answer is the most memory that this process has held, in MiB. */
async function peakOf({ url, entries, encoding }: PackMemoryOptions): Promise<number> {
  const client = new pg.Client(ledgerConnection(url, 'daybook bench'));
  const folder = await mkdtemp(join(tmpdir(), 'daybook-bench-packs-'));
  try {
    await client.connect();
    await makePack({ url, client, folder }, entries, encoding);
    return process.resourceUsage().maxRSS / 1024;
  } finally {
    await client.end();
    await rm(folder, { recursive: true, force: true });
  }
}

answerParent({ peakOf }, new AsyncDisposableStack());
