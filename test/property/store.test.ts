import fc from 'fast-check';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { toUserId } from '../../src/policy/principal.ts';
import type { ModelId } from '../../src/policy/grant.ts';
import { type TestDatabase, createDatabase } from '../support/database/database.ts';
import { onlyInFile } from '../support/database/policy-place.ts';
import { type OpenedStore, openStore, patterns } from '../support/database/opened-store.ts';

const USERS = ['ada', 'bob', 'eve'];
const ORGANIZATIONS = ['acme', 'other'];
const MODELS = ['a', 'b', 'open/*', '*'];
const PRESETS = ['p', 'q'];
const KEYS = ['sk-1', 'sk-2'];
const FLAGS = [0, 1, null];
const RUNS = inject('policyServer') === undefined ? 60 : 15;

const oneOf = <T>(values: readonly T[]) => fc.constantFrom(...values);

/** One write of the backend or of an operator, as statements and their values by name. */
const write = (values: Readonly<Record<string, fc.Arbitrary<unknown>>>, ...statements: readonly string[]) =>
  fc.record(values).map((drawn) => ({ statements, values: drawn }));
const [user, organization, flag] = [oneOf(USERS), oneOf(ORGANIZATIONS), oneOf(FLAGS)];

const writes = fc.oneof(
  write(
    { user, organization, flag },
    'DELETE FROM organization_members WHERE id = $user || $organization',
    'INSERT INTO organization_members (id, organization_id, user_id, is_active) VALUES ($user || $organization, $organization, $user, $flag)',
  ),
  write(
    { model: oneOf(MODELS), organization, flag },
    'DELETE FROM organization_models WHERE id = $model || $organization',
    'INSERT INTO organization_models (id, organization_id, model_id, is_active) VALUES ($model || $organization, $organization, $model, $flag)',
  ),
  write({ flag, user }, 'UPDATE organization_members SET is_active = $flag WHERE user_id = $user'),
  write(
    { flag, organization },
    'UPDATE organization_models SET is_active = $flag WHERE organization_id = $organization',
  ),
  write({ model: oneOf(MODELS) }, 'DELETE FROM organization_models WHERE model_id = $model'),
  write({}, 'DELETE FROM organization_members'),
  write({ flag, organization }, 'UPDATE client_organizations SET is_active = $flag WHERE id = $organization'),
  write({ role: oneOf(['user', 'admin', 'pending']), user }, 'UPDATE "user" SET role = $role WHERE id = $user'),
  write({ key: oneOf(KEYS) }, 'DELETE FROM api_key WHERE "key" = $key'),
  write(
    { user, key: oneOf(KEYS) },
    'DELETE FROM api_key WHERE id = $user OR "key" = $key',
    'INSERT INTO api_key (id, user_id, "key", created_at, updated_at) VALUES ($user, $user, $key, 1, 1)',
  ),
  write(
    { preset: oneOf(PRESETS), base: oneOf([...MODELS, null]), active: fc.constant(1) },
    'DELETE FROM model WHERE id = $preset',
    `INSERT INTO model (id, user_id, base_model_id, name, params, meta, is_active, created_at, updated_at)
      VALUES ($preset, 'ada', $base, '', '{}', '{}', $active, 1, 1)`,
  ),
  write({ preset: oneOf(PRESETS) }, 'DELETE FROM model WHERE id = $preset'),
  write({}, "UPDATE chat SET title = title || '.'"),
  // test/replicas/policy-store.test.ts switches those of PostgreSQL off
  ...onlyInFile(
    write({}, 'DROP TRIGGER IF EXISTS modelgate_organization_models_update'),
    write({}, 'DROP TRIGGER IF EXISTS modelgate_organization_members_insert'),
  ),
);

/** Asking fills the caches, so that what is asked before a write decides what may go stale after it. */
const steps = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: writes },
    { weight: 2, arbitrary: oneOf(USERS).map((user) => ({ user })) },
    { weight: 1, arbitrary: fc.constant({ reopen: true as const }) },
  ),
  { maxLength: 40 },
);

async function everythingThat(opened: OpenedStore): Promise<unknown> {
  const view = opened.next();
  const each = <T, U>(all: readonly T[], ask: (one: T) => Promise<U>) => Promise.all(all.map(ask));
  return {
    users: await each(USERS, async (id) => (await view.user(toUserId(id)))?.role),
    grants: await each(USERS, async (id) =>
      patterns(await view.grantsOf({ kind: 'user', id: toUserId(id), role: 'user' })),
    ),
    keys: await each(KEYS, (key) => view.userOfApiKey(key)),
    presets: await each(PRESETS, async (id) => (await view.preset(id as ModelId))?.base),
    anywhere: await each(MODELS, (id) => view.isGrantedAnywhere(id as ModelId)),
  };
}

/** The same, asked of the tables in plain SQL, without any of the store's code. */
function everythingIn(database: TestDatabase): unknown {
  const values = (statement: string, ...bound: unknown[]) =>
    database.sql
      .prepare(statement)
      .pluck()
      .all(...bound);
  const grants = `SELECT DISTINCT g.organization_id || ': ' || g.model_id
    FROM organization_members m JOIN organization_models g USING (organization_id)
    LEFT JOIN client_organizations c ON c.id = g.organization_id
    WHERE m.user_id = ? AND ifnull(m.is_active, 1) AND ifnull(g.is_active, 1) AND ifnull(c.is_active, 1)`;
  const granted = values('SELECT model_id FROM organization_models WHERE ifnull(is_active, 1)');
  return {
    users: USERS.map((id) => values('SELECT role FROM "user" WHERE id = ?', id)[0]),
    grants: USERS.map((id) => values(grants, id).sort()),
    keys: KEYS.map((key) => values('SELECT user_id FROM api_key WHERE "key" = ?', key)[0]),
    presets: PRESETS.map((id) => values('SELECT base_model_id FROM model WHERE id = ?', id)[0] ?? undefined),
    anywhere: MODELS.map((id) => granted.includes(id) && id !== '*'),
  };
}

let database: TestDatabase;
beforeAll(() => {
  database = createDatabase();
  for (const id of USERS) database.addUser({ id });
  for (const organization of ORGANIZATIONS) database.addClientOrganization(organization, 1);
  database.addChat({ id: 'chat', user: 'ada', chat: {} });
});
afterAll(() => database.close());

test('what is cached is what a fresh read would give, after any order of writes and questions', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (sequence) => {
      let opened = await openStore(database);
      for (const step of sequence) {
        if ('statements' in step) for (const statement of step.statements) database.run(statement, step.values);
        else if ('user' in step) await opened.next().grantsOf({ kind: 'user', id: toUserId(step.user), role: 'user' });
        else {
          await opened.store.close();
          opened = await openStore(database);
        }
        expect(await everythingThat(opened)).toEqual(everythingIn(database));
      }
      await opened.store.close();
    }),
    { numRuns: RUNS, endOnFailure: true },
  );
}, 60_000);
