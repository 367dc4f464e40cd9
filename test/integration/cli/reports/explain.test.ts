import { chmodSync, readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ModelExplanation, UserExplanation } from '../../../../src/organizations/explanation.ts';
import { type TestDatabase, createDatabase } from '../../../support/database/database.ts';
import { AS_NOBODY } from '../../../support/process/as-nobody.ts';
import { askCommand, runCommand } from '../../../support/process/command.ts';
import { databaseOfTest, openStore } from '../../../support/database/opened-store.ts';
import { startModelgate } from '../../../support/gate/gate-process.ts';
import { HOSTILE, expectHarmless } from '../../../support/gate/hostile-values.ts';

const database = createDatabase();
beforeAll(() => {
  database.addUser({ id: 'alice', email: 'Alice@Example.org' });
  database.addUser({ id: 'root', role: 'admin' });
  database.addUser({ id: 'nobody' });
  database.addUser({ id: 'bob' });
  database.addMember('acme', 'bob', 0);
  for (const user of ['alice', 'root']) database.addMember('acme', user);
  database.grant('acme', 'gpt-4o');
  database.grant('acme', 'mistral/*');
  database.addModel({ id: 'helper', base: 'gpt-4o' });
  database.addModel({ id: 'stray', base: 'claude' });
});
afterAll(() => database.close());

const explain = (user: string, model: string, ...more: string[]) =>
  runCommand(['explain', '--user', user, '--model', model, '--database', database.path, ...more]);
