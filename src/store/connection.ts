/** What works on the backend's database, whichever engine it is in: the part of better-sqlite3 that operations use. */

/** Something that modelgate makes in the backend's database. */
export interface SchemaObject {
  readonly kind: string;
  readonly name: string;
  /** `kind name`. */
  readonly label: string;
  /** Makes it. */
  readonly sql: string;
}

interface Statement<P extends unknown[], R> {
  run(...values: P): { changes: number };
  get(...values: P): R | undefined;
  all(...values: P): R[];
  /** One statement at a time: nothing else may be asked of SQLite meanwhile. */
  iterate(...values: P): IterableIterator<R>;
  /** The first column alone. */
  pluck(): Statement<P, R>;
  /** Rows as arrays. */
  raw(): Statement<P, R>;
}

export interface Connection {
  /** SQL is SQLite's, of the kind that `postgres/dialect.ts` knows. */
  prepare<P extends unknown[] | object = unknown[], R = unknown>(
    sql: string,
  ): P extends unknown[] ? Statement<P, R> : Statement<[P], R>;
  exec(sql: string): unknown;
  close(): unknown;
  readonly inTransaction: boolean;
  /** What PostgreSQL says of its schema; undefined on a file of SQLite. */
  readonly postgres?: PostgresSchema;
}

/** Asked of the catalogue of the database. */
interface PostgresSchema {
  readonly name: string;
  /** What modelgate makes there, and what of it is missing. */
  readonly objects: readonly SchemaObject[];
  missing(): readonly SchemaObject[];
  columnsOf(table: string): ReadonlySet<string>;
  /** Without those that the table fills by itself. */
  writableIn(table: string): ReadonlySet<string>;
  hasIndexOn(table: string, column: string): boolean;
  /** A statement of PostgreSQL itself, in the transaction of the connection. */
  ask(text: string, values?: readonly unknown[]): readonly Record<string, unknown>[];
}
