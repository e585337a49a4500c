import { readFile } from 'node:fs/promises';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { attachLedger } from './attach-ledger.js';
import { commandOrigin, runCommand, type CommandResult } from './run-command.js';
import { ApiKeyStore } from '../access/api-key-store.js';
import { secretTypes, type SecretType } from '../core/rotation.js';
import { DaybookError } from '../errors.js';
import { refusalReporter } from '../open-integrity.js';
import { openProofs } from '../open-proofs.js';
import { openSecrets } from '../open-secrets.js';
import { carryOut } from '../secrets/carry-out-rotation.js';
import { registerSecret } from '../secrets/register-secret.js';
import { rewrapKeys } from '../secrets/rewrap-keys.js';
import { requestRotation } from '../secrets/request-rotation.js';
import { readPolicies, updatePolicy } from '../secrets/rotation-policies.js';
import { readSchedule } from '../secrets/run-schedule.js';
import type { SecretServices } from '../secrets/secret-services.js';

const daySeconds = 86_400;

interface RotateOptions {
  readonly valueFile?: string;
  readonly credentialFile?: string;
  readonly reason: string;
  readonly json?: boolean;
}

interface RegisterOptions {
  readonly valueFile?: string;
  readonly credentialFile?: string;
  readonly setting?: string[];
  readonly json?: boolean;
}

interface PolicyOptions {
  readonly interval?: string;
  readonly grace?: string;
  readonly auto?: string;
  readonly json?: boolean;
}

/**
 * `daybook rotate` and `daybook secrets`. Values are read from files, never from the command line, which others can see. Exit
 * code 0: done; 1: it failed, or the rotation did not come to its end.
 */
export function addSecretCommands(program: Command): void {
  program
    .command('rotate <type> <name>')
    .description('rotate a secret now; the value before stays valid for its grace period')
    .option('--value-file <file>', 'file with the new value, where the service does not make it')
    .option('--credential-file <file>', 'file with what lets the service in at the target from now on')
    .option('--reason <text>', 'why; goes on the record', 'asked for on the command line')
    .option('--json', 'print {"rotation": {...}} or {"error": {"code", "message"}}')
    .action((type: string, name: string, options: RotateOptions) =>
      run(options.json, (services, signal) => rotate(services, parseType(type), name, options, signal)),
    );
  const secrets = program.command('secrets').description('secrets that rotate: schedule, registration, policies');
  secrets
    .command('list')
    .description('show each secret with when it is rotated next')
    .option('--json', 'print {"schedules": [...]} or {"error": {"code", "message"}}')
    .action(({ json }: { json?: boolean }) => run(json, list));
  secrets
    .command('register <type> <name>')
    .description('register a secret with the value it has now')
    .option('--value-file <file>', 'file with its value')
    .option('--credential-file <file>', 'file with what lets the service in at its target')
    .option('--setting <name=value...>', 'what the rotator needs: docs/rotation.md')
    .option('--json', 'print {"registered": "..."} or {"error": {"code", "message"}}')
    .action((type: string, name: string, options: RegisterOptions) =>
      run(options.json, (services) => register(services, parseType(type), name, options)),
    );
  secrets
    .command('rewrap')
    .description('have the root key wrap what a former one wrapped, so that the former is needed no more')
    .option('--json', 'print {"rewrapped": [...]} or {"error": {"code", "message"}}')
    .action(({ json }: { json?: boolean }) => run(json, rewrap));
  secrets
    .command('policy [type] [name]')
    .description('show policies, or change that of a type or of one secret')
    .option('--interval <days>', 'days between rotations')
    .option('--grace <days>', 'days that the value before stays valid')
    .option('--auto <on|off>', 'whether the schedule rotates by itself')
    .option('--json', 'print {"policies": [...]} or {"error": {"code", "message"}}')
    .action((type: string | undefined, name: string | undefined, options: PolicyOptions) =>
      run(options.json, (services) => policy(services, type, name ?? null, options)),
    );
}

async function rotate(
  services: SecretServices,
  type: SecretType,
  name: string,
  { valueFile, credentialFile, reason }: RotateOptions,
  signal: AbortSignal,
): Promise<CommandResult> {
  const given = { value: await readGiven(valueFile), credential: await readGiven(credentialFile) };
  const origin = commandOrigin('secrets');
  const isValueGiven = (given.value ?? given.credential) !== null;
  const request = { type, name, reason, requestedBy: origin.actor, isValueGiven, origin };
  const planned = await requestRotation(services, request);
  const rotation = await carryOut(services, planned, given, signal);
  const note = rotation.steps.at(-1)?.note ?? '';
  const text = `${type} ${name}, generation ${rotation.generation}: ${rotation.status}${note === '' ? '' : ` (${note})`}\n`;
  return { result: { rotation }, text, exitCode: rotation.rotatedAt === null ? 1 : 0 };
}

