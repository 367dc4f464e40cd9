import { chmodSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Finding } from '../../../../src/diagnosis/finding.ts';
import { type SampleBackend, startSampleBackend } from '../../../support/upstream/sample-backend/backend.ts';
import { type TestDatabase, createDatabase } from '../../../support/database/database.ts';
import { createHealthyDatabase } from '../../../support/database/diagnosis.ts';
import { runCommand } from '../../../support/process/command.ts';
import { startModelgate } from '../../../support/gate/gate-process.ts';
import { openOtherProcess } from '../../../support/process/other-process.ts';
import { until } from '../../../support/process/with-timeout.ts';

/** What `--json` prints. */
interface DoctorReport {
  readonly database: string;
  readonly problems: number;
  readonly warnings: number;
  readonly not_checked: number;
  readonly checks: readonly Finding[];
  readonly user: Record<'id' | 'role' | 'advice', string> | null;
}

const KEY = 'a key of more than sixteen characters';

let database: TestDatabase;
let backend: SampleBackend;
beforeAll(async () => {
  database = createHealthyDatabase({ era: '0.6.18' });
  database.addMember('globex', 'alice', 0);
  database.sql.close();
  chmodSync(database.path, 0o600);
  backend = await startSampleBackend({ database: database.path, secretKey: KEY });
});
afterAll(async () => {
  await backend.close();
  database.close();
});

const whole = () => ({
  DATABASE_URL: `sqlite:///${database.path}`,
  MODELGATE_UPSTREAM_URL: backend.url,
  WEBUI_SECRET_KEY: KEY,
});
const doctor = (words: readonly string[], environment: Record<string, string> = whole()) =>
  runCommand(['doctor', ...words], { environment });
async function report(words: readonly string[], environment: Record<string, string> = whole()) {
  const { code, stdout, stderr } = await doctor([...words, '--json'], environment);
  expect(stderr).toBe('');
  return { code, ...(JSON.parse(stdout) as DoctorReport) };
}
const faultsOf = ({ checks }: DoctorReport) =>
  checks.filter(({ status }) => status !== 'ok').map(({ name, status }) => `${status} ${name}`);

