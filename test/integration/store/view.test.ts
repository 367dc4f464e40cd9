import { describe, expect, test } from 'vitest';
import { toUserId } from '../../../src/policy/principal.ts';
import type { ModelId } from '../../../src/policy/grant.ts';
import { NotLoaded } from '../../../src/store/store-view.ts';
import { type TestDatabase, createDatabase } from '../../support/database/database.ts';
import { openStore } from '../../support/database/opened-store.ts';

const id = (text: string) => text as ModelId;

describe('a preset', () => {
  test.each([
    ['model, which overwrites the request’s', { model: 'forbidden' }, ['forbidden']],
    ['custom_params with JSON in a string', { custom_params: { model: '"forbidden"' } }, ['forbidden']],
    ['custom_params with a bare string', { custom_params: { model: 'forbidden' } }, ['forbidden']],
    ['a list of fallbacks', { custom_params: { models: '["a", "b"]' } }, ['a', 'b']],
    ['fallbacks keyed by model', { fallbacks: [{ a: ['b', 'c'] }] }, ['a', 'b', 'c']],
    ['fallbacks as objects', { fallbacks: [{ model: 'a' }, { id: 'b' }] }, ['a', 'b']],
    ['extra_body', { extra_body: { route: 'fallback', models: ['a'] } }, ['a']],
    ['JSON in a string that hides an object', { custom_params: { extra: '{"model": "a"}' } }, ['a']],
    ['JSON that only Python reads', { custom_params: { extra: '{"models": ["a"], "x": NaN}' } }, ['\0']],
    ['nothing but settings', { temperature: 0.7, stop: ['model'], system: 'You are a model.' }, []],
  ])('names in its parameters: %s', async (_name, params, expected) => {
    using database = createDatabase();
    database.addModel({ id: 'preset', base: 'base', params });
    using opened = await openStore(database);
    expect(await opened.next().preset(id('preset'))).toMatchObject({
      id: 'preset',
      base: 'base',
      parameterModels: expected,
    });
  });

  test('with a parameter that names a model in no readable form names something that is not granted', async () => {
    using database = createDatabase();
    database.addUser({ id: 'ada' });
    database.addMember('acme', 'ada');
    database.grant('acme', 'base');
    database.addModel({ id: 'preset', base: 'base', params: { model: 7 } });
    using opened = await openStore(database);
    expect(await opened.reason('ada', 'preset')).toBe('preset_parameter_not_granted');
  });

  test.each([null, '', 'null', '{}'])('survives parameters that are none: %s', async (params) => {
    using database = createDatabase();
    database.addModel({ id: 'preset', base: 'base' });
    database.run('UPDATE model SET params = ?', params);
    using opened = await openStore(database);
    expect(await opened.next().preset(id('preset'))).toMatchObject({ base: 'base', parameterModels: [] });
  });

  test.each(['not JSON', '[]', '7', '{"temperature": NaN, "model": "hidden"}', '{"model": "base", "model": "hidden"}'])(
    'with parameters that two readers could read differently is permitted to no user: %s',
    async (params) => {
      using database = createDatabase();
      database.addUser({ id: 'ada' });
      database.addMember('acme', 'ada');
      database.grant('acme', 'base');
      database.addModel({ id: 'preset', base: 'base' });
      database.run('UPDATE model SET params = ?', params);
      using opened = await openStore(database);
      expect(await opened.reason('ada', 'preset')).toBe('preset_parameter_not_granted');
    },
  );

  test('whose base is the row itself ends the walk', async () => {
    using database = createDatabase();
    database.addUser({ id: 'ada' });
    database.addMember('acme', 'ada');
    database.addModel({ id: 'own', base: 'own' });
    using opened = await openStore(database);
    expect(await opened.effect('ada', 'own')).toBe('deny');
    database.grant('acme', 'own');
    expect(await opened.effect('ada', 'own')).toBe('permit');
  });

  test('is granted whatever the switch of its own row says: the grant decides', async () => {
    using database = createDatabase();
    database.addUser({ id: 'ada' });
    database.addMember('acme', 'ada');
    database.addModel({ id: 'hidden', active: 0 });
    database.grant('acme', 'hidden');
    using opened = await openStore(database);
    expect(await opened.effect('ada', 'hidden')).toBe('permit');
  });
});