async function explained(
  user: string,
  model: string,
  environment: Record<string, string> = {},
): Promise<ModelExplanation> {
  const words = ['explain', '--user', user, '--model', model, '--json'];
  const { code, stdout, stderr } = await runCommand(words, {
    environment: { DATABASE_URL: `sqlite:///${database.path}`, ...environment },
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as ModelExplanation;
}

describe('explain', () => {
  test('says what permits, in words', async () => {
    const { code, stdout } = await explain('alice', 'gpt-4o');
    expect(code).toBe(0);
    expect(stdout).toBe(
      [
        'decision   permit (grant): an organization of the user grants exactly this model',
        'model      gpt-4o',
        'grant      gpt-4o of acme',
        'user       alice <Alice@Example.org>, role user',
        'member of  acme — 2 models on',
        '',
        '"acme" grants "gpt-4o". To end that:',
        `  modelgate model deny gpt-4o --org acme --database ${database.path}`,
        '',
      ].join('\n'),
    );
  });

  test.each([
    ['gpt-4o', 0],
    ['claude', 1],
  ])('ends as it decides with --exit-code: %s with %i', async (model, code) => {
    expect((await explain('alice', model, '--exit-code')).code).toBe(code);
    expect((await explain('alice', model)).code).toBe(0);
  });

  test('finds a user by e-mail address in any case, and shows the chain of a preset', async () => {
    const { stdout } = await explain('ALICE@example.ORG', 'helper');
    expect(stdout).toContain('permit (preset_base)');
    expect(stdout).toContain('chain      helper > gpt-4o');
  });

  test.each(Object.entries(HOSTILE))('shows %s harmlessly, and gives it exactly as JSON', async (_name, value) => {
    using hostile = createDatabase({ era: '0.6.18' });
    hostile.addUser({ id: value, email: `${value}@x`, role: 'user' });
    hostile.addMember(value, value, 0);
    hostile.grant(value, value);
    const words = ['--user', value, '--database', hostile.path];
    const explained = ['explain', '--model', 'gpt-4o', ...words];
    for (const command of [explained, ['doctor', '--quick', ...words]]) {
      const shown = await runCommand(command);
      expect(shown).toMatchObject({ code: 0, stderr: '' });
      expectHarmless(shown, Infinity);
    }
    const { stdout } = await runCommand([...explained, '--json']);
    expect(JSON.parse(stdout)).toMatchObject({
      user: { id: value },
      memberships: [{ organization: value, models: [{ pattern: value }] }],
    });
  });

  test('leaves nothing beside a file in WAL mode that no other process has open', async () => {
    using closed = createDatabase();
    closed.addUser({ id: 'alice' });
    closed.sql.close();
    await runCommand(['explain', '--user', 'alice', '--model', 'x', '--database', closed.path]);
    expect(readdirSync(closed.directory)).toEqual(['webui.db']);
  });

  describe('of a user whom the gate enrols', () => {
    const ENROL = { OPENROUTER_EXTERNAL_USER: 'acme', ORGANIZATION_NAME: 'Acme' };

    /** Each kind of user that enrolment distinguishes. */
    function people(): TestDatabase {
      const made = databaseOfTest({ era: '0.6.18' });
      for (const id of ['first', 'new', 'elsewhere', 'elsewhere off', 'off']) made.addUser({ id });
      made.addUser({ id: 'root', role: 'admin' });
      made.addUser({ id: 'pending', role: 'pending' });
      made.addUser({ id: 'banned', role: 'banned' });
      made.addMember('acme', 'first');
      made.addMember('acme', 'off', 0);
      made.addMember('globex', 'elsewhere');
      made.addMember('globex', 'elsewhere off', 0);
      made.grant('acme', 'gpt-4o');
      made.grant('globex', 'claude');
      made.addModel({ id: 'helper', base: 'gpt-4o' });
      return made;
    }
    const users = ['first', 'new', 'elsewhere', 'elsewhere off', 'off', 'root', 'pending', 'banned'];
    const about = (
      { path }: TestDatabase,
      user: string,
      model: string,
      environment: Record<string, string>,
    ): Promise<ModelExplanation> =>
      askCommand(['explain', '--user', user, '--model', model, '--database', path], { environment });

    test.each([
      ['enrols', ENROL, true],
      ['enrols no user', { ...ENROL, MODELGATE_AUTO_ENROLL: 'false' }, false],
    ])('says what a gate that %s answers, before its first request', async (_name, environment, autoEnroll) => {
      const made = people();
      const said = new Map<string, string>();
      for (const user of users) {
        for (const model of ['gpt-4o', 'claude', 'helper']) {
          said.set(`${user} ${model}`, (await about(made, user, model, environment)).reason);
        }
      }
      using gate = await openStore(made.path, { organization: { id: 'acme', name: 'Acme' }, autoEnroll });
      const answered = new Map<string, string>();
      for (const pair of said.keys()) {
        const at = pair.lastIndexOf(' ');
        answered.set(pair, await gate.reason(pair.slice(0, at), pair.slice(at + 1)));
      }
      expect(answered).toEqual(said);
      expect(said.get('new gpt-4o')).toBe(autoEnroll ? 'grant' : 'no_organization');
    });

    test('shows the membership before it is there, and writes nothing', async () => {
      const made = people();
      const { path } = made;
      const words = ['explain', '--user', 'new', '--model', 'gpt-4o', '--database', path];
      const { stdout } = await runCommand(words, { environment: ENROL });
      expect(stdout).toContain('member of  acme (from the first request on, MODELGATE_AUTO_ENROLL) — 1 model on\n');
      expect(await about(made, 'new', 'gpt-4o', ENROL)).toMatchObject({
        decision: 'permit',
        grant: { organization: 'acme', pattern: 'gpt-4o' },
        organizations: [{ id: 'acme', grants: 1 }],
        memberships: [],
        enrolment: { organization: 'acme', obstacle: null },
      });
      expect(await about(made, 'new', 'claude', ENROL)).toMatchObject({ decision: 'deny', reason: 'not_granted' });
      expect(await about(made, 'first', 'gpt-4o', ENROL)).toMatchObject({ enrolment: null });
      expect(await about(made, 'elsewhere', 'gpt-4o', ENROL)).toMatchObject({ enrolment: null });
      expect(made.sql.prepare("SELECT count(*) FROM organization_members WHERE user_id = 'new'").pluck().get()).toBe(0);
    });

    test('says that the membership cannot be written where that is so', async () => {
      const made = people();
      made.sql.close();
      chmodSync(made.path, 0o444);
      chmodSync(made.directory, 0o755);
      const words = ['explain', '--user', 'new', '--model', 'gpt-4o', '--database', made.path, '--json'];
      const { stdout } = await startModelgate(words, ENROL, '/', AS_NOBODY).ended();
      expect(JSON.parse(stdout)).toMatchObject({
        decision: 'deny',
        reason: 'no_organization',
        enrolment: { organization: 'acme', obstacle: expect.stringContaining('may not write to') as string },
        advice: expect.stringMatching(
          /^The gate cannot enrol the user in "acme", because user \d+ may not write to .*main\.ts member add new --org acme --database \S+`\.$/,
        ) as string,
      });
    });
  });

  test('follows the settings of the gate', async () => {
    expect(await explained('root', 'claude', { MODELGATE_ADMIN_ACCESS: 'all' })).toMatchObject({
      reason: 'admin_access',
    });
    expect((await explained('alice', 'claude', { MODELGATE_MODE: 'report' })).not_enforced).toContain('MODELGATE_MODE');
    expect((await explained('alice', 'claude', { ENABLE_MODEL_FILTER: 'false' })).not_enforced).toContain(
      'ENABLE_MODEL_FILTER',
    );
  });

  test('changes nothing in the database, and makes no tables in one that has none', async () => {
    using bare = createDatabase({ organizationTables: 'none', journalMode: 'delete' });
    bare.addUser({ id: 'alice' });
    const before = readFileSync(bare.path);
    const words = ['explain', '--user', 'alice', '--model', 'x', '--database', bare.path];
    const { code, stdout, stderr } = await runCommand(words);
    expect(readFileSync(bare.path).equals(before)).toBe(true);
    expect(readdirSync(bare.directory)).toEqual(['webui.db']);
    expect(code === 0 ? stdout : stderr).toMatch(/no_organization|organization_members/);
  });
});

describe('explain of a model that nothing names', () => {
  test('asks what was meant, and advises no grant', async () => {
    const { stdout } = await explain('alice', 'gtp-4o');
    expect(stdout).toContain(
      'No model "gtp-4o" is known to the backend\'s database or granted to any organization. Did you mean "gpt-4o"? "acme" grants it.\n',
    );
    expect(stdout).not.toContain('model allow');
    expect(await explained('alice', 'gtp-4o')).toMatchObject({ known: false, did_you_mean: 'gpt-4o', commands: [] });
    expect(await explained('alice', 'claude')).toMatchObject({ reason: 'not_granted', known: false });
    expect(await explained('alice', 'stray')).toMatchObject({ known: true, did_you_mean: null });
  });
});

describe('explain of a user alone', () => {
  const access = (user: string, environment: Record<string, string> = {}) =>
    askCommand<UserExplanation>(['explain', '--user', user, '--database', database.path], { environment });

  test('says what the user may use, and what gives it', async () => {
    const words = ['explain', '--user', 'alice@example.org', '--database', database.path];
    const { code, stdout } = await runCommand(words);
    expect(code).toBe(0);
    expect(stdout).toBe(
      [
        'user       alice <Alice@Example.org>, role user',
        'member of  acme — 2 models on',
        '',
        'MAY USE    BECAUSE',
        'gpt-4o     acme grants it',
        'helper     a preset on gpt-4o, which acme grants',
        'mistral/*  acme grants every model of this beginning',
        '',
        'The user sees those models of the backend that the 2 active grants cover, and presets built on them; what the backend itself does not offer the user stays hidden.',
        '',
      ].join('\n'),
    );
  });

  test('says why it is nothing, with the command that helps', async () => {
    expect(await access('bob')).toMatchObject({
      models: [],
      prefix_grants: [],
      commands: [`modelgate member add bob --org acme --database ${database.path}`],
    });
  });

  test('of an admin who may use everything names all that the file knows', async () => {
    const { models } = await access('root', { MODELGATE_ADMIN_ACCESS: 'all' });
    expect(models).toMatchObject([
      { model: 'gpt-4o', reason: 'admin_access', grant: null },
      { model: 'helper' },
      { model: 'stray' },
    ]);
  });
});

describe('explain ends with code 2', () => {
  test.each([
    [[], /Explain what\? Name a decision id, or a user/],
    [['--model', 'gpt-4o'], /Name a decision id, or a user with --user/],
    [['d-0123456789', '--user', 'alice'], /A decision id, or --user: not both/],
    [['d-0123456789', '--door', 'provider'], /A decision id, or --door: not both/],
    [['--user', 'alice', '--admin-url', 'http://127.0.0.1:1'], /--admin-url means nothing without a decision id/],
  ])('for %j', async (words, said) => {
    const { code, stdout, stderr } = await runCommand(['explain', ...words]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(said);
  });

  test('and 1 where no gate answers, with where it was looked for', async () => {
    const environment = { MODELGATE_ADMIN_HOST: '0.0.0.0', MODELGATE_ADMIN_PORT: '1' };
    const { code, stderr } = await runCommand(['explain', 'd-0123456789'], { environment });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^modelgate: No gate answers operators at http:\/\/127\.0\.0\.1:1 \(/);
    expect(stderr).toContain('--admin-url');
  });
});

describe('explain ends with code 1 and one sentence', () => {
  test('for an address that two users have', async () => {
    // from 0.12 on the backend's own index forbids it
    using twice = createDatabase({ era: '0.6.18' });
    for (const id of ['a', 'b']) twice.addUser({ id, email: id === 'a' ? 'x@y.z' : 'X@y.z' });
    const { code, stderr } = await runCommand(['explain', '--user', 'x@y.z', '--model', 'm', '--database', twice.path]);
    expect(code).toBe(1);
    expect(stderr).toContain('Several users');
  });
});

test('a model id that no backend can have is wrong use: code 2', async () => {
  expect((await explain('alice', 'a\nb')).code).toBe(2);
});
