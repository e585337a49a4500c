import { Field, ObjectType } from 'type-graphql';
import { HashScalar } from '../graphql/scalars.js';

@ObjectType({ simpleResolvers: true, description: 'A rule by which secrets are found and replaced by keyed HMACs.' })
export class RedactionRule {
  @Field(() => String, { description: 'As entries name it under redacted.' }) name!: string;
  @Field(() => String) description!: string;
}

@ObjectType({ simpleResolvers: true, description: 'The rules of redaction that are in force on this node.' })
export class RedactionRules {
  @Field(() => HashScalar, { description: 'SHA-256 over the canonical form of their names and patterns.' })
  hash!: string;

  @Field(() => [RedactionRule], { description: 'Those that every node has, then those that its operator added.' })
  rules!: RedactionRule[];
}