describe('an id is granted somewhere', () => {
  test('where any organization grants it by id or prefix, active, and not only everything', async () => {
    using database = createDatabase();
    database.grant('acme', 'exact');
    database.grant('acme', 'switched-off', 0);
    database.grant('other', 'open/*');
    database.grant('everything', '*');
    using opened = await openStore(database);
    const view = opened.next();
    expect(await view.isGrantedAnywhere(id('exact'))).toBe(true);
    expect(await view.isGrantedAnywhere(id('open/any'))).toBe(true);
    expect(await view.isGrantedAnywhere(id('switched-off'))).toBe(false);
    expect(await view.isGrantedAnywhere(id('anything'))).toBe(false);
    database.withdraw('acme', 'exact');
    expect(await opened.next().isGrantedAnywhere(id('exact'))).toBe(false);
  });
});

describe('a composite model', () => {
  test('is the default arena, and each that is configured', async () => {
    using database = createDatabase({ era: '0.12.4' });
    using opened = await openStore(database);
    expect(await opened.next().isComposite(id('arena-model'))).toBe(true);
    expect(await opened.next().isComposite(id('blind-test'))).toBe(false);
    database.run(
      `INSERT INTO config ("key", value, updated_at) VALUES ('evaluation.arena.models', ?, 1)`,
      JSON.stringify([{ id: 'blind-test', name: 'Blind test', meta: { model_ids: ['a'] } }]),
    );
    expect(await opened.next().isComposite(id('blind-test'))).toBe(true);
  });

  test('is found in the one document of older versions, the newest row of them', async () => {
    using database = createDatabase({ era: '0.6.18' });
    const config = (arena: string) => JSON.stringify({ evaluation: { arena: { models: [{ id: arena }] } } });
    database.run('INSERT INTO config (id, data, version) VALUES (1, ?, 0)', config('old'));
    database.run('INSERT INTO config (id, data, version) VALUES (2, ?, 0)', config('new'));
    using opened = await openStore(database);
    expect(await opened.next().isComposite(id('new'))).toBe(true);
    expect(await opened.next().isComposite(id('old'))).toBe(false);
  });
});

describe('an API key', () => {
  test('is found whole and in its own letter case, and nothing else is', async () => {
    using database = createDatabase();
    database.addUser({ id: 'ada', apiKey: 'sk-0123456789abcdef' });
    using opened = await openStore(database);
    const view = opened.next();
    expect(await view.userOfApiKey('sk-0123456789abcdef')).toBe('ada');
    for (const wrong of ['', 'sk-', 'SK-0123456789ABCDEF', 'sk-0123456789abcde', 'sk-%', `sk-${'0'.repeat(100_000)}`]) {
      expect(await view.userOfApiKey(wrong)).toBeUndefined();
    }
  });

  test('of no user belongs to no user: users without a key have none in common', async () => {
    using database = createDatabase({ era: '0.6.18' });
    database.addUser({ id: 'ada' });
    using opened = await openStore(database);
    expect(await opened.next().userOfApiKey('')).toBeUndefined();
    expect(await opened.next().userOfApiKey('null')).toBeUndefined();
  });

  test('is never part of what is logged', async () => {
    using database = createDatabase();
    database.addUser({ id: 'ada', apiKey: 'sk-secret' });
    using opened = await openStore(database);
    await opened.next().userOfApiKey('sk-secret');
    database.run('DROP TABLE api_key');
    opened.clock.advance(100);
    await opened.next().userOfApiKey('sk-secret');
    expect(JSON.stringify([opened.warnings, await opened.store.health()])).not.toContain('sk-secret');
  });
});

describe('a session', () => {
  const ada = toUserId('ada');
  const withStamp = (stamp: string | null) => {
    const database = createDatabase({ era: '0.12.4' });
    database.addUser({ id: 'ada' });
    const row = ['ada', 'a', '', 1, stamp];
    database.run('INSERT INTO auth (id, email, password, active, session_stamp) VALUES (?, ?, ?, ?, ?)', ...row);
    return database;
  };

  test('is over as soon as the stamp of the account is another', async () => {
    using database = withStamp('first');
    using opened = await openStore(database);
    expect(await opened.next().isSessionOver(ada, 'first')).toBe(false);
    expect(await opened.next().isSessionOver(ada, undefined)).toBe(true);
    expect(await opened.next().isSessionOver(ada, 7)).toBe(true);
    database.run(`UPDATE auth SET session_stamp = 'second'`);
    expect(await opened.next().isSessionOver(ada, 'first')).toBe(true);
    expect(await opened.next().isSessionOver(ada, 'second')).toBe(false);
  });

  test('of before 0.12 carries no stamp, and goes on until the account gets one', async () => {
    using database = withStamp(null);
    using opened = await openStore(database);
    expect(await opened.next().isSessionOver(ada, undefined)).toBe(false);
    expect(await opened.next().isSessionOver(ada, null)).toBe(false);
    expect(await opened.next().isSessionOver(ada, 'any')).toBe(true);
  });

  test.each(['0.6.18', '0.12.4'] as const)(
    'is left to the backend where it keeps no stamp of the user: %s',
    async (era) => {
      using database = createDatabase({ era });
      database.addUser({ id: 'ada' });
      using opened = await openStore(database);
      expect(await opened.next().user(ada)).toMatchObject({ role: 'user' });
      expect(await opened.next().isSessionOver(ada, 'any')).toBe(false);
    },
  );
});