describe('doctor', () => {
  test('says that nothing is wrong, which checks passed, and changes nothing', async () => {
    const before = readFileSync(database.path);
    const { code, stdout, stderr } = await doctor([]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(
      /^ok {7}17 checks passed: settings, [^\n]*secret key, [^\n]*\n\nNothing is wrong\. Exit code 0: there is no problem\.\n$/,
    );
    expect(stdout).not.toContain('\u001b');
    expect(readFileSync(database.path).equals(before)).toBe(true);
    expect(readdirSync(database.directory)).toEqual(['webui.db']);
  });

  test('prints with --all what each check has found, and what is to be done first', async () => {
    const { code, stdout } = await doctor(['--all'], {
      ...whole(),
      BYPASS_MODEL_ACCESS_CONTROL: 'true',
      WEBUI_SECRET_KEY: 'short-key',
    });
    expect(code).toBe(1);
    const marks = stdout.match(/^(?:problem|warning|unknown|ok)(?= )/gm) ?? [];
    expect(marks.slice(0, 4)).toEqual(['problem', 'problem', 'warning', 'ok']);
    expect(marks.slice(4).every((mark) => mark === 'ok')).toBe(true);
    expect(stdout).toMatch(/^ok {7}tables {11}All tables, indexes, views and triggers are in place\.$/m);
    expect(stdout).toMatch(/\n\n2 problems and 1 warning\. Exit code 1: there is a problem\.\n$/);
  });

  test('prints one JSON document, and ends with 1 where there is a problem', async () => {
    const found = await report(['--quick'], { ...whole(), BYPASS_MODEL_ACCESS_CONTROL: 'true' });
    expect(found).toMatchObject({ code: 1, problems: 1, warnings: 0, not_checked: 0, user: null });
    expect(found.database).toBe(database.path);
    expect(found.checks[0]).toEqual({
      name: 'settings',
      status: 'problem',
      finding: 'MODEL ACCESS CONTROL IS SWITCHED OFF by BYPASS_MODEL_ACCESS_CONTROL: nothing is filtered or refused.',
      remedy: 'Take BYPASS_MODEL_ACCESS_CONTROL out of the environment and restart the gate.',
    });
  });

  test.each([
    [
      'only the database',
      (env: Record<string, string>) => ({ DATABASE_URL: env['DATABASE_URL']! }),
      0,
      ['unknown settings'],
    ],
    ['no key', ({ WEBUI_SECRET_KEY: _key, ...env }: Record<string, string>) => env, 0, ['unknown settings']],
    [
      'the published key',
      (env: Record<string, string>) => ({ ...env, WEBUI_SECRET_KEY: 't0p-s3cr3t' }),
      1,
      ['problem settings', 'problem secret key'],
    ],
    [
      'a short key',
      (env: Record<string, string>) => ({ ...env, WEBUI_SECRET_KEY: 'short' }),
      1,
      ['warning settings', 'problem secret key'],
    ],
    ['report mode', (env: Record<string, string>) => ({ ...env, MODELGATE_MODE: 'report' }), 0, ['warning settings']],
    [
      'a filter that is off',
      (env: Record<string, string>) => ({ ...env, ENABLE_MODEL_FILTER: 'false' }),
      1,
      ['problem settings'],
    ],
    [
      'a wrong port and an unknown setting',
      (env: Record<string, string>) => ({ ...env, MODELGATE_PORT: 'x', MODELGATE_MODEL: 'y' }),
      1,
      ['problem settings', 'problem settings'],
    ],
  ])('works with %s', async (_name, change, code, faults) => {
    const found = await report(['--quick'], change(whole()));
    expect(faultsOf(found)).toEqual(faults);
    expect(found.code).toBe(code);
  });

  test('looks at the provider door where there is one: rows of their own, the gravest first for people', async () => {
    const door = {
      ...whole(),
      MODELGATE_PROVIDER_PORT: '8081',
      MODELGATE_PROVIDER_ACCESS_KEY: 'an-access-key-of-more-than-32-letters',
      MODELGATE_PROVIDERS: 'http://ollama:11434',
      FORWARD_USER_INFO_HEADER_JWT_SECRET: 'signs-the-users-of-the-calls',
    };
    const found = await report(['--quick'], door);
    expect(faultsOf(found)).toEqual(['problem signed users', 'unknown environment', 'unknown prices']);
    expect(found.checks.map(({ name }) => name)).toEqual(expect.arrayContaining(['connections', 'service models']));
    expect(found).toMatchObject({ code: 1, problems: 1, not_checked: 2 });
    const { stdout, stderr } = await doctor(['--quick', '--all'], door);
    expect(stdout).toMatch(/^problem {2}signed users/);
    expect(stdout + stderr).not.toMatch(/an-access-key|signs-users/);
  });

  test('says what was not checked', async () => {
    const { checks } = await report(['--quick'], { DATABASE_URL: `sqlite:///${database.path}` });
    expect(checks.find(({ status }) => status === 'unknown')?.finding).toBe(
      'Not set for this command: MODELGATE_UPSTREAM_URL and WEBUI_SECRET_KEY or WEBUI_SECRET_KEY_FILE; so the backend and its clock and the secret key were not checked.',
    );
  });

  test('shows no key, whatever is wrong about it', async () => {
    const { stdout, stderr } = await doctor(['--quick'], { ...whole(), WEBUI_SECRET_KEY: 'zzz-key' });
    expect(stdout + stderr).not.toContain('zzz-key');
  });
});

describe('doctor --user', () => {
  test('shows the membership that the gate makes at the first request', async () => {
    const fresh = createHealthyDatabase();
    onTestFinished(() => fresh.close());
    fresh.addUser({ id: 'new' });
    const environment = {
      DATABASE_URL: `sqlite:///${fresh.path}`,
      OPENROUTER_EXTERNAL_USER: 'acme',
      ORGANIZATION_NAME: 'Acme',
    };
    const { stdout } = await doctor(['--quick', '--user', 'new'], environment);
    expect(stdout).toContain('member of  acme (from the first request on, MODELGATE_AUTO_ENROLL) — 2 models on\n');
    expect(stdout).toContain('The user sees those models of the backend that the 2 active grants cover');
    const { user } = await report(['--quick', '--user', 'new'], environment);
    expect(user).toMatchObject({ memberships: [], enrolment: { organization: 'acme', obstacle: null } });
    const off = await report(['--quick', '--user', 'new'], { ...environment, MODELGATE_AUTO_ENROLL: 'false' });
    expect(off.user).toMatchObject({ memberships: [], enrolment: null });
    expect(off.user?.advice).toContain('The user is a member of no organization');
  });

  test('shows memberships, models and settings, and one sentence', async () => {
    const { code, stdout } = await doctor(['--quick', '--user', 'ALICE@example.org']);
    expect(code).toBe(0);
    expect(stdout.slice(stdout.indexOf('\nuser '))).toBe(
      [
        '',
        'user         alice <alice@example.org>, role user',
        'member of    acme — 2 models on',
        '  models     gpt-4o',
        '             mistral/*',
        'not counted  globex — the membership is switched off',
        '',
        'The user sees those models of the backend that the 2 active grants cover, and presets built on them; what the backend itself does not offer the user stays hidden.',
        '',
        'Nothing is wrong. Exit code 0: there is no problem.',
        '',
      ].join('\n'),
    );
  });

  test('as JSON, with the bypass that makes all of it void', async () => {
    const { user } = await report(['--quick', '--user', 'alice'], { ...whole(), ENABLE_MODEL_FILTER: 'false' });
    expect(user).toMatchObject({
      id: 'alice',
      role: 'user',
      memberships: [
        {
          organization: 'acme',
          counts: true,
          why_not: null,
          models: [{ pattern: 'gpt-4o', active: true }, { pattern: 'mistral/*' }],
        },
        { organization: 'globex', counts: false, why_not: 'the membership is switched off', models: [] },
      ],
      settings: { mode: 'enforce', bypass: 'ENABLE_MODEL_FILTER', admin_access: 'organization' },
      not_enforced: 'ENABLE_MODEL_FILTER switches the gate off: everything is permitted',
    });
  });

  test('of an unknown user ends with 1 and one sentence, after what was found out', async () => {
    const { code, stdout, stderr } = await doctor(['--quick', '--user', 'mallory', '--json']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^modelgate: The backend knows no user with the id or e-mail address "mallory"\.\n$/);
    expect((JSON.parse(stdout) as DoctorReport).checks.length).toBeGreaterThan(10);
  });
});

describe('doctor ends', () => {
  test('with 2 where not even a database is named', async () => {
    const { code, stdout, stderr } = await doctor([], {});
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain('Which database?');
  });

  test('with 1 where there is no file', async () => {
    const found = await report(['--database', join(database.directory, 'absent.db')]);
    expect(found.code).toBe(1);
    expect(faultsOf(found)).toEqual(['problem file']);
  });

  test('soon after Ctrl-C while it waits for a lock', async () => {
    using locked = createDatabase({ era: '0.6.18' });
    await using other = await openOtherProcess();
    locked.sql.close();
    await other.run(locked.path, 'BEGIN EXCLUSIVE');
    const running = startModelgate(['doctor', '--database', locked.path, '--wait', '10m']);
    await until(() => running.stderr().includes('waiting for it'), 15_000, 'it says that it waits');
    running.kill('SIGINT');
    const { code, stderr } = await running.ended();
    expect(code).toBe(130);
    expect(stderr).toMatch(/modelgate: Stopped\. Nothing was changed\.\n$/);
  });
});
