import type { Append } from '../access/request-calls.js';
import type { CheckpointSigner } from './checkpoint-signer.js';
import type { MerkleRootRow } from './read-merkle-roots.js';
import type { SigningKeys } from './signing-keys.js';
import type { ProofWatch } from './watch-proofs.js';
import type { LogName } from '../ledger/rows.js';
import type { TreeNodeCache } from '../ledger/tree-node-cache.js';

/** What the resolvers and routes of this feature use; built by context.ts. */
export interface ProofServices {
  readonly keys: SigningKeys;
  readonly signer: CheckpointSigner;
  readonly watch: ProofWatch;
  readonly nodes: TreeNodeCache;
  readonly append: Append;
  /** Seals the days of a log that have ended, up to `until` where it is given, and returns the new roots. */
  readonly seal: (log: LogName, until: string | null, sealedBy: string) => Promise<MerkleRootRow[]>;
}

declare module '../access/request-context.js' {
  interface Services {
    readonly proofs: ProofServices;
  }
}
