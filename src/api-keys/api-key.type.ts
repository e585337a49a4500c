import { Field, ID, InputType, ObjectType } from 'type-graphql';
import { Role } from '../access/principal.js';
import { DateTimeScalar } from '../graphql/scalars.js';

@ObjectType({
  simpleResolvers: true,
  description: 'A key that callers authenticate with. Its secret is stored as a hash only.',
})
export class ApiKey {
  @Field(() => ID) id!: string;
  @Field(() => String, { description: 'The actor in the audit log.' }) name!: string;
  @Field(() => Role) role!: Role;
  @Field(() => String, { description: 'The first characters of the secret.' }) prefix!: string;
  @Field(() => DateTimeScalar) createdAt!: string;
  @Field(() => String, { nullable: true }) createdBy!: string | null;
  @Field(() => DateTimeScalar, { nullable: true }) expiresAt!: string | null;
  @Field(() => DateTimeScalar, { nullable: true }) revokedAt!: string | null;
  @Field(() => String, { nullable: true }) revokedBy!: string | null;
  @Field(() => DateTimeScalar, { nullable: true, description: 'To about ten seconds.' }) lastUsedAt!: string | null;
}

@InputType()
export class CreateApiKeyInput {
  @Field(() => String, { description: 'The actor in the audit log: 1 to 200 characters, unique among valid keys.' })
  name!: string;

  @Field(() => Role) role!: Role;
  @Field(() => DateTimeScalar, { nullable: true, description: 'From then on the key is refused.' }) expiresAt?: string;
}

@ObjectType({ simpleResolvers: true })
export class CreateApiKeyPayload {
  @Field(() => ApiKey) apiKey!: ApiKey;
  @Field(() => String, { description: 'The only time the secret is shown.' }) secret!: string;
}

@InputType()
export class RevokeApiKeyInput {
  @Field(() => ID) id!: string;
}

@ObjectType({ simpleResolvers: true })
export class RevokeApiKeyPayload {
  @Field(() => ApiKey) apiKey!: ApiKey;
}

@ObjectType({ simpleResolvers: true, description: 'Whose key this call was made with.' })
export class Viewer {
  @Field(() => ID) keyId!: string;
  @Field(() => String) name!: string;
  @Field(() => Role) role!: Role;
  @Field(() => DateTimeScalar, { nullable: true }) expiresAt!: string | null;
}
