import { Field, InputType } from 'type-graphql';
import { BigIntScalar, DateTimeScalar } from './scalars.js';

/** Comparisons on text. Text is ordered by its UTF-8 bytes. */
@InputType({ description: 'Comparisons on text; all that are given must hold.' })
export class StringFilter {
  @Field(() => String, { nullable: true }) eq?: string;
  @Field(() => String, { nullable: true, description: 'Also true where the value is absent.' }) ne?: string;
  @Field(() => [String], { nullable: true }) in?: string[];
  @Field(() => [String], { nullable: true, description: 'Also true where the value is absent.' }) notIn?: string[];
  @Field(() => Boolean, { nullable: true }) isNull?: boolean;
  @Field(() => String, { nullable: true }) startsWith?: string;
}

@InputType({ description: 'Comparisons on 64-bit integers; all that are given must hold.' })
export class BigIntFilter {
  @Field(() => BigIntScalar, { nullable: true }) eq?: string;
  @Field(() => BigIntScalar, { nullable: true }) ne?: string;
  @Field(() => [BigIntScalar], { nullable: true }) in?: string[];
  @Field(() => [BigIntScalar], { nullable: true }) notIn?: string[];
  @Field(() => BigIntScalar, { nullable: true }) lt?: string;
  @Field(() => BigIntScalar, { nullable: true }) lte?: string;
  @Field(() => BigIntScalar, { nullable: true }) gt?: string;
  @Field(() => BigIntScalar, { nullable: true }) gte?: string;
}

@InputType({ description: 'Comparisons on moments; all that are given must hold.' })
export class DateTimeFilter {
  @Field(() => DateTimeScalar, { nullable: true }) eq?: string;
  @Field(() => DateTimeScalar, { nullable: true }) ne?: string;
  @Field(() => DateTimeScalar, { nullable: true }) lt?: string;
  @Field(() => DateTimeScalar, { nullable: true }) lte?: string;
  @Field(() => DateTimeScalar, { nullable: true }) gt?: string;
  @Field(() => DateTimeScalar, { nullable: true }) gte?: string;
}

@InputType({ description: 'Search in a JSON object; all that is given must hold.' })
export class JSONSearchFilter {
  @Field(() => String, {
    nullable: true,
    description: 'Text that occurs in a name or a value, as JSON writes it. The letters A to Z match in either case.',
  })
  contains?: string;
}