async function list(services: SecretServices): Promise<CommandResult> {
  const schedules = await readSchedule(services.database, services.clock.nowMs());
  const table = new Table({ head: ['type', 'name', 'status', 'days', 'next'], style: { head: [], border: [] } });
  for (const { secretType, secretName, status, daysUntilRotation, nextRotation, driftDetectedAt } of schedules) {
    const shown = driftDetectedAt === null ? status : `${status}, changed elsewhere`;
    table.push([secretType, secretName, shown, daysUntilRotation, nextRotation.slice(0, 10)]);
  }
  return { result: { schedules }, text: `${table.toString()}\n` };
}

async function register(
  services: SecretServices,
  type: SecretType,
  name: string,
  options: RegisterOptions,
): Promise<CommandResult> {
  const settings = Object.fromEntries((options.setting ?? []).map(splitSetting));
  const [value, credential] = [await readGiven(options.valueFile), await readGiven(options.credentialFile)];
  await registerSecret(services, {
    type,
    name,
    settings,
    value: value === null ? null : Buffer.from(value),
    credential: credential === null ? null : Buffer.from(credential),
    origin: commandOrigin('secrets'),
  });
  return { result: { registered: `${type}/${name}` }, text: `${type} ${name} is registered\n` };
}

async function rewrap(services: SecretServices): Promise<CommandResult> {
  const rewrapped = await rewrapKeys(services, commandOrigin('secrets'));
  const text = rewrapped.length === 0 ? 'every key is wrapped by the root key already\n' : `${rewrapped.join('\n')}\n`;
  return { result: { rewrapped }, text };
}

async function policy(
  services: SecretServices,
  type: string | undefined,
  secretName: string | null,
  { interval, grace, auto }: PolicyOptions,
): Promise<CommandResult> {
  if ((interval ?? grace ?? auto) !== undefined) {
    if (type === undefined) throw new DaybookError('BAD_USER_INPUT', 'say of which type the policy is to be changed');
    if (auto !== undefined && auto !== 'on' && auto !== 'off')
      throw new DaybookError('BAD_USER_INPUT', '--auto takes on or off');
    const change = {
      secretType: parseType(type),
      secretName,
      rotationIntervalDays: numberOf('--interval', interval),
      graceSeconds: grace === undefined ? undefined : (numberOf('--grace', grace) ?? 0) * daySeconds,
      autoRotate: auto === undefined ? undefined : auto === 'on',
    };
    await updatePolicy(services, change, commandOrigin('secrets'));
  }
  const policies = await readPolicies(services.database);
  const table = new Table({ head: ['type', 'name', 'days', 'grace days', 'auto'], style: { head: [], border: [] } });
  for (const { secretType, secretName: name, rotationIntervalDays, graceSeconds, autoRotate } of policies) {
    table.push([
      secretType,
      name ?? '(all)',
      rotationIntervalDays,
      graceSeconds / daySeconds,
      autoRotate ? 'on' : 'off',
    ]);
  }
  const shown = policies.map(({ graceSeconds, ...each }) => ({ ...each, gracePeriodDays: graceSeconds / daySeconds }));
  return { result: { policies: shown }, text: `${table.toString()}\n` };
}

function run(
  json: boolean | undefined,
  work: (services: SecretServices, signal: AbortSignal) => Promise<CommandResult>,
): Promise<void> {
  return runCommand({ json }, async (signal) => {
    await using stack = new AsyncDisposableStack();
    const ledger = await attachLedger(stack, 'daybook secrets', signal);
    const { append, pool, log, clock, urls } = ledger;
    const onRefusal = refusalReporter({ pool, append, log });
    const proofs = await openProofs({ ...ledger, url: urls.application, onRefusal }, stack);
    const apiKeys = stack.use(new ApiKeyStore(pool, clock, log));
    const { secrets } = await openSecrets({ ...ledger, apiKeys, keys: proofs.services.keys });
    return await work(secrets, signal);
  });
}

/** Without the line end that editors add; null where there is no file. */
async function readGiven(file: string | undefined): Promise<string | null> {
  if (file === undefined) return null;
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new DaybookError('BAD_USER_INPUT', `${file} cannot be read: ${(error as Error).message}`, { cause: error });
  });
  return text.replace(/\r?\n$/, '');
}

function parseType(text: string): SecretType {
  const type = secretTypes.find((each) => each === text.toUpperCase());
  if (type === undefined) throw new DaybookError('BAD_USER_INPUT', `the type is one of ${secretTypes.join(', ')}`);
  return type;
}

function splitSetting(text: string): [string, string] {
  const place = text.indexOf('=');
  if (place < 1) throw new DaybookError('BAD_USER_INPUT', '--setting takes name=value');
  return [text.slice(0, place), text.slice(place + 1)];
}

function numberOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() === '' || Number.isNaN(value))
    throw new DaybookError('BAD_USER_INPUT', `${option} takes a number of days`);
  return value;
}
