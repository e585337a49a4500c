/** A safeguard that this server cannot give. The service runs without it and the health report names it. */
export interface MissingLayer {
  readonly name: keyof typeof layers;
  /** What is lost and why, in one sentence. */
  readonly cause: string;
  /** What an administrator of the server can do about it, in one sentence. */
  readonly mend: string;
}

const layers = {
  'role-separation': {
    loss: 'Everything runs as the user of DATABASE_URL, which owns the ledger',
    mend: 'Let DATABASE_URL name a user with CREATEROLE that owns the database, and let pg_hba.conf admit the daybook roles with scram-sha-256.',
  },
  'event-trigger': {
    loss: 'Changes to the schema of the ledger are not refused',
    mend: 'Let DATABASE_URL name a superuser, or a user that the server allows to create event triggers, and start again.',
  },
  dblink: {
    loss: 'A refused modification leaves its number and a server log line but no record of its own',
    mend: 'Let a superuser run: CREATE SCHEMA IF NOT EXISTS daybook; CREATE EXTENSION dblink SCHEMA daybook; REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA daybook FROM PUBLIC; GRANT USAGE ON FOREIGN DATA WRAPPER dblink_fdw TO daybook_owner; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA daybook TO daybook_owner.',
  },
  'reserved-connections': {
    loss: 'While all connections are used, a refused modification leaves no record of its own',
    mend: 'Use PostgreSQL 16 or later, set reserved_connections = 3 and let a superuser run: GRANT pg_use_reserved_connections TO daybook_attempt_writer.',
  },
} as const;

/** Describes a missing layer; `reason` is the server's, without a full stop. */
export function missingLayer(name: MissingLayer['name'], reason: string): MissingLayer {
  return { name, cause: `${layers[name].loss}: ${reason}.`, mend: layers[name].mend };
}
