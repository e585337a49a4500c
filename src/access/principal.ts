import { registerEnumType } from 'type-graphql';

/** What a key may do; docs/access.md has the table. */
export enum Role {
  PRODUCER = 'PRODUCER',
  ANALYST = 'ANALYST',
  MONITOR = 'MONITOR',
  AUDITOR = 'AUDITOR',
  ADMIN = 'ADMIN',
}
registerEnumType(Role, {
  name: 'Role',
  description: 'What an API key may do.',
  valuesConfig: {
    PRODUCER: { description: 'Records signals and events, and reads signals.' },
    ANALYST: { description: 'Reads signals.' },
    MONITOR: { description: 'Reads and follows both logs.' },
    AUDITOR: { description: 'Reads and follows both logs, and lists API keys.' },
    ADMIN: { description: 'Everything, including API keys.' },
  },
});

/** Who a valid key belongs to. */
export interface Principal {
  readonly keyId: string;
  readonly name: string;
  readonly role: Role;
  /** Canonical time from which the key is refused, or null. */
  readonly expiresAt: string | null;
}
