import { writeFileSync } from 'node:fs';
import { lexicographicSortSchema, printSchema } from 'graphql';
import { buildDaybookSchema } from './schema.js';

/** Writes schema.graphql, the file that typed clients are generated from; CI fails when it is not up to date. */
writeFileSync('schema.graphql', `${printSchema(lexicographicSortSchema(buildDaybookSchema()))}\n`);
