/** The same store, on a file and on PostgreSQL, directly and through a pooler. */
import { describe, expect, test } from 'vitest';
import type { ModelId } from '../../src/policy/grant.ts';
import { toOrganizationId, toUserId } from '../../src/policy/principal.ts';
import { Checks, KnownVersions } from '../../src/store/postgres/check.ts';
import { connectPostgres } from '../../src/store/postgres/connect.ts';
import { readLayout } from '../../src/store/postgres/layout.ts';
import { CheckedQuestions } from '../../src/store/postgres/questions.ts';
import type { Reading } from '../../src/store/postgres/shared-check.ts';
import { PostgresSource } from '../../src/store/postgres/source.ts';
import { CachedView } from '../../src/store/store-view.ts';
import { openStore } from '../support/database/opened-store.ts';
import { addressOf, policyOf } from '../support/database/postgres-policy.ts';
import { pooledServerOfSuite } from '../support/pooled-server.ts';
import type { DatabaseOptions } from '../support/postgres.ts';

const ada = toUserId('ada');
const model = (id: string) => id as ModelId;
const suite = pooledServerOfSuite();

describe.each(['directly', 'through PgBouncer'] as const)('on PostgreSQL, %s,', (way) => {
  async function world(options: DatabaseOptions & Partial<Parameters<typeof openStore>[1]> = {}) {
    const database = await suite.server.createDatabase(options);
    const policy = policyOf(database);
    const url = way === 'directly' ? database.url : suite.pooler.url(database.name);
    const opened = await openStore(addressOf(url, options.schema), { now: () => performance.now(), ...options });
    return {
      policy,
      ...opened,
      async [Symbol.asyncDispose]() {
        await opened.store.close();
        await database[Symbol.asyncDispose]();
      },
    };
  }

  test.each([
    ['0.12.4', undefined],
    ['0.6.18', undefined],
    ['0.12.4', 'webui'],
  ] as const)('a decision follows every change at once: %s, schema %s', async (era, schema) => {
    await using opened = await world({ era, ...(schema && { schema }) });
    const { policy, effect, reason } = opened;
    expect(await opened.store.health()).toMatchObject({ readable: true, problem: undefined, missing: [] });
    await policy.addUser('ada');
    expect(await effect('ada', 'gpt')).toBe('deny');
    await policy.addMember('acme', 'ada');
    await policy.grant('acme', 'gpt');
    expect(await effect('ada', 'gpt')).toBe('permit');
    await policy.withdraw('acme', 'gpt');
    expect(await effect('ada', 'gpt')).toBe('deny');
    await policy.grant('acme', 'mistral/*');
    expect(await effect('ada', 'mistral/large')).toBe('permit');
    await policy.removeMember('acme', 'ada');
    expect(await effect('ada', 'mistral/large')).toBe('deny');
    await policy.addMember('acme', 'ada');
    expect(await effect('ada', 'mistral/large')).toBe('permit');
    await policy.run(`UPDATE "user" SET role = 'pending'`);
    expect(await reason('ada', 'mistral/large')).toBe('role_not_permitted');
    await policy.run(`UPDATE "user" SET role = 'user'`);
    await policy.addClientOrganization('acme', 1);
    await policy.run('SELECT 1');
    expect(opened.warnings.filter((line) => /cannot|stays incomplete/.test(line))).toEqual([]);
  });

  test('where answers may have an age, a change is seen when they have it, and not before', async () => {
    let now = 0;
    await using opened = await world({ maxAgeMs: 1_000, now: () => now });
    const { policy, effect } = opened;
    await policy.addUser('ada');
    await policy.addMember('acme', 'ada');
    await policy.grant('acme', 'gpt');
    now = 2_000;
    expect(await effect('ada', 'gpt')).toBe('permit');
    await policy.withdraw('acme', 'gpt');
    now = 2_900;
    expect(await effect('ada', 'gpt')).toBe('permit');
    now = 3_100;
    expect(await effect('ada', 'gpt')).toBe('deny');
  });

  test('an organization that is switched off gives nothing, whatever type its switch has', async () => {
    for (const isBoolean of [true, false]) {
      await using opened = await world();
      const { policy, effect } = opened;
      await policy.addUser('ada');
      await policy.addMember('acme', 'ada');
      await policy.grant('acme', 'gpt');
      await policy.addClientOrganization('acme', isBoolean ? true : 1, isBoolean);
      expect(await effect('ada', 'gpt')).toBe('permit');
      await policy.run('UPDATE client_organizations SET is_active = $1', isBoolean ? false : 0);
      // the table has come while the gate runs
      await expect.poll(() => effect('ada', 'gpt'), { timeout: 10_000 }).toBe('deny');
      await policy.run('UPDATE client_organizations SET is_active = NULL');
      expect(await effect('ada', 'gpt')).toBe('permit');
    }
  });

  test('an API key belongs to its user until it is deleted', async () => {
    for (const era of ['0.6.18', '0.12.4'] as const) {
      await using opened = await world({ era });
      const { policy } = opened;
      await policy.addUser('ada');
      await policy.addApiKey('ada', 'sk-0123');
      expect(await opened.next().userOfApiKey('sk-0123')).toBe('ada');
      for (const wrong of ['', 'SK-0123', 'sk-012', 'sk-0123\0', '\ud800']) {
        expect(await opened.next().userOfApiKey(wrong)).toBeUndefined();
      }
      await policy.run(era === '0.6.18' ? 'UPDATE "user" SET api_key = NULL' : 'DELETE FROM api_key');
      expect(await opened.next().userOfApiKey('sk-0123')).toBeUndefined();
    }
  });

  test('a preset follows its row: base, parameters, owner', async () => {
    await using opened = await world();
    const { policy } = opened;
    await policy.addUser('ada');
    await policy.addMember('acme', 'ada');
    await policy.grant('acme', 'base');
    await policy.addModel('preset', 'base');
    expect(await opened.effect('ada', 'preset')).toBe('permit');
    expect(await opened.next().preset(model('preset'))).toEqual({
      id: 'preset',
      base: 'base',
      parameterModels: [],
      owner: 'admin',
    });
    expect(await opened.next().presetsOn(model('base'))).toEqual(['preset']);
    await policy.run('UPDATE model SET params = $1', '{"model": "other"}');
    expect(await opened.reason('ada', 'preset')).toBe('preset_parameter_not_granted');
    await policy.run(`UPDATE model SET params = '{}', base_model_id = 'other'`);
    expect(await opened.reason('ada', 'preset')).toBe('preset_base_not_granted');
    await policy.run('DELETE FROM model');
    expect(await opened.next().preset(model('preset'))).toBeUndefined();
  });

  test('settings of the backend are read anew where they have changed, in either form', async () => {
    const arena = JSON.stringify([{ id: 'blind-test' }]);
    const configs = JSON.stringify({ 0: { prefix_id: 'corp' } });
    for (const era of ['0.6.18', '0.12.4'] as const) {
      await using opened = await world({ era });
      expect(await opened.next().isComposite(model('arena-model'))).toBe(true);
      expect(await opened.next().isComposite(model('blind-test'))).toBe(false);
      if (era === '0.12.4') {
        await opened.policy.run(
          `INSERT INTO config ("key", value, updated_at) VALUES ('evaluation.arena.models', $1, 1), ('openai.api_configs', $2, 1)`,
          ...[arena, configs],
        );
      } else {
        await opened.policy.run(
          'INSERT INTO config (id, data, version, created_at) VALUES (1, $1, 0, now())',
          `{"evaluation": {"arena": {"models": ${arena}}}, "openai": {"api_configs": ${configs}}}`,
        );
      }
      expect(await opened.next().isComposite(model('blind-test'))).toBe(true);
      expect(await opened.next().connectionPrefixes()).toEqual(['corp.']);
      await opened.policy.run('DELETE FROM config');
      expect(await opened.next().connectionPrefixes()).toEqual([]);
    }
  });

  test('a session is over as soon as the stamp of the account is another', async () => {
    await using opened = await world();
    await opened.policy.addUser('ada');
    expect(await opened.next().isSessionOver(ada, 'any')).toBe(false);
    await opened.policy.run(
      `INSERT INTO auth (id, email, password, active, session_stamp) VALUES ('ada', 'a', '', true, 'first')`,
    );
    expect(await opened.next().isSessionOver(ada, 'first')).toBe(false);
    await opened.policy.run(`UPDATE auth SET session_stamp = 'second'`);
    expect(await opened.next().isSessionOver(ada, 'first')).toBe(true);
  });

  test('budgets, names and keys of organizations are those of this moment', async () => {
    await using opened = await world();
    const { policy } = opened;
    const acme = toOrganizationId('acme');
    await policy.run(
      `INSERT INTO organization_budgets (id, organization_id, measure, amount, period) VALUES ('b', 'acme', 'usd', 12.5, 'month')`,
    );
    const [budget] = await opened.next().budgetsOf(acme);
    expect(budget).toMatchObject({
      id: 'b',
      organization: 'acme',
      measure: 'usd',
      amount: 12.5,
      period: 'month',
      isHard: true,
    });
    expect(await opened.next().allBudgets()).toEqual([budget]);
    await policy.run('UPDATE organization_budgets SET amount = 20, is_hard = 0');
    expect(await opened.next().budgetsOf(acme)).toMatchObject([{ amount: 20, isHard: false }]);
    expect(await opened.next().organizationName(acme)).toBe('acme');
    expect(await opened.next().openrouterKeyOf(acme)).toBeUndefined();
  });

  test('several memberships stand in the order in which they began, then by id; those without a date are last', async () => {
    await using opened = await world();
    const { policy } = opened;
    await policy.addUser('ada');
    const joined = { undated: null, young: 30, twin: 20, 'another twin': 20, old: 10 };
    for (const [organization, seconds] of Object.entries(joined))
      await policy.addMember(organization, 'ada', null, seconds);
    await policy.addMember('left', 'ada', 0, 1);
    const sets = await opened.next().grantsOf({ kind: 'user', id: ada, role: 'user' });
    expect(sets.map(({ organization }) => organization)).toEqual(['old', 'another twin', 'twin', 'young', 'undated']);
  });

  test('who is seen for the first time is enrolled, and nobody who is to wait', async () => {
    await using opened = await world({ organization: { id: 'acme', name: 'Acme' }, autoEnroll: true });
    const { policy, effect } = opened;
    await policy.grant('acme', 'gpt');
    await policy.addUser('ada');
    await policy.addUser('ben', 'pending');
    expect(await effect('ada', 'gpt')).toBe('permit');
    expect(await effect('ben', 'gpt')).toBe('deny');
    expect((await policy.run('SELECT user_id FROM organization_members')).rows).toEqual([{ user_id: 'ada' }]);
    expect(await opened.next().organizationName(toOrganizationId('acme'))).toBe('Acme');
  });

  test('what stored objects name is read from their documents', async () => {
    await using opened = await world();
    const { policy, store } = opened;
    await policy.addUser('ada');
    const chat = {
      models: ['selected'],
      history: { messages: { m1: { model: 'answered', content: 'a\u0000b' }, m2: { model: 'other' } } },
      messages: [{ id: 'm1', model: 'shown' }],
    };
    await policy.run(
      `INSERT INTO chat (id, user_id, title, chat, archived, created_at, updated_at) VALUES ('c', 'ada', 'Chat', $1, false, 1, 1)`,
      JSON.stringify(chat),
    );
    await policy.run(
      `INSERT INTO chat_message (id, chat_id, user_id, role, model_id, created_at, updated_at) VALUES ('c-m1', 'c', 'ada', 'assistant', 'row', 1, 1)`,
    );
    const found = await store.stored.chat('c', ['m1'], 'ada');
    expect(found).toMatchObject({ owner: 'ada', checkedByBackend: true });
    expect([...(found?.names.places.keys() ?? [])].toSorted()).toEqual(['answered', 'row', 'shown']);
    const all = await store.stored.chat('c', undefined, 'ada');
    expect([...(all?.names.places.keys() ?? [])].toSorted()).toEqual(['answered', 'other', 'row', 'selected', 'shown']);
    expect(await store.stored.chat('none', undefined, 'ada')).toBeUndefined();
    expect(await store.stored.ofAutomation('none\0')).toEqual([]);
  });

  test('grants whose versions nobody counts are read each time', async () => {
    await using opened = await world();
    const { policy, effect } = opened;
    await policy.addUser('ada');
    await policy.addMember('acme', 'ada');
    await policy.grant('acme', 'gpt');
    expect(await effect('ada', 'gpt')).toBe('permit');
    await policy.run('ALTER TABLE organization_models DISABLE TRIGGER USER');
    await policy.run('DELETE FROM organization_models');
    expect(await effect('ada', 'gpt')).toBe('deny');
  });

  test('what any organization is granted is that of this moment, and is sent where a grant has changed', async () => {
    await using opened = await world();
    const { policy } = opened;
    const isGranted = (id: string) => opened.next().isGrantedAnywhere(model(id));
    expect(await isGranted('gpt')).toBe(false);
    await policy.grant('acme', 'gpt');
    await policy.grant('globex', 'mistral/*');
    expect([await isGranted('gpt'), await isGranted('mistral/large')]).toEqual([true, true]);
    await policy.withdraw('acme', 'gpt');
    expect([await isGranted('gpt'), await isGranted('mistral/large')]).toEqual([false, true]);
    await policy.run('DELETE FROM organization_models');
    expect(await isGranted('mistral/large')).toBe(false);
    await policy.run('ALTER TABLE organization_models DISABLE TRIGGER USER');
    await policy.grant('acme', 'gpt');
    expect(await isGranted('gpt')).toBe(true);
  });

  test('a hundred requests at once share few checks, and each sees the commit before it', async () => {
    await using opened = await world();
    const { policy, store } = opened;
    await policy.addUser('ada');
    const roleOfAda = async () => store.ask(() => store.current().user(ada)?.role);
    for (let round = 0; round < 30; round += 1) {
      await policy.run('UPDATE "user" SET role = $1', `role-${round}`);
      expect(new Set(await Promise.all(Array.from({ length: 100 }, roleOfAda)))).toEqual(new Set([`role-${round}`]));
    }
  });
});

