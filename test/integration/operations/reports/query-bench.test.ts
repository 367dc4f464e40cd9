import { readFileSync, readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { QueryBench } from '../../../../src/diagnosis/query-bench.ts';
import { benchQueries } from '../../../../src/diagnosis/query-bench.ts';
import { GUIDE_QUERIES } from '../../../../src/diagnosis/queries.ts';
import { gateQueries } from '../../../../src/store/gate-queries.ts';
import { prepareStatements } from '../../../../src/store/reader.ts';
import { readSchema } from '../../../../src/store/schema-reader.ts';
import { ERAS } from '../../../support/database/database.ts';
import { createHealthyDatabase } from '../../../support/database/diagnosis.ts';
import { operationOn } from '../../../support/database/operation.ts';

const bench = (path: string, options: Partial<QueryBench> = {}) =>
  benchQueries({
    operation: operationOn(path),
    chosen: { user: undefined, organization: undefined },
    iterations: 20,
    policy: { adminAccess: 'organization' },
    onProgress: () => undefined,
    ...options,
  });

describe('the queries that are timed', () => {
  test.each([
    ['0.6.18', false, []],
    ['0.12.4', true, ['switch']],
  ] as const)("are the guide's three, those of the gate, and a whole decision, on %s", async (era, mai, more) => {
    using database = createHealthyDatabase({ era, mai });
    const { queries } = await bench(database.path);
    expect(queries.map(({ name }) => name)).toEqual([
      ...['user_orgs', 'org_models', 'user_models_view', 'role', 'api_key', 'memberships', ...more, 'grants', 'preset'],
      ...['versions', 'whole decision'],
    ]);
    for (const { times, problem } of queries) {
      expect(problem).toBeUndefined();
      expect(times!.min).toBeLessThanOrEqual(times!.median);
      expect(times!.median).toBeLessThanOrEqual(times!.max);
    }
  });

  /** Every statement that a reader prepares, caught where it does. */
  test('are word for word what the gate prepares', () => {
    using database = createHealthyDatabase({ mai: true });
    const prepared: string[] = [];
    const { sql } = database;
    const prepare = sql.prepare.bind(sql);
    sql.prepare = (source: string) => {
      prepared.push(source);
      return prepare(source);
    };
    prepareStatements(sql);
    for (const query of gateQueries(readSchema(sql))) expect(prepared).toContain(query.sql);
  });

  test("are the guide's, word for word", () => {
    const spaces = / {8}/;
    for (const { sql } of GUIDE_QUERIES) expect(sql).toMatch(spaces);
    expect(GUIDE_QUERIES.map(({ sql }) => sql.replace(/\s+/g, ' ').trim())).toEqual([
      'SELECT DISTINCT organization_id FROM organization_members WHERE user_id = ? AND is_active = 1',
      'SELECT DISTINCT model_id FROM organization_models WHERE organization_id = ? AND is_active = 1',
      'SELECT DISTINCT model_id FROM user_available_models WHERE user_id = ?',
    ]);
  });
});

test('real users are asked for in turn, spread over the whole table, or the one who is named', async () => {
  using database = createHealthyDatabase({ members: 3_000 });
  const { subjects } = await bench(database.path);
  expect(subjects.users.length).toBeGreaterThan(900);
  expect(subjects.users.length).toBeLessThanOrEqual(1_000);
  const numbers = subjects.users.map((id) => Number(/\d+$/.exec(id)?.[0] ?? 0));
  expect(Math.max(...numbers)).toBeGreaterThan(2_900);
  expect(subjects.organizations).toEqual(['acme']);
  const one = await bench(database.path, { chosen: { user: 'ALICE@example.org', organization: 'acme' } });
  expect(one.subjects.users).toEqual(['alice']);
});

test('a missing view is said with what to do, and the other queries still run', async () => {
  using database = createHealthyDatabase();
  database.sql.exec('DROP VIEW user_available_models');
  const { queries } = await bench(database.path);
  const broken = queries.filter(({ times }) => times === undefined);
  expect(broken).toMatchObject([
    { name: 'user_models_view', problem: 'no such table: user_available_models: run `modelgate init`' },
  ]);
});

test.each([
  [{ user: 'nobody', organization: undefined }, 'knows no user'],
  [{ user: undefined, organization: 'acne' }, 'No model belongs to an organization "acne"'],
])('%o is refused in words', async (chosen, words) => {
  using database = createHealthyDatabase();
  await expect(bench(database.path, { chosen })).rejects.toThrow(words);
});

test('a file without members has nobody to ask for', async () => {
  using database = createHealthyDatabase();
  database.run('DELETE FROM organization_members');
  await expect(bench(database.path)).rejects.toThrow('modelgate member add');
});

test.each(ERAS)('nothing is changed, not even the journal mode, on %s', async (era) => {
  using database = createHealthyDatabase({ era });
  database.sql.close();
  const before = readFileSync(database.path);
  await bench(database.path);
  expect(readFileSync(database.path).equals(before)).toBe(true);
  expect(readdirSync(database.directory)).toEqual(['webui.db']);
});

test('Ctrl-C ends it between two queries', async () => {
  using database = createHealthyDatabase();
  const stopping = new AbortController();
  const { path } = database;
  const operation = { path, patience: { longestMs: 0, signal: stopping.signal, say: () => undefined } };
  await expect(bench(path, { operation, onProgress: (done) => done === 3 && stopping.abort() })).rejects.toThrow(
    'Stopped',
  );
});
