/**
 * One open connection with everything prepared for the schema that was found behind it. A reader is used until the
 * file or its schema is another one; then the next reader replaces it whole.
 */
import { realpathSync } from 'node:fs';
import type { ModelId } from '../policy/grant.ts';
import { type Connection, failureCode, identityOf, isBusy, openForReading } from './database.ts';
import { prepare, prepareReads, statementsFor } from './queries.ts';
import { readSchema } from './schema-reader.ts';
import { COUNTED_TABLES } from './tables.ts';

export type Reader = ReturnType<typeof openReader>;

/**
 * @throws MissingFile where there is none
 * @throws SqliteError where it cannot be read
 */
export function openReader(path: string, busyTimeoutMs: number) {
  const realPath = realPathOf(path);
  const before = identityOf(path, realPath);
  if (before === undefined) throw new MissingFile(path);
  const connection = openForReading(path, busyTimeoutMs);
  try {
    const dataVersion = connection.prepare<[], number>('PRAGMA data_version').pluck();
    const schemaVersion = connection.prepare<[], number>('PRAGMA schema_version').pluck();
    const layout = connection.prepare<[], string | null>(LAYOUT_QUERY).pluck();
    // the first read is what makes SQLite open the companions of WAL mode: only after it the identity is complete
    connection.prepare('SELECT 1 FROM sqlite_schema LIMIT 1').get();
    const after = identityOf(path, realPath);
    // replaced while it was being opened: what was opened is not what stands there
    if (after?.inode !== before.inode) throw new MissingFile(path);
    return {
      connection,
      /** Where the symbolic links of the path lead. */
      realPath,
      /** As it was before anything was read: what was changed since then will be seen. */
      identity: { ...before, file: after.file },
      /** Changes when another connection has committed; comparable on this connection only. */
      dataVersion: () => Number(dataVersion.get()),
      /** Changes with every change of the schema. Small numbers: two files may well have the same. */
      schemaVersion: () => Number(schemaVersion.get()),
      /** Every object of the schema and where it stands in the file, as text to be compared; 50 µs. */
      layout: () => layout.get() ?? '',
      /** Has the next read read the file: SQLite does this while it prepares the statement, and nothing when it runs it. */
      dropPages: () => void connection.pragma('shrink_memory'),
    };
  } catch (error) {
    connection.close();
    throw error;
  }
}

const LAYOUT_QUERY = "SELECT group_concat(rootpage || ' ' || coalesce(sql, name)) FROM sqlite_schema";

function realPathOf(path: string): string {
  try {
    return realpathSync(path);
  } catch (error) {
    throw failureCode(error) === 'ENOENT' ? new MissingFile(path) : error;
  }
}

/** What a decision asks of the file: point reads, whose arguments and answers may go from thread to thread. */
export type PointReads = Omit<Statements, 'schema' | 'versions'>;
export type PointRead = keyof PointReads;

/** A read with what it asks for: no read has more than one argument. */
export interface PointCall<N extends PointRead = PointRead> {
  readonly name: N;
  readonly args: Parameters<PointReads[N]>;
}

/** A read by its name, as it comes from another thread. */
export function readPoint<N extends PointRead>(
  reads: PointReads,
  name: N,
  ...args: Parameters<PointReads[N]>
): ReturnType<PointReads[N]> {
  const read = reads[name] as (...args: Parameters<PointReads[N]>) => ReturnType<PointReads[N]>;
  return read(...args);
}

export type Versions = Readonly<Record<'members' | 'models', number>>;

/** Statements prepared for one schema. */
export type Statements = ReturnType<typeof prepareStatements>;

/** @throws UnreadableSchema where tables are missing or have another shape */
export function prepareStatements(connection: Connection) {
  const schema = readSchema(connection);
  if (schema.problem !== undefined) throw new UnreadableSchema(schema.problem, schema.missing);
  const reads = prepareReads(connection, schema);
  const version = prepare(connection, statementsFor(schema).versions);
  const [members, models] = COUNTED_TABLES;
  return {
    schema,
    ...reads,
    /** @returns the counters of our two tables; undefined where no triggers keep them */
    versions: (): Versions | undefined =>
      schema.counted ? { members: Number(version(members)[0]), models: Number(version(models)[0]) } : undefined,
    probe: prepareProbe(connection, reads),
  };
}

/**
 * A look at the file sees its header and the counters alone: the pages behind them may be damaged all the same. So it
 * reads what a request would read, for a few users, organizations and models.
 * @returns a function that throws the SqliteError that every request would meet; a single damaged page is met by some
 */
function prepareProbe(connection: Connection, reads: ReturnType<typeof prepareReads>) {
  const ends = (table: string, column: string) =>
    prepare(connection, `SELECT min(${column}) FROM ${table} UNION ALL SELECT max(${column}) FROM ${table}`);
  const users = ends('"user"', 'id');
  const organizations = ends('organization_models', 'organization_id');
  const models = ends('model', 'id');
  return (): void => {
    reads.composites();
    reads.connectionPrefixes();
    readSome(users(), (user) => [reads.roleOf(user), reads.membershipsOf(user)]);
    readSome(organizations(), (id) => [reads.isActive(id), reads.patternsOf(id)]);
    readSome(models(), (id) => reads.preset(id as ModelId));
  };
}

/** @throws what all of the reads have thrown, or a lock, for which there is no need to try them all */
function readSome(ids: readonly unknown[], read: (id: string) => unknown): void {
  const found = ids.filter((id) => id !== null) as string[];
  const failures = found.flatMap((id) => {
    try {
      read(id);
      return [];
    } catch (error) {
      if (isBusy(error)) throw error;
      return [error];
    }
  });
  if (failures.length > 0 && failures.length === found.length) throw failures[0];
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