test('a user whose row has no role may use nothing', async () => {
  using database = createDatabase({ era: '0.12.4' });
  database.addUser({ id: 'ada' });
  database.run('UPDATE "user" SET role = NULL');
  database.addMember('acme', 'ada');
  database.grant('acme', '*');
  using opened = await openStore(database);
  expect(await opened.reason('ada', 'any')).toBe('role_not_permitted');
});

test('what is closed answers no more', async () => {
  using database = createDatabase();
  const opened = await openStore(database);
  await opened.store.close();
  await expect(opened.next().hasModelRow(id('any'))).rejects.toMatchObject({ code: 'policy_unavailable' });
  expect(await opened.store.health()).toMatchObject({ readable: false, problem: 'closed' });
});

describe('an attempt', () => {
  test('sees what was committed before it, among many at once', async () => {
    using database = createDatabase();
    database.addUser({ id: 'ada' });
    using opened = await openStore(database, { now: () => performance.now() });
    const roleOfAda = async () => opened.store.ask(() => opened.store.current().user(toUserId('ada'))?.role);
    for (let round = 0; round < 50; round += 1) {
      const role = `role-${round}`;
      database.run('UPDATE "user" SET role = ?', role);
      // longer than the millisecond in which a look serves those who come after it
      for (const end = performance.now() + 1.1; performance.now() < end;);
      expect(new Set(await Promise.all(Array.from({ length: 20 }, roleOfAda)))).toEqual(new Set([role]));
    }
  });

  test('gets more rows than one question to the thread brings', async () => {
    using database = createDatabase();
    const ids = Array.from({ length: 1_200 }, (_, index) => `preset-${index}`);
    for (const preset of ids) database.addModel({ id: preset, base: 'base' });
    using opened = await openStore(database);
    const bases = () => ids.map((preset) => opened.store.current().preset(id(preset))?.base);
    const asked = await opened.store.ask(bases, { models: () => ids.map(id) });
    expect(new Set(asked)).toEqual(new Set(['base']));
  });

  test('that asks about something again and again gets an error in the end', async () => {
    using database = createDatabase();
    using opened = await openStore(database);
    const lacking = () => {
      throw new NotLoaded({ name: 'accountOf', key: 'ada' });
    };
    await expect(async () => opened.store.ask(lacking)).rejects.toMatchObject({ code: 'policy_unavailable' });
  });
});

describe('several memberships', () => {
  const organizations = async (database: TestDatabase) => {
    using opened = await openStore(database);
    const sets = await opened.next().grantsOf({ kind: 'user', id: toUserId('ada'), role: 'user' });
    return sets.map(({ organization }) => organization);
  };

  test('stand in the order in which they began, then by id; those without a date are last', async () => {
    using database = createDatabase();
    database.addUser({ id: 'ada' });
    const joined = { undated: null, young: 30, twin: 20, 'another twin': 20, old: 10 };
    for (const [organization, seconds] of Object.entries(joined)) {
      database.addMember(organization, 'ada');
      database.run('UPDATE organization_members SET joined_at = ? WHERE organization_id = ?', seconds, organization);
    }
    expect(await organizations(database)).toEqual(['old', 'another twin', 'twin', 'young', 'undated']);
  });

  test('stand by id in a table without dates, each once', async () => {
    using database = createDatabase({ organizationTables: 'none' });
    database.addUser({ id: 'ada' });
    database.sql.exec(`
      CREATE TABLE organization_members (organization_id TEXT, user_id TEXT);
      CREATE TABLE organization_models (organization_id TEXT, model_id TEXT);
      INSERT INTO organization_members VALUES ('b', 'ada'), ('a', 'ada'), ('b', 'ada');`);
    expect(await organizations(database)).toEqual(['a', 'b']);
  });
});
