import DataLoader from 'dataloader';
import type { RequestContext } from '../access/request-context.js';
import { readAnchors, type AnchorRow, type MerkleRootRow } from './read-merkle-roots.js';

const rootsPerReadMax = 1_000;

/** One loader for each request, gone with it. */
const loaders = new WeakMap<RequestContext, DataLoader<MerkleRootRow, AnchorRow[]>>();

/** The anchors of a root; those of all roots in a page are read by one query. */
export function readAnchorsOf(context: RequestContext, root: MerkleRootRow): Promise<AnchorRow[]> {
  const known = loaders.get(context) ?? createLoader(context);
  loaders.set(context, known);
  return known.load(root);
}

function createLoader(context: RequestContext): DataLoader<MerkleRootRow, AnchorRow[]> {
  return new DataLoader<MerkleRootRow, AnchorRow[]>(
    async (roots) => {
      const anchors = await readAnchors(context.services.database, roots);
      return roots.map(({ log, date }) => anchors.filter((anchor) => anchor.log === log && anchor.date === date));
    },
    { maxBatchSize: rootsPerReadMax },
  );
}
