/** A file with everything as it should be, to put one fault into, and what `doctor` finds in it. */
import { chmodSync, existsSync, readFileSync, readdirSync } from 'node:fs';
import Database from 'better-sqlite3';
import { expect, inject } from 'vitest';
import { changing } from '../../../src/backend-file/transaction.ts';
import { diagnose } from '../../../src/diagnosis/diagnosis.ts';
import type { Finding } from '../../../src/diagnosis/finding.ts';
import { readBackendRelease } from '../../../src/store/backend-releases.ts';
import { initialize } from '../../../src/store/initialize.ts';
import { initializeIn } from '../../../src/store/postgres/initialize.ts';
import { type DatabaseOptions, type TestDatabase, createDatabase } from './database.ts';
import { createMaiTables } from './mai-tables.ts';
import { makeBudgetTable } from './usage.ts';
import { operationOf, operationOn } from './operation.ts';

type Diagnosis = Parameters<typeof diagnose>[0];

export interface HealthyOptions extends DatabaseOptions {
  /** mAI's own tables, and its view the way that mAI makes it. */
  readonly mai?: boolean;
  /** Further users, each in an organization of its own. */
  readonly members?: number;
}

export function createHealthyDatabase({ mai = false, members = 0, ...options }: HealthyOptions = {}): TestDatabase {
  const database = createDatabase({ ...options, ...(mai ? { organizationTables: 'none' } : {}) });
  if (mai) {
    createMaiTables(database);
    database.addClientOrganization('acme', 1);
  }
  database.addUser({ id: 'root', role: 'admin' });
  database.addUser({ id: 'alice' });
  // mAI's columns have no default for times
  for (const user of ['root', 'alice']) database.addMember('acme', user);
  database.grant('acme', 'gpt-4o');
  database.grant('acme', 'mistral/*');
  database.sql.transaction(() => {
    for (let index = 0; index < members; index++) {
      database.addMember(`org-${index}`, database.addUser({ id: `user-${index}` }));
    }
  })();
  if (inject('policyServer') === undefined) initialize(database.sql);
  // everything else is made where it is looked for
  else makeBudgetTable(database);
  return database;
}

/** Nothing set but what is asked for; a file is closed first, as no test may share its locks with `doctor`. */
export async function findingsOf(
  database: Pick<TestDatabase, 'path' | 'sql'> | TestDatabase,
  options: Partial<Diagnosis> = {},
): Promise<readonly Finding[]> {
  const { path, sql } = database;
  if (inject('policyServer') !== undefined && 'connection' in database) {
    const operation = await operationOf(database);
    await changing(operation, 'backend', (connection) => initializeIn(connection));
    return diagnose({ ...NOTHING_SET, operation, ...options });
  }
  sql.close();
  for (const suffix of ['', '-wal', '-shm', '-journal']) {
    if (existsSync(`${path}${suffix}`)) chmodSync(`${path}${suffix}`, 0o600);
  }
  return diagnose({ ...NOTHING_SET, operation: operationOn(path, 0), ...options });
}

export const NOTHING_SET: Omit<Diagnosis, 'operation'> = {
  settings: { mistakes: [], weaknesses: [], absent: [] },
  upstream: undefined,
  secretKeys: [],
  walWanted: undefined,
  quick: false,
  lockTrial: { samples: 2, giveUpMs: 200 },
  onProgress: () => undefined,
};

export const withName = (findings: readonly Finding[], name: string): readonly Finding[] =>
  findings.filter((finding) => finding.name === name);

/** Everything that is not as it should be, as `status name`. */
export const faults = (findings: readonly Finding[]): readonly string[] =>
  findings.filter(({ status }) => status !== 'ok').map(({ status, name }) => `${status} ${name}`);

/** @returns the only fault; fails where there is another */
export async function onlyFault(
  database: Pick<TestDatabase, 'path' | 'sql'>,
  fault: string,
  options: Partial<Diagnosis> = {},
): Promise<Finding> {
  const findings = await findingsOf(database, options);
  expect(faults(findings)).toEqual([fault]);
  return findings.find(({ status }) => status !== 'ok')!;
}

/** The file once more, after `findingsOf` has closed it. */
export const openAgain = (path: string) => {
  const sql = new Database(path);
  return { sql, [Symbol.dispose]: () => void sql.close() };
};

/** Every byte of the file and the names of what lies beside it. */
export const stateOf = ({ path, directory }: Pick<TestDatabase, 'path' | 'directory'>) => ({
  bytes: readFileSync(path).toString('base64'),
  files: readdirSync(directory).toSorted(),
});

/** The release of a file whose last migration has this revision. */
export function releaseOf(revision: string) {
  const sql = new Database(':memory:');
  sql.exec(`CREATE TABLE alembic_version AS SELECT '${revision}' AS version_num`);
  const release = readBackendRelease(sql);
  sql.close();
  return release;
}
