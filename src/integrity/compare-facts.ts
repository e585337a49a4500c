import type { BreakCode, BreakList } from '../core/log-breaks.js';
import type { CatalogFacts, SectionFacts } from './catalog-facts.js';
import type { CatalogSection } from './catalog-queries.js';

/** Longest value that a message repeats in full. */
const valueLengthMax = 160;

/** Which break a difference is, and what its message calls the object. */
const sections: Readonly<Record<CatalogSection, readonly [BreakCode, string]>> = {
  triggers: ['TRIGGER_CHANGED', 'trigger'],
  functions: ['FUNCTION_CHANGED', 'function'],
  eventTriggers: ['EVENT_TRIGGER_CHANGED', 'event trigger'],
  schemas: ['TABLE_CHANGED', 'schema'],
  relations: ['TABLE_CHANGED', 'table'],
  columns: ['TABLE_CHANGED', 'column'],
  constraints: ['TABLE_CHANGED', 'constraint'],
  indexes: ['TABLE_CHANGED', 'unique index'],
  rules: ['TABLE_CHANGED', 'rule'],
  policies: ['TABLE_CHANGED', 'policy'],
  children: ['TABLE_CHANGED', 'child table'],
  extensions: ['EXTENSION_CHANGED', 'extension'],
  foreignDataWrappers: ['EXTENSION_CHANGED', 'foreign data wrapper'],
  foreignServers: ['EXTENSION_CHANGED', 'foreign server'],
  userMappings: ['EXTENSION_CHANGED', 'user mapping'],
  roles: ['ROLE_CHANGED', 'role'],
  memberships: ['ROLE_CHANGED', 'membership'],
  settings: ['ROLE_CHANGED', 'settings of'],
};

/**
 * Adds a break for each object that was added, removed or changed since the baseline. Pure. An object that was changed and
 * changed back shows by `xmin`, the transaction that last wrote its catalogue row.
 */
export function compareFacts(baseline: CatalogFacts, now: CatalogFacts, breaks: BreakList): void {
  for (const [section, [code, kind]] of Object.entries(sections)) {
    // A baseline of an older version may lack a section: what is in it now counts as added.
    const before: SectionFacts = baseline[section as CatalogSection] ?? {};
    const after: SectionFacts = now[section as CatalogSection] ?? {};
    for (const name of [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()) {
      const difference = describeDifference(before[name], after[name]);
      if (difference !== null) breaks.add(code, null, `${kind} ${name}: ${difference}`);
    }
  }
}

type Facts = Readonly<Record<string, string>>;

function describeDifference(before: Facts | undefined, after: Facts | undefined): string | null {
  if (before === undefined) return 'was added';
  if (after === undefined) return 'is gone';
  const differing = [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((fact) => before[fact] !== after[fact] && !(isIdentity(fact) && isReadOtherwise(fact, before, after)))
    .sort((one, other) => Number(isIdentity(one)) - Number(isIdentity(other)));
  if (differing.length === 0) return null;
  return differing.map((fact) => describeFact(fact, before[fact], after[fact])).join('; ');
}

/** Facts that tell whether a row of the catalogue is still the one it was. */
function isIdentity(fact: string): boolean {
  return fact === 'xmin' || fact === 'oid';
}

/** True where another version of this software, which made the baseline, told the row by another fact or by none. */
function isReadOtherwise(fact: string, before: Facts, after: Facts): boolean {
  return before[fact] === undefined || after[fact] === undefined;
}

function describeFact(fact: string, before: string | undefined, after: string | undefined): string {
  const [was, is] = [before, after].map(shorten);
  if (fact === 'xmin') return `catalogue row rewritten: xmin was ${was}, is ${is}`;
  return fact === 'oid' ? `made anew: oid was ${was}, is ${is}` : `${fact} was ${was}, is ${is}`;
}

function shorten(value: string | undefined): string {
  if (value === undefined) return 'absent';
  return value.length > valueLengthMax ? `${value.slice(0, valueLengthMax)}…` : value;
}
