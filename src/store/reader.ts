/**
 * One open connection with everything prepared for the schema that was found behind it. A reader is used until the
 * file or its schema is another one; then the next reader replaces it whole.
 */
import type { Connection } from './database.ts';
import type { FileIdentity } from './database.ts';
import { identityOf, openForReading } from './database.ts';
import { prepareComposites } from './composites.ts';
import { prepareConnectionPrefixes } from './connection-prefixes.ts';
import type { GrantReader } from './grants.ts';
import { prepareGrants } from './grants.ts';
import type { Membership } from './memberships.ts';
import { prepareMemberships } from './memberships.ts';
import type { PresetReader } from './presets.ts';
import { preparePresets } from './presets.ts';
import type { Schema } from './schema-reader.ts';
import { readSchema } from './schema-reader.ts';
import { prepareStoredReferences } from './stored-references.ts';
import type { StoredReferences } from './store-view.ts';
import { COUNTED_TABLES, VERSION_TABLE } from './tables.ts';
import type { UserReader } from './users.ts';
import { prepareUsers } from './users.ts';

/** Statements prepared for one schema. */
export interface Statements extends UserReader, PresetReader {
  readonly schema: Schema;
  readonly grants: GrantReader;
  readonly references: StoredReferences;
  membershipsOf(user: string): readonly Membership[];
  composites(): ReadonlySet<string>;
  connectionPrefixes(): readonly string[];
  /** @returns the counters of our two tables; undefined where no triggers keep them */
  versions(): Versions | undefined;
}

export interface Versions {
  readonly members: number;
  readonly models: number;
}

export interface Reader {
  readonly connection: Connection;
  readonly identity: FileIdentity;
  /** Changes when another connection has committed; comparable on this connection only. */
  dataVersion(): number;
  /** Changes with every change of the schema, whoever made it. */
  schemaVersion(): number;
}

/**
 * @throws MissingFile where there is none
 * @throws SqliteError where it cannot be read
 */
export function openReader(path: string, busyTimeoutMs: number): Reader {
  const before = identityOf(path);
  if (before === undefined) throw new MissingFile(path);
  const connection = openForReading(path, busyTimeoutMs);
  try {
    const dataVersion = connection.prepare<[], number>('PRAGMA data_version').pluck();
    const schemaVersion = connection.prepare<[], number>('PRAGMA schema_version').pluck();
    // the first read is what makes SQLite open the companions of WAL mode: only after it the identity is complete
    connection.prepare('SELECT 1 FROM sqlite_schema LIMIT 1').get();
    const identity = identityOf(path);
    // replaced while it was being opened: what was opened is not what stands there
    if (identity?.inode !== before.inode) throw new MissingFile(path);
    return {
      connection,
      identity,
      dataVersion: () => Number(dataVersion.get()),
      schemaVersion: () => Number(schemaVersion.get()),
    };
  } catch (error) {
    connection.close();
    throw error;
  }
}

/** @throws UnreadableSchema where tables are missing or have another shape */
export function prepareStatements(connection: Connection): Statements {
  const schema = readSchema(connection);
  if (schema.problem !== undefined) throw new UnreadableSchema(schema.problem, schema.missing);
  return {
    schema,
    ...prepareUsers(connection, schema),
    grants: prepareGrants(connection, schema),
    references: prepareStoredReferences(connection, schema),
    membershipsOf: prepareMemberships(connection, schema),
    ...preparePresets(connection, schema),
    composites: prepareComposites(connection, schema),
    connectionPrefixes: prepareConnectionPrefixes(connection, schema),
    versions: schema.counted ? prepareVersions(connection) : () => undefined,
  };
}

export const VERSION_QUERY = `SELECT version FROM ${VERSION_TABLE.name} WHERE subject = ?`;

function prepareVersions(connection: Connection): () => Versions {
  const statement = connection.prepare<[string], number>(VERSION_QUERY).pluck();
  const [members, models] = COUNTED_TABLES;
  return () => ({ members: Number(statement.get(members)), models: Number(statement.get(models)) });
}

export class MissingFile extends Error {
  constructor(path: string) {
    super(`there is no file at ${path}`);
    this.name = 'MissingFile';
  }
}

export class UnreadableSchema extends Error {
  readonly missing: readonly string[];

  constructor(problem: string, missing: readonly string[]) {
    super(`${problem}; the backend may be migrating, or has not started yet`);
    this.name = 'UnreadableSchema';
    this.missing = missing;
  }
}
