import { readFile } from 'node:fs/promises';
import { DaybookError } from '../errors.js';
import { compileBoundedPattern, PatternFault } from './bounded-pattern.js';
import { redactionRules, type RedactionRules } from './redaction-rules.js';
import type { SecretShape } from './secret-shapes.js';

const addedRulesMax = 50;
const fileCharactersMax = 65_536;

/**
 * The rules in force: those of every node, and those of the operator's file where there is one. A file can add rules and
 * nothing else. Throws CONFIG_INVALID naming the line that cannot be used.
 */
export async function readRedactionRules(file: string | undefined): Promise<RedactionRules> {
  if (file === undefined) return redactionRules();
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new DaybookError(
      'CONFIG_INVALID',
      `DAYBOOK_REDACTION_RULES_FILE cannot be read: ${(error as Error).message}`,
      {
        cause: error,
      },
    );
  }
  return redactionRules(parseRedactionRules(text));
}

/** Reads lines `name=pattern`; empty ones and those that begin with # are passed over. Throws CONFIG_INVALID. */
export function parseRedactionRules(text: string): readonly SecretShape[] {
  if (text.length > fileCharactersMax) throw fault(1, `the file has more than ${fileCharactersMax} characters`);
  const taken = new Set(redactionRules().described.map(({ name }) => name));
  const added: SecretShape[] = [];
  for (const [place, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const [, name, source] = /^([a-z][a-z0-9-]{0,49})=(.+)$/.exec(line) ?? [];
    if (name === undefined || source === undefined) {
      throw fault(place + 1, 'is not name=pattern, with a name of lower-case letters, digits and hyphens');
    }
    if (taken.has(name)) throw fault(place + 1, `the name ${name} is taken: rules can be added, not replaced`);
    if (added.length === addedRulesMax) throw fault(place + 1, `at most ${addedRulesMax} rules can be added`);
    taken.add(name);
    added.push({ name, description: 'Added by the operator of this node.', pattern: compile(source, place + 1) });
  }
  return added;
}

function compile(source: string, line: number): RegExp {
  try {
    return compileBoundedPattern(source);
  } catch (error) {
    if (error instanceof PatternFault) throw fault(line, `the pattern ${error.message}`);
    throw error;
  }
}

function fault(line: number, reason: string): DaybookError {
  return new DaybookError('CONFIG_INVALID', `DAYBOOK_REDACTION_RULES_FILE, line ${line}: ${reason}`);
}
