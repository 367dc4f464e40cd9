import { describe, expect, test } from 'vitest';
import { allowModels, denyModels, listGrants } from '../../../src/organizations/grants.ts';
import type { ChosenOrganization } from '../../../src/organizations/organizations.ts';
import { ERAS, type DatabaseOptions, type TestDatabase } from '../../support/database/database.ts';
import { onlyInFile, testOfFile } from '../../support/database/policy-place.ts';
import { databaseOfTest } from '../../support/database/opened-store.ts';
import { createMaiTables } from '../../support/database/mai-tables.ts';
import { failureOf, flattened, operationOf } from '../../support/database/operation.ts';

const ACME = 'mai_client_acme';
const CHOSEN: ChosenOrganization = { id: ACME, isConfigured: false, mayBeNew: true };

function models(options: DatabaseOptions = {}): TestDatabase {
  const database = databaseOfTest(options);
  database.addModel({ id: 'openai/gpt-4o', name: 'GPT-4o' });
  database.addModel({ id: 'preset', base: 'openai/gpt-4o', name: 'Helper' });
  return database;
}

const allow = async (database: TestDatabase, ...patterns: string[]) =>
  flattened(allowModels(await operationOf(database), CHOSEN, { patterns }));
const deny = async (database: TestDatabase, patterns: string[], purge = false) =>
  flattened(denyModels(await operationOf(database), { ...CHOSEN, mayBeNew: false }, { patterns, purge }));
const list = async (database: TestDatabase) => (await listGrants(await operationOf(database), CHOSEN)).models;

const rowsOf = (database: TestDatabase): Record<string, unknown>[] =>
  database.rows('SELECT * FROM organization_models ORDER BY organization_id, model_id');
const withoutTimes = (rows: readonly Record<string, unknown>[]) =>
  rows.map((row) => ({ ...row, created_at: typeof row['created_at'], updated_at: typeof row['updated_at'] }));

/** The guide's "Enable model for organization" and "Disable model for organization", with their placeholders filled in. */
const guideAllows = (model: string) => `
  INSERT OR REPLACE INTO organization_models (id, organization_id, model_id, is_active, created_at, updated_at)
  VALUES (
      'orgmod_' || '${ACME}' || '_' || '${model}',
      '${ACME}',
      '${model}',
      1,
      strftime('%s', 'now'),
      strftime('%s', 'now')
  );`;
const guideDenies = (model: string) => `
  UPDATE organization_models
  SET is_active = 0, updated_at = strftime('%s', 'now')
  WHERE organization_id = '${ACME}' AND model_id = '${model}';`;

describe.each(ERAS)('on a database of %s', (era) => {
  test("what is allowed and denied has the rows of the guide's statements", async () => {
    const [ours, theirs] = [models({ era }), models({ era })];
    for (const database of [ours, theirs]) {
      database.grant(ACME, 'off', 0);
      database.grant(ACME, 'default', null);
      database.grant('globex', 'openai/gpt-4o');
    }
    await allow(ours, 'openai/gpt-4o', 'mistral/*', 'off', 'default', 'denied');
    await deny(ours, ['denied']);
    for (const model of ['openai/gpt-4o', 'mistral/*', 'off', 'default', 'denied']) theirs.sql.exec(guideAllows(model));
    theirs.sql.exec(guideDenies('denied'));
    expect(withoutTimes(rowsOf(ours))).toEqual(withoutTimes(rowsOf(theirs)));
  });

  test("the list has the rows and names of the guide's", async () => {
    const database = models({ era });
    await allow(database, 'openai/gpt-4o', 'preset', 'of-a-provider');
    await deny(database, ['preset']);
    const guides = database.rows(
      `SELECT m.id, m.name, om.is_active
       FROM organization_models om
       JOIN model m ON om.model_id = m.id
       WHERE om.organization_id = '${ACME}'
       ORDER BY m.name`,
    );
    const ours = (await list(database)).filter(({ covers }) => covers > 0);
    expect(ours.map(({ pattern, name, active }) => ({ id: pattern, name, is_active: Number(active) }))).toEqual(guides);
  });
});

