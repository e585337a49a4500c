/**
 * The roles. The owner owns the ledger and cannot log in; the application's logins are members of a group, so that a second
 * one can take over while the first one's password changes.
 */
export const roles = {
  owner: 'daybook_owner',
  applicationGroup: 'daybook_application',
  application: 'daybook_application_a',
  auditor: 'daybook_auditor',
  migrator: 'daybook_migrator',
  attemptWriter: 'daybook_attempt_writer',
} as const;

/** The roles that log in, by the names of their URLs. */
export const loginRoles = ['application', 'auditor', 'migrator', 'attemptWriter'] as const;
