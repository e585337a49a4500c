import { z } from 'zod';
import { errorCatalogue } from '../errors.js';
import { auditLogColumns, type AuditLogRow } from '../exports/audit-columns.js';
import type { Column, ColumnKind } from '../exports/column.js';
import { contentTypes } from '../exports/export-formats.js';
import { entryId, exportQuery, logsQuery, statsQuery } from './audit-route-query.js';

type JsonSchema = Readonly<Record<string, unknown>>;

const count: JsonSchema = { type: 'integer', minimum: 0 };
const index: JsonSchema = { type: 'string', pattern: '^\\d+$' };
const counts: JsonSchema = { type: 'object', additionalProperties: count };
const orNull = (schema: JsonSchema): JsonSchema => ({ anyOf: [schema, { type: 'null' }] });
const reference = (name: string): JsonSchema => ({ $ref: `#/components/schemas/${name}` });
const object = (properties: Readonly<Record<string, JsonSchema>>): JsonSchema => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
});

const filter: JsonSchema = {
  type: 'object',
  additionalProperties: { type: 'string' },
  description: 'The conditions of the call, secrets redacted.',
};
const archived: JsonSchema = {
  type: ['string', 'null'],
  description: 'First and last index, as in 0-767, of what of the asked range is in archives alone.',
};
const extent = {
  ...{ count, firstIndex: orNull(index), lastIndex: orNull(index), asOf: orNull(index) },
  archived,
  filter,
};
const logs: JsonSchema = { type: 'array', items: reference('AuditLog') };

/**
 * The OpenAPI 3.1 document of the REST paths. Parameters come from the schemas that check them, columns from the list that
 * every format is encoded from.
 */
export function describeAuditPaths(): Readonly<Record<string, unknown>> {
  return {
    openapi: '3.1.0',
    info: {
      title: 'Daybook audit log',
      version: '1',
      description: 'Every call leaves an audit entry of its own. docs/exports.md explains formats and columns.',
    },
    security: [{ apiKey: [] }],
    paths: {
      '/audit/logs': get('listAuditLogs', 'One page of audit entries, newest first', logsQuery, logFiles()),
      '/audit/logs/{id}': {
        get: {
          operationId: 'getAuditLog',
          summary: 'One audit entry',
          parameters: [{ name: 'id', in: 'path', required: true, schema: schemaOf(entryId) }],
          responses: { '200': answer('The entry', json('AuditLog')), ...failures },
        },
      },
      '/audit/stats': get('getAuditStats', 'Totals of the entries that match', statsQuery, json('AuditStats')),
      '/audit/export': get('exportAuditLogs', 'Every entry that matches, oldest first', exportQuery, exportFiles()),
      '/audit/openapi.json': get('getOpenapi', 'This document', z.strictObject({}), {
        'application/json': { schema: { type: 'object' } },
      }),
    },
    components: {
      securitySchemes: { apiKey: { type: 'http', scheme: 'bearer', description: 'An API key of Daybook.' } },
      schemas: {
        AuditLog: object(Object.fromEntries(auditLogColumns.map((column) => [column.name, schemaOfColumn(column)]))),
        AuditLogList: object({ total: count, page: count, pages: count, limit: count, ...extent, logs }),
        AuditLogExport: object({ ...extent, logs }),
        AuditStats: object({
          totalLogs: count,
          byAction: counts,
          byUser: counts,
          topEndpoints: { type: 'array', items: object({ resource: { type: 'string' }, count }) },
          byCategory: counts,
          byOutcome: counts,
          byDay: counts,
          bytes: count,
          asOf: orNull(index),
          archived,
          filter,
        }),
        Error: object({
          error: object({
            code: { type: 'string', enum: Object.keys(errorCatalogue) },
            message: { type: 'string' },
            retryable: { type: 'boolean' },
          }),
        }),
      },
    },
  };
}

function get(operationId: string, summary: string, query: z.ZodObject, content: JsonSchema) {
  const parameters = parametersOf(query);
  return { get: { operationId, summary, parameters, responses: { '200': answer(summary, content), ...failures } } };
}

/** No parameter is required: what may be left out has a default or adds no condition. */
function parametersOf(query: z.ZodObject): object[] {
  const { properties = {} } = schemaOf(query) as { properties?: Record<string, JsonSchema> };
  return Object.entries(properties).map(([name, { description, ...schema }]) => ({
    name,
    in: 'query',
    required: false,
    description,
    schema,
  }));
}

/** As the value reads once it is checked: a page is a number, though it arrives as text like everything in a query. */
function schemaOf(schema: z.ZodType): JsonSchema {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io: 'output' });
  return rest;
}

const schemaOfKind: Readonly<Record<ColumnKind, JsonSchema>> = {
  text: { type: 'string' },
  json: {},
  integer: { type: 'integer' },
  index,
  time: { type: 'string', format: 'date-time' },
};

function schemaOfColumn({ kind, nullable, description }: Column<AuditLogRow>): JsonSchema {
  const schema = schemaOfKind[kind];
  return { ...(nullable && kind !== 'json' ? orNull(schema) : schema), description };
}

const failures = { default: answer('A refusal or a fault', json('Error')) };

function answer(description: string, content: JsonSchema): JsonSchema {
  return { description, content };
}

function json(name: string): JsonSchema {
  return { 'application/json': { schema: reference(name) } };
}

function logFiles(): JsonSchema {
  return { ...json('AuditLogList'), ...otherFiles() };
}

function exportFiles(): JsonSchema {
  return { ...json('AuditLogExport'), ...otherFiles() };
}

/** Files whose content OpenAPI cannot describe further. */
function otherFiles(): JsonSchema {
  const [csv = '', jsonl = '', parquet = ''] = [contentTypes.csv, contentTypes.jsonl, contentTypes.parquet].map(
    (type) => type.split(';')[0],
  );
  return { [csv]: { schema: { type: 'string' } }, [jsonl]: { schema: { type: 'string' } }, [parquet]: {} };
}
