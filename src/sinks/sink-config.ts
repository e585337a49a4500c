import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { DaybookError } from '../errors.js';

export type SinkKind = 'jsonl' | 'ecs' | 'syslog' | 'elasticsearch' | 'webhook';

const path = z.string().min(1);
const name = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9-]{0,63}$/,
    'must have 1 to 64 of: lower-case letters, digits, - and begin with one of the first two',
  );
/** Where a sink that is new to the database begins. */
const startAt = z.enum(['beginning', 'head']).default('beginning');
const common = { name, startAt };

/** An address with a password or a token in it would be shown with the address. */
const url = z
  .url({ protocol: /^https?$/, error: 'must be an http or https URL' })
  .refine(
    (text) => !URL.canParse(text) || (new URL(text).password === '' && new URL(text).username === ''),
    'must hold no user name or password: name a file with the secret instead',
  );

const files = {
  folder: path,
  gzip: z.boolean().default(true),
  /** File with 32 bytes as 64 hexadecimal digits or base64. */
  keyFile: path.optional(),
};
const tls = z.strictObject({
  caFile: path.optional(),
  /** Certificate and key of this client, for receivers that ask for one. */
  certFile: path.optional(),
  keyFile: path.optional(),
  serverName: z.string().min(1).optional(),
  /** Whether an end of the connection without the receiver's close_notify (RFC 5425 §4.4) confirms nothing. rsyslog sends none. */
  requireCloseNotify: z.boolean().default(false),
});

const jsonl = z.strictObject({
  ...common,
  kind: z.literal('jsonl'),
  ...files,
  /** With keyFile: whole lines, or what is the event's own and who it was about. */
  encrypt: z.enum(['line', 'details']).default('line'),
});
const ecs = z.strictObject({ ...common, kind: z.literal('ecs'), ...files });
const syslog = z.strictObject({
  ...common,
  kind: z.literal('syslog'),
  host: z.string().min(1).max(253),
  port: z.int().min(1).max(65_535),
  /** `false` sends in clear text, on purpose. */
  tls: z.union([tls, z.literal(false)]),
  format: z.enum(['cef', 'ocsf']).default('cef'),
  facility: z.int().min(0).max(23).default(13),
  enterpriseId: z.int().min(1).max(4_294_967_295).default(32_473),
  messageBytesMax: z.int().min(8_192).max(1_048_576).default(8_192),
  /** How long sent entries may wait until the receiver confirms them. */
  confirmSeconds: z.number().min(0.1).max(300).default(10),
  confirmEntries: z.int().min(1).max(100_000).default(2_000),
  /** For a connection to be made, for one write to leave, and for the receiver to confirm. */
  timeoutSeconds: z.number().min(0.1).max(300).default(15),
});
const http = {
  url,
  caFile: path.optional(),
  timeoutSeconds: z.number().min(0.1).max(300).default(30),
  batchEntries: z.int().min(1).max(1_000).default(500),
};
const elasticsearch = z.strictObject({
  ...common,
  kind: z.literal('elasticsearch'),
  ...http,
  index: z.string().regex(/^[a-z0-9][a-z0-9._-]{0,200}$/, 'must be the name of an index, alias or data stream'),
  apiKeyFile: path.optional(),
});
const webhook = z.strictObject({ ...common, kind: z.literal('webhook'), ...http, secretFile: path });

const fileSchema = z.strictObject({
  sinks: z
    .array(z.discriminatedUnion('kind', [jsonl, ecs, syslog, elasticsearch, webhook]))
    .max(32)
    .superRefine((sinks, refinement) => {
      const names = sinks.map((sink) => sink.name);
      names.forEach((one, place) => {
        if (names.indexOf(one) < place) {
          refinement.addIssue({ code: 'custom', path: [place, 'name'], message: 'another sink has the same name' });
        }
      });
    }),
});

export type FileSinkConfig = z.infer<typeof jsonl> | z.infer<typeof ecs>;
export type SyslogSinkConfig = z.infer<typeof syslog>;
export type ElasticsearchSinkConfig = z.infer<typeof elasticsearch>;
export type WebhookSinkConfig = z.infer<typeof webhook>;
export type SinkConfig = FileSinkConfig | SyslogSinkConfig | ElasticsearchSinkConfig | WebhookSinkConfig;

/** Members that name files; relative ones count from the folder of the file that names them. */
const pathMembers: ReadonlySet<string> = new Set([
  'folder',
  'keyFile',
  'caFile',
  'certFile',
  'apiKeyFile',
  'secretFile',
]);

/**
 * The sinks of a JSON file, `{"sinks": [...]}`; docs/sinks.md lists the members. Throws CONFIG_INVALID naming each member
 * that is not usable, never its value.
 */
export async function readSinksFile(file: string): Promise<SinkConfig[]> {
  const parsed = fileSchema.safeParse(await readJson(file));
  if (parsed.success) return parsed.data.sinks.map((sink) => resolvePaths(sink, dirname(resolve(file))));
  const lines = parsed.error.issues.map((issue) => `  ${issue.path.join('.') || 'the file'}: ${issue.message}`);
  throw new DaybookError(
    'CONFIG_INVALID',
    `${file} (DAYBOOK_SINKS_FILE) has unusable values (docs/sinks.md lists what is allowed):\n${lines.join('\n')}`,
  );
}

async function readJson(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new DaybookError('CONFIG_INVALID', `DAYBOOK_SINKS_FILE cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // The parser's message repeats a piece of the text, which may be a secret in the wrong place.
    throw new DaybookError('CONFIG_INVALID', `${file} (DAYBOOK_SINKS_FILE) is not JSON`);
  }
}

function resolvePaths<Value extends object>(value: Value, folder: string): Value {
  return Object.fromEntries(
    Object.entries(value).map(([member, given]: [string, unknown]) => {
      if (typeof given === 'string' && pathMembers.has(member)) return [member, resolve(folder, given)];
      return [member, typeof given === 'object' && given !== null ? resolvePaths(given, folder) : given];
    }),
  ) as Value;
}
