import { registerEnumType } from 'type-graphql';
import type { LogName } from '../ledger/rows.js';

/** The logs as GraphQL names them; a resolver gets the ledger's own name. */
export const LogNameEnum = { SIGNALS: 'signals', AUDIT: 'audit' } as const satisfies Record<string, LogName>;
registerEnumType(LogNameEnum, { name: 'LogName', description: 'One of the two logs.' });
