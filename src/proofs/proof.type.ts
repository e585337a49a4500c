import { Field, InputType, ObjectType } from 'type-graphql';
import { connectionType } from '../graphql/connection.js';
import { LogNameEnum } from '../graphql/log-name.js';
import { BigIntScalar, DateScalar, DateTimeScalar, HashScalar } from '../graphql/scalars.js';
import type { LogName } from '../ledger/rows.js';

@ObjectType({ simpleResolvers: true, description: 'A signed tree head: what the log was at one size.' })
export class Checkpoint {
  @Field(() => LogNameEnum) log!: LogName;
  @Field(() => BigIntScalar, { description: 'Number of entries it covers.' }) treeSize!: string;
  @Field(() => HashScalar, { description: 'RFC 6962 root of those entries.' }) rootHash!: string;
  @Field(() => String, { description: 'The signed note (C2SP tlog-checkpoint), verbatim.' }) note!: string;
  @Field(() => DateTimeScalar) signedAt!: string;
}

@ObjectType({ simpleResolvers: true, description: 'A place outside the database that keeps or vouches for a root.' })
export class Anchor {
  @Field(() => String, { description: 'object-store, timestamp or witness.' }) kind!: string;
  @Field(() => String, { description: 'Which store, authority or witness.' }) target!: string;
  @Field(() => String, { description: 'best-effort or required.' }) mode!: string;
  @Field(() => String, { description: 'PENDING or ANCHORED.' }) status!: string;
  @Field(() => String, { nullable: true, description: 'Version id, serial number or key name.' }) reference!:
    string | null;
  @Field(() => DateTimeScalar, { description: 'When it was anchored; while it is pending, since when.' }) at!: string;
  @Field(() => String, { nullable: true, description: 'Why the last attempt failed.' }) error!: string | null;
}

@ObjectType({
  simpleResolvers: true,
  description: "A day's sealed tree head: the log at exactly the last entry before midnight UTC.",
})
export class MerkleRoot {
  @Field(() => LogNameEnum) log!: LogName;
  @Field(() => DateScalar) date!: string;
  @Field(() => BigIntScalar, { description: 'Number of entries recorded before the end of the day.' })
  treeSize!: string;
  @Field(() => BigIntScalar) entriesOfDay!: string;
  @Field(() => HashScalar) rootHash!: string;
  @Field(() => String, { description: 'The signed note over exactly that size, verbatim.' }) checkpoint!: string;
  @Field(() => DateTimeScalar) sealedAt!: string;
  @Field(() => String, { description: '`schedule`, or who asked for it.' }) sealedBy!: string;
  @Field(() => [HashScalar], { description: 'From the root of the day before (RFC 9162 §2.1.4).' })
  consistencyProof!: string[];
}

export const MerkleRootConnection = connectionType('MerkleRoot', MerkleRoot);

@ObjectType({
  simpleResolvers: true,
  description: 'Proof that an entry is in the tree of a checkpoint (RFC 9162 §2.1.3).',
})
export class InclusionProof {
  @Field(() => LogNameEnum) log!: LogName;
  @Field(() => BigIntScalar) index!: string;
  @Field(() => BigIntScalar) treeSize!: string;
  @Field(() => HashScalar, { description: 'SHA-256(0x00 ‖ body), the entry’s verificationHash.' }) leafHash!: string;
  @Field(() => [HashScalar], { description: "The leaf's sibling first." }) hashes!: string[];
  @Field(() => String, { description: 'The signed note that the proof leads to, verbatim.' }) checkpoint!: string;
  @Field(() => String, { description: 'The same proof as a file (C2SP tlog-proof).' }) tlogProof!: string;
}

@ObjectType({
  simpleResolvers: true,
  description: 'Proof that a larger tree continues a smaller one (RFC 9162 §2.1.4).',
})
export class ConsistencyProof {
  @Field(() => LogNameEnum) log!: LogName;
  @Field(() => BigIntScalar) fromSize!: string;
  @Field(() => BigIntScalar) toSize!: string;
  @Field(() => [HashScalar]) hashes!: string[];
}

@ObjectType({ simpleResolvers: true, description: 'A key that signs, or signed, checkpoints of a log.' })
export class SigningKey {
  @Field(() => LogNameEnum) log!: LogName;
  @Field(() => String, { description: 'Name of the key: the origin of the log.' }) origin!: string;
  @Field(() => String, { description: 'Eight hexadecimal digits.' }) keyId!: string;
  @Field(() => String, { description: 'What an auditor pins (C2SP signed-note).' }) verifierKey!: string;
  @Field(() => DateTimeScalar) validFrom!: string;
  @Field(() => DateTimeScalar, {
    nullable: true,
    description: 'Signatures made later are not the log’s; null while the key signs.',
  })
  validUntil!: string | null;
}

@InputType()
export class SealLogInput {
  @Field(() => LogNameEnum) log!: LogName;
  @Field(() => DateScalar, {
    nullable: true,
    description: 'Seals up to this day, which must have ended in UTC; absent: up to yesterday.',
  })
  date?: string;
}

@ObjectType({ simpleResolvers: true })
export class SealLogPayload {
  @Field(() => [MerkleRoot], { description: 'Roots that this call sealed, oldest day first.' }) sealed!: MerkleRoot[];
  @Field(() => MerkleRoot, { nullable: true, description: 'The root of the day, or of the last sealed one.' })
  merkleRoot!: MerkleRoot | null;
}
