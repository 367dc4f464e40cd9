import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { toUserId } from '../../src/policy/principal.ts';
import type { ModelId } from '../../src/policy/grant.ts';
import { type TestDatabase, createDatabase } from '../support/database/database.ts';
import { type OpenedStore, openStore, patterns } from '../support/database/opened-store.ts';

const USERS = ['ada', 'bob', 'eve'];
const ORGANIZATIONS = ['acme', 'other'];
const MODELS = ['a', 'b', 'open/*', '*'];
const PRESETS = ['p', 'q'];
const KEYS = ['sk-1', 'sk-2'];
const FLAGS = [0, 1, null];

const oneOf = <T>(values: readonly T[]) => fc.constantFrom(...values);

/** One write of the backend or of an operator, as a statement and its values. */
const writes = fc.oneof(
  fc.tuple(
    fc.constant(
      'INSERT OR REPLACE INTO organization_members (id, organization_id, user_id, is_active) VALUES (?1 || ?2, ?2, ?1, ?3)',
    ),
    fc.tuple(oneOf(USERS), oneOf(ORGANIZATIONS), oneOf(FLAGS)),
  ),
  fc.tuple(
    fc.constant(
      'INSERT OR REPLACE INTO organization_models (id, organization_id, model_id, is_active) VALUES (?1 || ?2, ?2, ?1, ?3)',
    ),
    fc.tuple(oneOf(MODELS), oneOf(ORGANIZATIONS), oneOf(FLAGS)),
  ),
  fc.tuple(
    fc.constant('UPDATE organization_members SET is_active = ?1 WHERE user_id = ?2'),
    fc.tuple(oneOf(FLAGS), oneOf(USERS)),
  ),
  fc.tuple(
    fc.constant('UPDATE organization_models SET model_id = ?1 WHERE id = ?1 || ?2'),
    fc.tuple(oneOf(MODELS), oneOf(ORGANIZATIONS)),
  ),
  fc.tuple(fc.constant('DELETE FROM organization_models WHERE model_id = ?1'), fc.tuple(oneOf(MODELS))),
  fc.tuple(fc.constant('DELETE FROM organization_members'), fc.constant([])),
  fc.tuple(
    fc.constant('UPDATE client_organizations SET is_active = ?1 WHERE id = ?2'),
    fc.tuple(oneOf(FLAGS), oneOf(ORGANIZATIONS)),
  ),
  fc.tuple(
    fc.constant('UPDATE "user" SET role = ?1 WHERE id = ?2'),
    fc.tuple(oneOf(['user', 'admin', 'pending']), oneOf(USERS)),
  ),
  fc.tuple(fc.constant('DELETE FROM api_key WHERE "key" = ?1'), fc.tuple(oneOf(KEYS))),
  fc.tuple(
    fc.constant(
      'INSERT OR REPLACE INTO api_key (id, user_id, "key", created_at, updated_at) VALUES (?1, ?1, ?2, 1, 1)',
    ),
    fc.tuple(oneOf(USERS), oneOf(KEYS)),
  ),
  fc.tuple(
    fc.constant(
      `INSERT OR REPLACE INTO model (id, user_id, base_model_id, name, params, meta) VALUES (?1, 'ada', ?2, '', '{}', '{}')`,
    ),
    fc.tuple(oneOf(PRESETS), oneOf([...MODELS, null])),
  ),
  fc.tuple(fc.constant('DELETE FROM model WHERE id = ?1'), fc.tuple(oneOf(PRESETS))),
  fc.tuple(fc.constant("UPDATE chat SET title = title || '.'"), fc.constant([])),
  fc.tuple(fc.constant('DROP TRIGGER IF EXISTS modelgate_organization_models_update'), fc.constant([])),
  fc.tuple(fc.constant('DROP TRIGGER IF EXISTS modelgate_organization_members_insert'), fc.constant([])),
);

/** Asking fills the caches, so that what is asked before a write decides what may go stale after it. */
const steps = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: writes.map(([statement, values]) => ({ statement, values: values })),
    },
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
      let opened = await openStore(database.path);
      for (const step of sequence) {
        if ('statement' in step) database.sql.prepare(step.statement).run(...numbered(step.values));
        else if ('user' in step) await opened.next().grantsOf({ kind: 'user', id: toUserId(step.user), role: 'user' });
        else {
          await opened.store.close();
          opened = await openStore(database.path);
        }
        expect(await everythingThat(opened)).toEqual(everythingIn(database));
      }
      await opened.store.close();
    }),
    { numRuns: 60, endOnFailure: true },
  );
}, 60_000);

/** better-sqlite3 binds `?1` by its name, which is the number. */
const numbered = (values: readonly unknown[]): [Record<string, unknown>] | [] =>
  values.length === 0 ? [] : [Object.fromEntries(values.map((value, index) => [index + 1, value]))];
