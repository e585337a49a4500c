import { join } from 'node:path';
import type { GraphQLSchema } from 'graphql';
import { readRedactionRules } from './access/read-redaction-rules.js';
import { Redactor, type RedactorOptions } from './access/redact.js';
import type { RedactionRules } from './access/redaction-rules.js';
import type { Config } from './config.js';
import type { Append } from './access/request-calls.js';
import { readOrCreateSecretFile } from './db/secret-file.js';
import type { Queryable } from './ledger/read-entries.js';
import { recordRedactionRules } from './redaction/record-rules.js';

/**
 * The redactor of a node, or of one command: its key is kept in the data folder, its rules are those of every node and those of
 * the operator's file, unless they are known. Throws CONFIG_INVALID.
 */
export async function openRedactor(
  config: Pick<Config, 'dataDir' | 'redactionRulesFile'>,
  known: RedactorOptions = {},
): Promise<Redactor> {
  const rules = known.rules ?? (await readRedactionRules(config.redactionRulesFile));
  const key = Buffer.from(await readOrCreateSecretFile(join(config.dataDir, 'redaction.key')));
  return new Redactor(key, { ...known, rules });
}

/** The redactor of a node that starts; where its rules are not those that were in force before, an entry says so. */
export async function openRecordedRedactor(parts: {
  readonly config: Config;
  readonly schema: GraphQLSchema;
  readonly rules: RedactionRules;
  readonly database: Queryable;
  readonly append: Append;
}): Promise<Redactor> {
  const redactor = await openRedactor(parts.config, { schema: parts.schema, rules: parts.rules });
  await recordRedactionRules(parts.database, parts.append, redactor.rules);
  return redactor;
}
