/** Why a user sees a model or none: every sentence of `explain` and `doctor --user`, on real files. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ModelExplanation, UserExplanation } from '../../../../src/organizations/explanation.ts';
import { type TestDatabase, createDatabase } from '../../../support/database/database.ts';
import { createHealthyDatabase } from '../../../support/database/diagnosis.ts';
import { askCommand } from '../../../support/process/command.ts';

let database: TestDatabase;
beforeEach(() => {
  database = createDatabase({ era: '0.6.18' });
  for (const id of ['alice', 'bob', 'eve']) database.addUser({ id });
  database.addUser({ id: 'root', role: 'admin' });
  database.addUser({ id: 'new', role: 'pending' });
  database.addUser({ id: 'out', role: 'banned' });
  for (const user of ['alice', 'root', 'new', 'out']) database.addMember('acme', user);
  database.addMember('acme', 'bob', 0);
  database.addMember('globex', 'alice', 0);
  database.grant('acme', 'gpt-4o');
  database.grant('acme', 'old', 0);
  database.grant('acme', 'closed/*', 0);
  database.grant('globex', 'claude');
  database.addModel({ id: 'on-claude', base: 'claude' });
  database.addModel({ id: 'helper', base: 'gpt-4o' });
  database.addModel({ id: 'mixed', base: 'gpt-4o', params: { model: 'stray one' } });
});
afterEach(() => database.close());

const explain = (user: string, model: string, on = database): Promise<ModelExplanation> =>
  askCommand(['explain', '--user', user, '--model', model, '--database', on.path]);

/** Without what completes each command. */
const withoutFile = (advice: string): string => advice.replaceAll(` --database ${database.path}`, '');
const why = async (user: string, model: string) => withoutFile((await explain(user, model)).advice);
const seen = async (user: string, adminAccess: 'organization' | 'all' = 'organization') => {
  const environment = { MODELGATE_ADMIN_ACCESS: adminAccess };
  const words = ['explain', '--user', user, '--database', database.path];
  return withoutFile((await askCommand<UserExplanation>(words, { environment })).advice);
};

describe('one sentence on a model', () => {
  test.each([
    ['alice', 'gpt-4o', '"acme" grants "gpt-4o". To end that: `modelgate model deny gpt-4o --org acme`.'],
    [
      'alice',
      'helper',
      '"acme" grants "gpt-4o", which this preset is built on. To end that: `modelgate model deny gpt-4o --org acme`.',
    ],
    ['alice', 'old', '"acme" has "old" switched off: run `modelgate model allow old --org acme`.'],
    ['alice', 'closed/one', '"acme" has "closed/*" switched off: run `modelgate model allow \'closed/*\' --org acme`.'],
    [
      'alice',
      'claude',
      '"globex" grants it, but the membership is switched off: run `modelgate member add alice --org globex`.',
    ],
    [
      'alice',
      'GPT-4o',
      'No model "GPT-4o" is known to the backend\'s database or granted to any organization. Did you mean "gpt-4o"? Ids are compared exactly. "acme" grants it.',
    ],
    [
      'alice',
      'none',
      'No model "none" is known to the backend\'s database or granted to any organization. If the backend\'s own list has this very id: `modelgate model allow none --org acme`',
    ],
    [
      'alice',
      'on-claude',
      '"on-claude" is a preset on "claude", which no organization of the user grants by itself: run `modelgate model allow on-claude --org acme` for this preset alone, or `modelgate model allow claude --org acme` for everything built on that model.',
    ],
    [
      'alice',
      'mixed',
      'The preset "mixed" names "stray one" in its parameters, which no organization of the user grants: run `modelgate model allow \'stray one\' --org acme`, or take it out of the preset.',
    ],
    ['bob', 'gpt-4o', 'The membership in "acme" is switched off: run `modelgate member add bob --org acme`.'],
    ['eve', 'gpt-4o', 'The user is a member of no organization: run `modelgate member add eve --org ORGANIZATION`.'],
    [
      'new',
      'gpt-4o',
      'The backend has the user as pending: an admin has to approve the user in the backend (Admin Panel, Users).',
    ],
    ['out', 'gpt-4o', 'The backend has the user as banned: an admin has to change the role in the backend.'],
  ])('%s and %s', async (user, model, sentence) => expect(await why(user, model)).toBe(sentence));

  test("an organization that mAI has switched off, the user's only one and one of two", async () => {
    database.addClientOrganization('acme', 0);
    expect(await why('root', 'gpt-4o')).toBe(
      'The organization "acme" is switched off in mAI\'s table client_organizations: switch it on there (is_active = 1).',
    );
    database.addMember('third', 'alice');
    expect(await why('alice', 'gpt-4o')).toBe(
      '"acme" grants it, but the organization is switched off in mAI\'s client_organizations: switch it on there (is_active = 1).',
    );
  });

  test('what it advises makes the gate permit it', async () => {
    using mai = createHealthyDatabase({ mai: true });
    expect((await explain('alice', 'claude', mai)).decision).toBe('deny');
    mai.grant('acme', 'claude');
    expect((await explain('alice', 'claude', mai)).decision).toBe('permit');
  });
});

describe('one sentence on everything', () => {
  test.each([
    [
      'alice',
      'The user sees those models of the backend that the one active grant covers, and presets built on them; what the backend itself does not offer the user stays hidden.',
    ],
    ['bob', 'The membership in "acme" is switched off: run `modelgate member add bob --org acme`.'],
    ['eve', 'The user is a member of no organization: run `modelgate member add eve --org ORGANIZATION`.'],
    [
      'new',
      'The backend has the user as pending: an admin has to approve the user in the backend (Admin Panel, Users).',
    ],
  ])('%s', async (user, sentence) => expect(await seen(user)).toBe(sentence));

  test('an organization without models, and one where all are off', async () => {
    database.addMember('empty', 'eve');
    expect(await seen('eve')).toBe(
      'No organization of the user grants a model: run `modelgate model allow MODEL --org empty`.',
    );
    database.grant('empty', 'gpt-4o', 0);
    expect(await seen('eve')).toContain('because all that is there is switched off');
  });

  test('an admin who follows no grants', async () => {
    expect(await seen('root', 'all')).toContain('MODELGATE_ADMIN_ACCESS is `all`');
  });
});

test('tables made by hand, without is_active, role or anything unique, are read as the gate reads them', async () => {
  using plain = createDatabase({ organizationTables: 'none' });
  plain.sql.exec(`
    CREATE TABLE organization_members (organization_id TEXT, user_id TEXT);
    CREATE TABLE organization_models (organization_id TEXT, model_id TEXT);
    INSERT INTO organization_members VALUES ('acme', 'alice'), ('acme', 'alice'), (x'07', 'alice');
    INSERT INTO organization_models VALUES ('acme', 'gpt-4o'), ('acme', 'gpt-4o')`);
  plain.addUser({ id: 'alice' });
  expect(await explain('alice', 'gpt-4o', plain)).toMatchObject({
    decision: 'permit',
    memberships: [
      {
        organization: 'acme',
        role: null,
        active: true,
        counts: true,
        models: [{ pattern: 'gpt-4o', active: true }],
      },
    ],
  });
});
