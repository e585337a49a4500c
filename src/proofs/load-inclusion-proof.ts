import DataLoader from 'dataloader';
import type { RequestContext } from '../access/request-context.js';
import { DaybookError } from '../errors.js';
import { toDaybookError } from '../ledger/database-errors.js';
import type { LogName } from '../ledger/rows.js';
import './proof-services.js';
import { proveInclusions, type InclusionProof } from './prove.js';

/** Proofs of one read: a page of the largest size. */
const proofsPerReadMax = 1_000;

/** Sizes that one request may prove under: each costs a page of proofs of its own. */
const sizesMax = 4;

/** Which proof: `treeSize` null for the newest checkpoint that covers the entry. */
export interface ProofRequest {
  readonly log: LogName;
  readonly index: number;
  readonly treeSize: number | null;
}

/** One loader for each request, gone with it. */
const loaders = new WeakMap<RequestContext, DataLoader<ProofRequest, InclusionProof, string>>();

/** The proof of an entry; those that a page asks for are read together. Throws as proveInclusion. */
export function loadInclusionProof(context: RequestContext, request: ProofRequest): Promise<InclusionProof> {
  const known = loaders.get(context) ?? createLoader(context);
  loaders.set(context, known);
  return known.load(request);
}

function createLoader(context: RequestContext): DataLoader<ProofRequest, InclusionProof, string> {
  const nameOf = ({ log, index, treeSize }: ProofRequest) => `${log} ${index} ${treeSize ?? 'newest'}`;
  return new DataLoader<ProofRequest, InclusionProof, string>(
    async (requests) => {
      const results = new Map<string, InclusionProof | Error>();
      const groups = Map.groupBy(requests, ({ log, treeSize }) => `${log} ${treeSize ?? 'newest'}`);
      if (groups.size > sizesMax) {
        const refusal = new DaybookError(
          'QUERY_TOO_COMPLEX',
          `proofs of more than ${sizesMax} tree sizes in one request: ask for them one after another`,
        );
        return requests.map(() => refusal);
      }
      for (const group of groups.values()) {
        const proofs = await proveGroup(context, group);
        group.forEach((request, place) =>
          results.set(nameOf(request), proofs[place] ?? new Error('no proof was made')),
        );
      }
      return requests.map((request) => results.get(nameOf(request)) ?? new Error('no proof was made'));
    },
    { maxBatchSize: proofsPerReadMax, cacheKeyFn: nameOf },
  );
}

/** The proofs of requests with one log and size; an error that concerns them all stands in every place. */
async function proveGroup(
  context: RequestContext,
  group: readonly ProofRequest[],
): Promise<(InclusionProof | Error)[]> {
  const [{ log, treeSize } = { log: 'signals' as const, treeSize: null }] = group;
  const { database, proofs } = context.services;
  const indexes = group.map(({ index }) => index);
  try {
    return await proveInclusions({ database, signer: proofs.signer, nodes: proofs.nodes }, log, indexes, treeSize);
  } catch (error) {
    const mapped = toDaybookError(error);
    return group.map(() => mapped);
  }
}
