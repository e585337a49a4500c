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
    .filter((fact) => before[fact] !== after[fact])
    .sort((one, other) => Number(one === 'xmin') - Number(other === 'xmin'));
  if (differing.length === 0) return null;
  return differing.map((fact) => describeFact(fact, before[fact], after[fact])).join('; ');
}

function describeFact(fact: string, before: string | undefined, after: string | undefined): string {
  const [was, is] = [before, after].map(shorten);
  return fact === 'xmin' ? `catalogue row rewritten: xmin was ${was}, is ${is}` : `${fact} was ${was}, is ${is}`;
}

function shorten(value: string | undefined): string {
  if (value === undefined) return 'absent';
  return value.length > valueLengthMax ? `${value.slice(0, valueLengthMax)}…` : value;
}
