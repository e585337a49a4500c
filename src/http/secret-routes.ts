import express, { Router } from 'express';
import { z } from 'zod';
import { auditReaders } from '../access/audited.js';
import { Role } from '../access/principal.js';
import type { Clock } from '../clock.js';
import { secretTypes } from '../core/rotation.js';
import { DaybookError } from '../errors.js';
import { requestRotation } from '../secrets/request-rotation.js';
import { carryOut } from '../secrets/carry-out-rotation.js';
import { updatePolicy } from '../secrets/rotation-policies.js';
import { readRotations } from '../secrets/rotation-rows.js';
import { readSchedule } from '../secrets/run-schedule.js';
import type { SecretServices } from '../secrets/secret-services.js';
import { recordedChange } from './recorded-change.js';
import { recordedRoute, type RestServices } from './rest-calls.js';
import { readSender } from './sender.js';

export interface SecretRouteSources {
  readonly secrets: SecretServices;
  readonly clock: Clock;
  readonly shutdown: AbortSignal;
  readonly rest: RestServices;
}

const prefix = '/secrets/rotation';
/** Largest body: a value of a secret and its names. */
const bodyMax = '256kb';
const daySeconds = 86_400;
const type = z.enum(secretTypes);
const name = z
  .string()
  .min(1)
  .max(200)
  .refine((text) => text.isWellFormed() && !text.includes('\0'));

const historyQuery = z.strictObject({
  secretType: type.optional(),
  secretName: name.optional(),
  limit: z.coerce.number().int().min(1).max(1_000).default(50),
});
const rotateBody = z.strictObject({
  secretType: type,
  secretName: name,
  newValue: z.string().min(1).max(100_000).optional(),
  reason: z.string().min(1).max(1_000).optional(),
});
const policyBody = z.strictObject({
  secretType: type,
  secretName: name.optional(),
  rotationIntervalDays: z.number().int().optional(),
  gracePeriodDays: z.number().optional(),
  autoRotate: z.boolean().optional(),
  window: z.unknown().optional(),
});

/** `/secrets/rotation/…`: rotation over REST, with the shapes that docs/rotation.md gives. */
export function secretRoutes(sources: SecretRouteSources): Router {
  const { secrets, clock, rest } = sources;
  const router = Router({ caseSensitive: true, strict: true });
  router.use(prefix, express.json({ limit: bodyMax }));
  router.get(
    `${prefix}/schedule`,
    recordedRoute(
      rest,
      () => auditReaders,
      async (_request, response) => {
        const schedules = (await readSchedule(secrets.database, clock.nowMs())).map(
          ({ zeroDowntime: _zero, driftDetectedAt: _drift, ...entry }) => entry,
        );
        response.json({ schedules });
      },
    ),
  );
  router.get(
    `${prefix}/history`,
    recordedRoute(
      rest,
      () => auditReaders,
      async (request, response) => {
        const { secretType = null, secretName = null, limit } = parse(historyQuery, request.query);
        const page = await readRotations(secrets.database, { type: secretType, name: secretName, first: limit });
        const history = page.rows.map((row) => ({
          id: row.id,
          secretType: row.secretType,
          secretName: row.secretName,
          rotatedAt: row.rotatedAt,
          rotatedBy: row.rotatedBy,
          status: row.status,
        }));
        response.json({ history });
      },
    ),
  );
  router.post(`${prefix}/rotate`, rotateRoute(sources));
  router.put(`${prefix}/policy`, policyRoute(sources));
  return router;
}

function rotateRoute({ secrets, clock, shutdown, rest }: SecretRouteSources) {
  const options = { mutation: 'rotateSecret', action: 'EXECUTE', roles: [Role.ADMIN] } as const;
  return recordedChange(rest, options, senderOf(rest), async ({ body, origin, append }) => {
    const { secretType, secretName, newValue, reason } = parse(rotateBody, body);
    const request = {
      type: secretType,
      name: secretName,
      reason: reason ?? null,
      requestedBy: origin.actor ?? 'unknown',
      isValueGiven: newValue !== undefined,
    };
    const planned = await requestRotation({ database: secrets.database, append }, { ...request, origin });
    const rotation = await carryOut(secrets, planned, { value: newValue ?? null, credential: null }, shutdown);
    if (rotation.rotatedAt === null) {
      const note = rotation.steps.at(-1)?.note ?? 'see its history';
      const code = rotation.status === 'FAILED' ? 'SECRET_REFUSED' : 'SECRET_UNAVAILABLE';
      throw new DaybookError(code, `the rotation is ${rotation.status}: ${note}`);
    }
    const schedule = await readSchedule(secrets.database, clock.nowMs());
    const next = schedule.find((entry) => entry.secretType === secretType && entry.secretName === secretName);
    return {
      status: 'success',
      secretType,
      secretName,
      rotatedAt: rotation.rotatedAt,
      nextRotation: next?.nextRotation ?? null,
    };
  });
}

function policyRoute({ secrets, rest }: SecretRouteSources) {
  const options = { mutation: 'updateRotationPolicy', action: 'UPDATE', roles: [Role.ADMIN] } as const;
  return recordedChange(rest, options, senderOf(rest), async ({ body, origin, append }) => {
    const { gracePeriodDays, secretName, ...change } = parse(policyBody, body);
    const { graceSeconds, ...policy } = await updatePolicy(
      { database: secrets.database, append },
      {
        ...change,
        secretName: secretName ?? null,
        graceSeconds: gracePeriodDays === undefined ? undefined : gracePeriodDays * daySeconds,
      },
      origin,
    );
    return { policy: { ...policy, gracePeriodDays: graceSeconds / daySeconds } };
  });
}

function senderOf({ apiKeys, trustedProxies }: RestServices) {
  return (request: express.Request) => readSender(request, apiKeys, trustedProxies);
}

/** In words of ours: those of the parser repeat names of members, and a value may stand in the wrong place. */
function parse<Shape extends z.ZodType>(shape: Shape, value: unknown): z.infer<Shape> {
  const parsed = shape.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const member = issue?.path.join('.') ?? '';
  const what = member === '' ? 'the request has members that are not known, or is no object' : `${member} is malformed`;
  throw new DaybookError('BAD_USER_INPUT', `${what}: ${expected(member)}`);
}

function expected(member: string): string {
  const known: Readonly<Record<string, string>> = {
    secretType: `it is one of ${secretTypes.join(', ')}`,
    secretName: 'it has 1 to 200 characters',
    newValue: 'it is a text of 1 to 100,000 characters',
    limit: 'it is a whole number from 1 to 1,000',
  };
  return known[member] ?? 'docs/rotation.md has the form of each';
}
