import { ArgsType, Field, Int, ObjectType, type ClassType } from 'type-graphql';
import { encodeNumberCursor, type NumberedPage } from './numbered-page.js';
import { encodeCursor, type Page } from '../ledger/read-entries.js';
import type { LogName } from '../ledger/rows.js';

@ObjectType({ simpleResolvers: true, description: 'Where a page lies in its list.' })
class PageInfo {
  @Field(() => Boolean) hasNextPage!: boolean;
  @Field(() => Boolean) hasPreviousPage!: boolean;
  @Field(() => String, { nullable: true }) startCursor!: string | null;
  @Field(() => String, {
    nullable: true,
    description:
      'Where to go on. A page of filtered entries looks at a bounded part of the log: it may be short, even empty, and have a next page.',
  })
  endCursor!: string | null;
}

@ArgsType()
export class PageArgs {
  @Field(() => Int, { nullable: true, description: 'The first so many, at most 1,000; 50 when nothing is said.' })
  first?: number;

  @Field(() => String, { nullable: true, description: 'Only what follows this cursor.' }) after?: string;
  @Field(() => Int, { nullable: true, description: 'The last so many, at most 1,000, in list order.' }) last?: number;
  @Field(() => String, { nullable: true, description: 'Only what precedes this cursor.' }) before?: string;
}

/** For lists that are read in one direction only. */
@ArgsType()
export class ForwardPageArgs {
  @Field(() => Int, { nullable: true, description: 'The first so many, at most 1,000; 50 when nothing is said.' })
  first?: number;

  @Field(() => String, { nullable: true, description: 'Only what follows this cursor.' }) after?: string;
}

/** Makes the Relay connection type of a node type. Its fields are read lazily from what `connectionOf` returns. */
export function connectionType<Node extends object>(name: string, nodeClass: ClassType<Node>): ClassType<object> {
  @ObjectType(`${name}Edge`, { simpleResolvers: true })
  class Edge {
    @Field(() => String) cursor!: string;
    @Field(() => nodeClass) node!: Node;
  }

  @ObjectType(`${name}Connection`, { simpleResolvers: true })
  class Connection {
    @Field(() => [Edge]) edges!: Edge[];
    @Field(() => [nodeClass]) nodes!: Node[];
    @Field(() => PageInfo) pageInfo!: PageInfo;
    @Field(() => Int, {
      description: 'How many match in all; counted only when asked for. QUERY_TOO_BROAD where that takes too long.',
    })
    totalCount!: number;
  }
  return Connection;
}

/** A page in the shape of a connection: members that are functions run only when their field is selected. */
export interface Connection {
  readonly nodes: readonly object[];
  readonly edges: () => readonly { cursor: string; node: object }[];
  readonly pageInfo: () => object;
  readonly totalCount: () => Promise<number>;
}

/** A page of a log; cursors name the log and the entry's index. */
export function connectionOf(log: LogName, page: Page<{ readonly chainIndex: string }>): Connection {
  const { lookedUpTo } = page;
  const ended = lookedUpTo === undefined ? {} : { [lookedUpTo.edge]: encodeCursor(log, lookedUpTo.chainIndex) };
  return connectionWith(page, (row) => encodeCursor(log, row.chainIndex), ended);
}

/** A page that `readNumberedPage` read; cursors name the list and the row's number. */
export function numberedConnection(page: NumberedPage<{ readonly number: string }>): Connection {
  return connectionWith(page, (row) => encodeNumberCursor(page.list, row.number));
}

/** `ended` holds the cursors of a page that looked further than its rows reach. */
function connectionWith<Row extends object>(
  page: Page<Row>,
  cursorOf: (row: Row) => string,
  ended: { readonly start?: string; readonly end?: string } = {},
): Connection {
  const edgeCursor = (row: Row | undefined) => (row === undefined ? null : cursorOf(row));
  return {
    nodes: page.rows,
    edges: () => page.rows.map((row) => ({ cursor: cursorOf(row), node: row })),
    pageInfo: () => ({
      hasNextPage: page.hasNextPage,
      hasPreviousPage: page.hasPreviousPage,
      startCursor: ended.start ?? edgeCursor(page.rows[0]),
      endCursor: ended.end ?? edgeCursor(page.rows.at(-1)),
    }),
    totalCount: page.totalCount,
  };
}
