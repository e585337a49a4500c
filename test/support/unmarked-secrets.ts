import {
  GraphQLInputObjectType,
  isInputObjectType,
  isInterfaceType,
  isObjectType,
  type GraphQLArgument,
  type GraphQLInputField,
  type GraphQLSchema,
} from 'graphql';
import { isSensitive } from '../../src/access/sensitive.js';

/** Words in the name or description of an input that let one expect a secret in it; wider than the rules for free-form JSON. */
const suspicious =
  /pass(?:word|wd|phrase|code|key)|\bpass\b|pwd|secret|token|credential|mnemonic|seed|key|authori[sz]|cookie|bearer|jwt|signature|cipher|encrypt|private|confidential|sensitive|\b(?:pin|otp|totp|cvv2?|cvc|auth|salt|nonce|hmac|pem)\b/i;

/** An input that carries no secret although its words let one expect it, with the reason. */
export type Reviewed = Readonly<Record<string, string>>;

/** Every input field as `Type.field` and every argument as `Type.field(argument)`. */
export function inputsOf(schema: GraphQLSchema): Map<string, GraphQLArgument | GraphQLInputField> {
  const inputs = new Map<string, GraphQLArgument | GraphQLInputField>();
  for (const type of Object.values(schema.getTypeMap())) {
    if (type.name.startsWith('__')) continue;
    if (isInputObjectType(type)) {
      for (const field of Object.values(type.getFields())) inputs.set(`${type.name}.${field.name}`, field);
    }
    if (!isObjectType(type) && !isInterfaceType(type)) continue;
    for (const field of Object.values(type.getFields())) {
      for (const argument of field.args) inputs.set(`${type.name}.${field.name}(${argument.name})`, argument);
    }
  }
  for (const directive of schema.getDirectives()) {
    for (const argument of directive.args) inputs.set(`@${directive.name}(${argument.name})`, argument);
  }
  return inputs;
}

/** Inputs that look as if they carried a secret, are not marked `@sensitive` and were not reviewed. */
export function unmarkedSecrets(schema: GraphQLSchema, reviewed: Reviewed): string[] {
  return [...inputsOf(schema)]
    .filter(([name, input]) => isSuspicious(input) && !isSensitive(input) && !(name in reviewed))
    .map(([name]) => name);
}

function isSuspicious({ name, description, type }: GraphQLArgument | GraphQLInputField): boolean {
  const words = name.replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2');
  // An input object is looked into by its fields.
  const ofType = type instanceof GraphQLInputObjectType ? '' : (description ?? '');
  return suspicious.test(words) || suspicious.test(name) || suspicious.test(ofType);
}
