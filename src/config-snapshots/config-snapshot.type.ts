import { Field, ID, InputType, Int, ObjectType, registerEnumType } from 'type-graphql';
import { connectionType } from '../graphql/connection.js';
import { BigIntScalar, DateTimeScalar, HashScalar } from '../graphql/scalars.js';
import { snapshotOccasions } from './read-snapshots.js';
import { configFileStates } from './snapshot-file.js';

registerEnumType(configFileStates, {
  name: 'ConfigFileState',
  description: 'What a snapshot knows of a file.',
  valuesConfig: {
    TEXT: { description: 'Its text is stored, redacted.' },
    BINARY: { description: 'Not a text: by its hash alone.' },
    LARGE: { description: 'Above a limit, or text of no interest: by its hash, above 64 MiB by its size alone.' },
    SECRET: { description: 'Named as a secret: by a keyed mark alone.' },
    MISSING: { description: 'Named, or there at the last snapshot, and not there.' },
    UNREADABLE: { description: 'It is there and cannot be read.' },
    REFUSED: { description: 'Outside the root, in the data folder, not a file, or more than is read.' },
  },
});

registerEnumType(snapshotOccasions, {
  name: 'ConfigSnapshotOccasion',
  valuesConfig: {
    START: { description: 'A node started.' },
    DEMAND: { description: 'Somebody asked for it.' },
    PACK: { description: 'An evidence pack was made.' },
  },
});

@ObjectType({ simpleResolvers: true, description: 'One file of a configuration snapshot.' })
export class ConfigSnapshotFile {
  @Field(() => String, { description: 'Below the root; below @daybook/ for what is set elsewhere.' }) path!: string;
  @Field(() => configFileStates) state!: string;
  @Field(() => HashScalar, { nullable: true, description: 'SHA-256 of the file as it is.' }) hash!: string | null;
  @Field(() => String, { nullable: true, description: 'In place of the hash of a SECRET file: a keyed HMAC.' }) mark!:
    string | null;
  @Field(() => BigIntScalar, { nullable: true, description: 'In bytes.' }) size!: string | null;
  @Field(() => HashScalar, { nullable: true, description: 'SHA-256 of the stored, redacted text.' }) contentHash!:
    string | null;
  @Field(() => Int, { description: 'How many secrets in it were replaced by their marks.' }) redactions!: number;
  @Field(() => String, { nullable: true, description: 'Why its text is not stored.' }) note!: string | null;
}

@ObjectType({
  simpleResolvers: true,
  description: 'The effective configuration of a node at one moment: files, settings, schema, dependencies, commit.',
})
export class ConfigSnapshot {
  @Field(() => ID) id!: string;
  @Field(() => DateTimeScalar) takenAt!: string;
  @Field(() => String) takenBy!: string;
  @Field(() => String, { description: 'Host and data folder.' }) node!: string;
  @Field(() => snapshotOccasions) occasion!: string;
  @Field(() => String) reason!: string;
  @Field(() => HashScalar, { description: 'Names the list of files: equal exactly where nothing differs.' })
  filesHash!: string;

  @Field(() => ID, { nullable: true, description: 'The snapshot that it was compared with.' }) previousId!:
    string | null;
  @Field(() => Int, { description: 'Files and settings that changed; each has its ConfigChanged entry.' })
  changes!: number;
}

export const ConfigSnapshotConnection = connectionType('ConfigSnapshot', ConfigSnapshot);

@InputType()
export class CreateConfigSnapshotInput {
  @Field(() => String, { description: 'Why: 1 to 1,000 characters.' }) reason!: string;
}

@ObjectType({ simpleResolvers: true })
export class CreateConfigSnapshotPayload {
  @Field(() => ConfigSnapshot) snapshot!: ConfigSnapshot;
}
