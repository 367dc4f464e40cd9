/**
 * One open connection with everything prepared for the schema that was found behind it. A reader is used until the
 * file or its schema is another one; then the next reader replaces it whole.
 */
import { realpathSync } from 'node:fs';
import { type Connection, type FileIdentity, failureCode, identityOf, isBusy, openForReading } from './database.ts';
import {
  type GrantReader,
  type Membership,
  type PresetReader,
  type UserReader,
  prepareComposites,
  prepareConnectionPrefixes,
  prepareGrants,
  prepareMemberships,
  preparePresets,
  prepareUsers,
  VERSION_QUERY,
} from './queries.ts';
import { type Schema, readSchema } from './schema-reader.ts';
import { COUNTED_TABLES } from './tables.ts';

/** What a decision asks of the file: point reads, whose arguments and answers may go from thread to thread. */
export interface PointReads extends UserReader, PresetReader, GrantReader {
  membershipsOf(user: string): readonly Membership[];
  composites(): ReadonlySet<string>;
  connectionPrefixes(): readonly string[];
  /** @throws SqliteError where no request could be served, though the file can be opened */
  probe(): void;
}

/** Statements prepared for one schema. */
export interface Statements extends PointReads {
  readonly schema: Schema;
  /** @returns the counters of our two tables; undefined where no triggers keep them */
  versions(): Versions | undefined;
}

export type PointRead = keyof PointReads;

/** A read with what it asks for. */
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

export interface Versions {
  readonly members: number;
  readonly models: number;
}

export interface Reader {
  readonly connection: Connection;
  /** Where the symbolic links of the path lead. */
  readonly realPath: string;
  /** As it was before anything was read: what was changed since then will be seen. */
  readonly identity: FileIdentity;
  /** Changes when another connection has committed; comparable on this connection only. */
  dataVersion(): number;
  /** Changes with every change of the schema. Small numbers: two files may well have the same. */
  schemaVersion(): number;
  /** Every object of the schema and where it stands in the file, as text to be compared; 50 µs. */
  layout(): string;
  /** Reads everything from the file again: SQLite keeps the pages that it knows until the next commit. */
  dropPages(): void;
}

/**
 * @throws MissingFile where there is none
 * @throws SqliteError where it cannot be read
 */
export function openReader(path: string, busyTimeoutMs: number): Reader {
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
      realPath,
      identity: { ...before, file: after.file },
      dataVersion: () => Number(dataVersion.get()),
      schemaVersion: () => Number(schemaVersion.get()),
      layout: () => layout.get() ?? '',
      // SQLite does this while it prepares the statement, and nothing when it runs it
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

/** @throws UnreadableSchema where tables are missing or have another shape */
export function prepareStatements(connection: Connection): Statements {
  const schema = readSchema(connection);
  if (schema.problem !== undefined) throw new UnreadableSchema(schema.problem, schema.missing);
  const reads = {
    ...prepareUsers(connection, schema),
    ...prepareGrants(connection, schema),
    membershipsOf: prepareMemberships(connection, schema),
    ...preparePresets(connection, schema),
    composites: prepareComposites(connection, schema),
    connectionPrefixes: prepareConnectionPrefixes(connection, schema),
  };
  return {
    schema,
    ...reads,
    versions: schema.counted ? prepareVersions(connection) : () => undefined,
    probe: prepareProbe(connection, reads),
  };
}

function prepareVersions(connection: Connection): () => Versions {
  const statement = connection.prepare<[string], number>(VERSION_QUERY).pluck();
  const [members, models] = COUNTED_TABLES;
  return () => ({ members: Number(statement.get(members)), models: Number(statement.get(models)) });
}

type Reads = Pick<
  Statements,
  'roleOf' | 'membershipsOf' | 'isActive' | 'patternsOf' | 'preset' | 'composites' | 'connectionPrefixes'
>;

/**
 * A look at the file sees its header and the counters alone: the pages behind them may be damaged all the same. So it
 * reads what a request would read, for a few users, organizations and models.
 * @returns a function that throws the SqliteError that every request would meet; a single damaged page is met by some
 */
function prepareProbe(connection: Connection, reads: Reads): () => void {
  const ends = (table: string, column: string): (() => readonly string[]) => {
    const statements = ['min', 'max'].map((end) =>
      connection.prepare<[], string | null>(`SELECT ${end}(${column}) FROM ${table}`).pluck(),
    );
    return () => statements.map((statement) => statement.get() ?? null).filter((end) => end !== null);
  };
  const [users, organizations, models] = [
    ends('"user"', 'id'),
    ends('organization_models', 'organization_id'),
    ends('model', 'id'),
  ];
  return () => {
    reads.composites();
    reads.connectionPrefixes();
    readSome(users(), (user) => [reads.roleOf(user), reads.membershipsOf(user)]);
    readSome(organizations(), (id) => [reads.isActive(id), reads.patternsOf(id)]);
    readSome(models(), (id) => reads.preset(id as Parameters<typeof reads.preset>[0]));
  };
}

/** @throws what all of the reads have thrown, or a lock, for which there is no need to try them all */
function readSome(ids: readonly string[], read: (id: string) => unknown): void {
  let [failures, first] = [0, undefined as unknown];
  for (const id of ids) {
    try {
      read(id);
    } catch (error) {
      if (isBusy(error)) throw error;
      first ??= error;
      failures += 1;
    }
  }
  if (failures > 0 && failures === ids.length) throw first;
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