test('all grants are read once, and again only after a change', async () => {
  await using database = await suite.server.createDatabase();
  const policy = policyOf(database);
  await policy.initialize();
  await policy.grant('acme', 'gpt');
  const options = { connectTimeoutMs: 5_000, queryTimeoutMs: 5_000, applicationName: 'test' };
  const connection = await connectPostgres(addressOf(database.url), options);
  const checks = new Checks(await readLayout(connection, 'public'), new KnownVersions(() => 0));
  const ask = async () => {
    const { text, values, take } = checks.compose(new Map([['allPatterns', new Set([''])]]));
    const { rows } = await connection.table(text, values);
    let found: unknown = 'as before';
    take(rows[0] ?? [], { put: (_call, value) => (found = value), confirm: () => true });
    return found;
  };
  expect([await ask(), await ask(), await ask()]).toEqual([['gpt'], 'as before', 'as before']);
  await policy.withdraw('acme', 'gpt');
  expect([await ask(), await ask()]).toEqual([[], 'as before']);
  await connection.close();
});

test('a source that trusted what it knows would be seen to be stale', async () => {
  await using database = await suite.server.createDatabase();
  const policy = policyOf(database);
  await policy.initialize();
  await policy.addUser('ada', 'user');
  let isTrusting = false;
  /** Answers from what it knows, without a check. */
  class TrustingSource extends PostgresSource {
    override check(reading: Reading): Promise<void> {
      if (!isTrusting) return super.check(reading);
      reading.asOf = 0;
      return Promise.resolve();
    }
  }
  const now = () => performance.now();
  const source: PostgresSource = new TrustingSource({
    ...{
      address: addressOf(database.url),
      autoEnroll: false,
      now,
      maxAgeMs: 0,
      deadlineMs: 10_000,
      warn: () => undefined,
    },
    put: (call, value) => view.put(call, value),
    confirm: (call) => view.confirm(call),
  });
  const view: CachedView = new CachedView(source, { maxStaleMs: 0, now });
  const questions = new CheckedQuestions(source, view);
  const roleOfAda = async () => questions.ask(() => view.user(ada)?.role);
  await source.start();
  expect(await roleOfAda()).toBe('user');
  await policy.run(`UPDATE "user" SET role = 'pending'`);
  isTrusting = true;
  expect(await roleOfAda()).toBe('user');
  isTrusting = false;
  expect(await roleOfAda()).toBe('pending');
  await source.close();
});