describe('what is allowed', () => {
  test('has one of three outcomes: new, again, already', async () => {
    const database = models();
    database.grant(ACME, 'off', 0);
    database.grant(ACME, 'on');
    const before = rowsOf(database);
    const { models: outcomes } = await allow(database, 'new', 'off', 'on', 'new');
    expect(outcomes.map(({ pattern, outcome }) => [pattern, outcome])).toEqual([
      ['new', 'added'],
      ['off', 'restored'],
      ['on', 'unchanged'],
    ]);
    expect(rowsOf(database).find((row) => row['model_id'] === 'on')).toEqual(before[1]);
    expect(rowsOf(database).find((row) => row['model_id'] === 'off')?.['created_at']).toBe(before[0]?.['created_at']);
  });

  test('may have a * in it where the backend has just that model', async () => {
    const database = models();
    database.addModel({ id: 'a*b' });
    expect((await allow(database, 'a*b')).models).toMatchObject([{ outcome: 'added', known: true }]);
  });

  test('may be as long as an id can be', async () => {
    const [id, prefix] = ['x'.repeat(1024), `${'y'.repeat(1024)}*`];
    const database = models();
    await allow(database, id, prefix);
    expect((await list(database)).every(({ reasons }) => reasons.length === 0)).toBe(true);
  });

  test('is never split: an id may hold / and : and a quote', async () => {
    const database = models();
    const ids = ['a/b:c/d', 'o\'hara"--', 'x; DROP TABLE model', 'ünï🦊'];
    await allow(database, ...ids);
    expect(rowsOf(database).map((row) => row['id'])).toEqual(
      ids.map((id) => `orgmod_${ACME}_${id}`).toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
    );
  });
});

describe.each(ERAS)('of a model, the file of %s knows', (era) => {
  const knows = async (database: TestDatabase, pattern: string) => (await allow(database, pattern)).models[0]?.known;

  const setting = (database: TestDatabase, key: string, value: unknown) => {
    if (era === '0.12.4') {
      database.run('INSERT INTO config ("key", value) VALUES (?, ?)', key, JSON.stringify(value));
    } else {
      const nested = key.split('.').reduceRight<unknown>((inner, part) => ({ [part]: inner }), value);
      database.run('INSERT INTO config (data, version) VALUES (?, 0)', JSON.stringify(nested));
    }
  };

  test('rows of its table, and what begins like them', async () => {
    const database = models({ era });
    expect(await knows(database, 'openai/gpt-4o')).toBe(true);
    expect(await knows(database, 'preset')).toBe(true);
    expect(await knows(database, 'openai/*')).toBe(true);
    expect(await knows(database, 'openai/gpt')).toBe(false);
    expect(await knows(database, 'mistral/*')).toBe(false);
    expect(await knows(database, 'OpenAI/gpt-4o')).toBe(false);
  });

  test('what a connection lists by id, with the prefix of the connection', async () => {
    const database = models({ era });
    setting(database, 'openai.api_configs', {
      '0': { enable: true, prefix_id: 'eu', model_ids: ['gpt-5', 7] },
      '1': { model_ids: ['plain'] },
      '2': 'nonsense',
    });
    expect(await knows(database, 'eu.gpt-5')).toBe(true);
    expect(await knows(database, 'plain')).toBe(true);
    expect(await knows(database, 'gpt-5')).toBe(false);
  });

  test('arenas and functions', async () => {
    const database = models({ era });
    setting(database, 'evaluation.arena.models', [{ id: 'my-arena' }, null]);
    database.run(
      `INSERT INTO function (id, user_id, name, type, content, meta, is_active, is_global, created_at, updated_at)
       VALUES ('my_pipe', 'u', 'Pipe', 'pipe', '', '{}', ?, ?, 1, 1), ('my_filter', 'u', 'F', 'filter', '', '{}', ?, ?, 1, 1)`,
      ...[1, 0, 1, 0],
    );
    expect(await knows(database, 'my-arena')).toBe(true);
    expect(await knows(database, 'my_pipe')).toBe(true);
    expect(await knows(database, 'my_filter')).toBe(false);
  });

  testOfFile('nothing of settings that are no JSON', async () => {
    const database = models({ era });
    if (era === '0.12.4') database.run(`INSERT INTO config ("key", value) VALUES ('openai.api_configs', '{broken')`);
    else database.run(`INSERT INTO config (data, version) VALUES ('{broken', 0)`);
    expect(await knows(database, 'broken')).toBe(false);
  });
});

test('a model that has answered in a chat is known, where answers have a column for it', async () => {
  const database = models();
  database.addChat({ id: 'chat', user: 'u', chat: {} });
  database.addChatMessage({ id: 'm', chat: 'chat', user: 'u', model: 'of-a-provider' });
  expect((await allow(database, 'of-a-provider', 'of-another')).models.map(({ known }) => known)).toEqual([
    true,
    false,
  ]);
});

