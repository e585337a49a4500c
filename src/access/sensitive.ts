import { DirectiveLocation, GraphQLDirective, type GraphQLArgument, type GraphQLInputField } from 'graphql';
import { Directive } from 'type-graphql';

const directiveName = 'sensitive';

/** Declares `@sensitive` in the schema. */
export const sensitiveDirective = new GraphQLDirective({
  name: directiveName,
  description:
    'Its value may be a secret: what was given reaches the operation alone, and wherever the call is recorded a keyed HMAC stands for it.',
  locations: [DirectiveLocation.ARGUMENT_DEFINITION, DirectiveLocation.INPUT_FIELD_DEFINITION],
});

/**
 * Marks an input field or argument whose value may be a secret. The operation gets the value as it was given, and answers for
 * what becomes of it; records of the call hold its mark.
 */
export function Sensitive(): PropertyDecorator & ParameterDecorator {
  return Directive(`@${directiveName}`);
}

/** True where the schema marks the input field or argument. */
export function isSensitive({ astNode }: GraphQLArgument | GraphQLInputField): boolean {
  return astNode?.directives?.some(({ name }) => name.value === directiveName) ?? false;
}
