import { onTestFinished } from 'vitest';
import type { DatabaseOptions, TestDatabase } from './database.ts';
import { createDatabase } from './database.ts';

/** As `createDatabase`, inside of a test: closed and removed with its end. */
export function databaseOfTest(options: DatabaseOptions = {}): TestDatabase {
  const database = createDatabase(options);
  onTestFinished(() => database.close());
  return database;
}