describe('what is denied', () => {
  test('is reported by outcome, with what still covers it', async () => {
    const database = models();
    for (const pattern of ['a/b', 'a/*', 'a/b/*', 'other/*']) database.grant(ACME, pattern);
    database.grant(ACME, 'off', 0);
    database.grant(ACME, 'a*', 0);
    database.grant('globex', '*');
    expect((await deny(database, ['a/b', 'off'])).models).toEqual([
      { pattern: 'a/b', outcome: 'switched_off', still_allowed_by: ['a/*'] },
      { pattern: 'off', outcome: 'off_already', still_allowed_by: [] },
    ]);
    expect((await deny(database, ['a/*'])).models).toEqual([
      { pattern: 'a/*', outcome: 'switched_off', still_allowed_by: ['a/b/*'] },
    ]);
  });

  test('together is not said to cover each other', async () => {
    const database = models();
    for (const pattern of ['a/b', 'a/*']) database.grant(ACME, pattern);
    expect((await deny(database, ['a/b', 'a/*'])).models.map((model) => model.still_allowed_by)).toEqual([[], []]);
  });

  test('must be a grant, or nothing is denied', async () => {
    const database = models();
    for (const pattern of ['a/b', 'c/*']) database.grant(ACME, pattern);
    database.grant(ACME, 'off/*', 0);
    const message = await failureOf(deny(database, ['a/b', 'c/d', 'off/x', 'A/B']));
    expect(message.split('\n')).toEqual([
      'Nothing was denied. 3 names are in the way:',
      '  "mai_client_acme" has no grant "c/d": "c/*" covers it, and no single model can be taken out of that.',
      '  "mai_client_acme" has no grant "off/x". Did you mean "off/*"?',
      '  "mai_client_acme" has no grant "A/B". Did you mean "a/b"?',
      'Its grants: `modelgate model list --org mai_client_acme`',
    ]);
    expect(rowsOf(database).find((row) => row['model_id'] === 'a/b')?.['is_active']).toBe(1);
  });

  test('may be what could never match, because an operator has written it by hand', async () => {
    const database = models();
    const odd = ['line\nbreak', 'x'.repeat(10_000), '\u001b[31m'];
    for (const id of odd) database.grant(ACME, id);
    expect((await list(database)).map(({ reasons }) => reasons)).toEqual(odd.map(() => ['matches_nothing']));
    await deny(database, odd);
    expect(rowsOf(database).map((row) => row['is_active'])).toEqual([0, 0, 0]);
    expect(await deny(database, odd, true)).toMatchObject({ isEmpty: true });
    expect(rowsOf(database)).toEqual([]);
  });
});

test("mAI's own rows keep their ids, and foreign keys to models that have no row hinder no change", async () => {
  const database = models({ era: '0.6.18', organizationTables: 'none' });
  createMaiTables(database);
  database.addClientOrganization(ACME, 0);
  database.run(`INSERT INTO organization_models VALUES ('uuid-1', ?, 'openai/gpt-4o', 0, 5, 5)`, ACME);
  const done = await allow(database, 'openai/gpt-4o', 'of-a-provider', 'google/*');
  expect(done).toMatchObject({ isActive: false, created: false });
  expect(rowsOf(database).map((row) => row['id'])).toEqual([
    `orgmod_${ACME}_google/*`,
    `orgmod_${ACME}_of-a-provider`,
    'uuid-1',
  ]);
  expect((await list(database)).every(({ reasons }) => reasons.includes('organization_inactive'))).toBe(true);
});

test('tables made by hand are used as they are', async () => {
  const database = models({ organizationTables: 'none' });
  database.sql.exec(`
    CREATE TABLE organization_models (organization_id TEXT, model_id TEXT);
    CREATE TABLE organization_members (organization_id TEXT, user_id TEXT);
    INSERT INTO organization_models VALUES ('${ACME}', NULL)${onlyInFile(`, ('${ACME}', x'07')`).join('')};`);
  expect((await allow(database, 'granted', 'a/*')).models.map(({ outcome }) => outcome)).toEqual(['added', 'added']);
  expect((await allow(database, 'granted')).models[0]?.outcome).toBe('unchanged');
  expect((await list(database)).map(({ pattern }) => pattern)).toEqual(['a/*', 'granted']);
  expect(await failureOf(deny(database, ['granted']))).toMatch(/no column is_active.*--purge/);
  expect(await deny(database, ['granted'], true)).toMatchObject({ isEmpty: false });
  expect((await list(database)).map(({ pattern }) => pattern)).toEqual(['a/*']);
});
