import { readFileSync } from 'node:fs';

/** Makes the rest of a migration run as the owner, where there is one, so that application and auditor own nothing. */
export const becomeOwner = `DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'daybook_owner')
  AND pg_has_role(session_user, 'daybook_owner', 'MEMBER') THEN SET LOCAL ROLE daybook_owner; END IF; END $$`;

/** The statements of `<migration>/<name>.sql`, each {{placeholder}} replaced. */
export function readMigrationSql(
  migration: string,
  name: string,
  placeholders: Readonly<Record<string, string>> = {},
): string {
  const text = readFileSync(new URL(`./${migration}/${name}.sql`, import.meta.url), 'utf8');
  return text.replaceAll(/\{\{(\w+)\}\}/g, (_, key: string) => placeholders[key] ?? '');
}
