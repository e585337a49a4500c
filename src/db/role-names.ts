/**
 * The roles. The owner owns the ledger and cannot log in; the application's logins are members of a group, so that a second
 * one can take over while the first one's password changes.
 */
export const roles = {
  owner: 'daybook_owner',
  applicationGroup: 'daybook_application',
  application: 'daybook_application_a',
  otherApplication: 'daybook_application_b',
  auditor: 'daybook_auditor',
  migrator: 'daybook_migrator',
  attemptWriter: 'daybook_attempt_writer',
} as const;

/** The roles that log in, by the names of their URLs. */
export const loginRoles = ['application', 'auditor', 'migrator', 'attemptWriter'] as const;

/** The application's logins. One is in force; the other one is for the next rotation, or still valid after the last. */
export const applicationLogins = [roles.application, roles.otherApplication] as const;

export type ApplicationLogin = (typeof applicationLogins)[number];

export function isApplicationLogin(role: string): role is ApplicationLogin {
  return applicationLogins.some((name) => name === role);
}
