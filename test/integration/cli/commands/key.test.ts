import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { openUsageFile } from '../../../../src/usage/schema.ts';
import { createOrganizationKeys } from '../../../../src/usage/keys.ts';
import { createDatabase } from '../../../support/database/database.ts';
import { MAIN } from '../../../support/gate/gate-process.ts';
import { type CommandResult, type CommandSurroundings, runCommand } from '../../../support/process/command.ts';

const SECRET = 'seals-the-keys-of-organizations-32';
const KEY = 'sk-or-v1-0123456789abcdef-of-acme';
const HOST = 'openrouter.ai';

const database = createDatabase();
database.addMember('acme', 'ann');
database.addMember('globex', 'bob');
afterAll(() => database.close());

let state: string;
let round = 0;
beforeEach(() => {
  state = join(database.directory, `state-${round++}`);
});

const environment = (more: Record<string, string> = {}): Record<string, string> => ({
  DATABASE_URL: `sqlite:///${database.path}`,
  MODELGATE_STATE_DIR: state,
  MODELGATE_KEYS_SECRET: SECRET,
  ...more,
});

const key = (words: readonly string[], { environment: more = {}, ...rest }: CommandSurroundings = {}) =>
  runCommand(['key', ...words], { environment: environment(more), ...rest });

const typing = (text: string): CommandSurroundings => ({ input: () => Readable.from([text]) });

const set = (text = `${KEY}\n`, words: readonly string[] = ['acme', '--provider', HOST]): Promise<CommandResult> =>
  key(['set', ...words], typing(text));

function opened(organization: string, provider = HOST) {
  const connection = openUsageFile(join(state, 'usage.db'), 1_000);
  try {
    return createOrganizationKeys(connection, SECRET).open(organization, provider);
  } finally {
    connection.close();
  }
}

const made = (): string => `modelgate: There was no ledger at ${join(state, 'usage.db')}: made a new one.\n`;

const shown = ({ stdout, stderr }: CommandResult): string => stdout + stderr;

describe('key set', () => {
  test('keeps the key of standard input, in a ledger that it makes where there is none', async () => {
    const result = await set();
    expect(result).toMatchObject({ code: 0, stderr: made() });
    expect(result.stdout).toMatch(/acme +openrouter\.ai +…acme +added/);
    expect(opened('acme')).toEqual({ kind: 'key', key: KEY });
    expect(statSync(state).mode & 0o777).toBe(0o700);
  });

  test('puts a new key in the place of the old one, whatever the letter case of the host', async () => {
    await set();
    const { stdout } = await set(`${KEY}-new`, ['acme', '--provider', 'OpenRouter.AI', '--json']);
    expect(JSON.parse(stdout)).toEqual({ organization: 'acme', provider: HOST, ends_with: '-new', result: 'replaced' });
    expect(opened('acme')).toEqual({ kind: 'key', key: `${KEY}-new` });
  });

  test.each([
    ['nothing', '', 'is empty'],
    ['an empty line', ' \n', 'is empty'],
    ['white space inside', 'sk-or-v1 0123456789abcdef\n', 'holds something else'],
    ['two lines', `${KEY}\n${KEY}\n`, 'holds something else'],
    ['what no header can carry', 'sk-or-v1-ß0123456789\n', 'holds something else'],
    ['a whole file', 'x'.repeat(100_000), 'holds something else'],
  ])('refuses %s and shows nothing of it', async (_, text, found) => {
    const result = await set(text);
    expect(result).toMatchObject({ code: 2, stdout: '' });
    expect(result.stderr).toContain(`Standard input ${found}`);
    expect(result.stderr).not.toMatch(/sk-or|xxxx/);
    expect(existsSync(state)).toBe(false);
  });

  test('takes no key as a word', async () => {
    for (const words of [[KEY], [`--key=${KEY}`], ['--key', KEY]]) {
      const result = await set('', ['acme', ...words, '--provider', HOST]);
      expect(result.code).toBe(2);
      expect(shown(result)).not.toContain(KEY);
      expect(existsSync(state)).toBe(false);
    }
  });

  test('on a terminal asks for the key and does not show what is typed', async () => {
    const screen = { input: true, output: true, error: true };
    const result = await key(['set', 'acme', '--provider', HOST], { ...typing(`${KEY}\r`), screen });
    expect(result).toMatchObject({ code: 0, stderr: `Key of "acme" for openrouter.ai: \n${made()}` });
    expect(shown(result)).not.toContain(KEY.slice(0, 12));
    expect(opened('acme')).toEqual({ kind: 'key', key: KEY });
  });

  test('on a terminal that is closed, or with Ctrl-C, changes nothing', async () => {
    const screen = { input: true, output: true, error: true };
    for (const typed of ['\u0004', 'sk-or\u0003']) {
      const result = await key(['set', 'acme', '--provider', HOST], { ...typing(typed), screen });
      expect(result.code).toBe(1);
      expect(result.stderr).toContain('Nothing was changed.');
    }
    expect(existsSync(state)).toBe(false);
  });

  test('asks no question with --json', async () => {
    const screen = { input: true, output: true, error: true };
    const result = await key(['set', 'acme', '--provider', HOST, '--json'], { ...typing(KEY), screen });
    expect(result.code).toBe(2);
    expect(JSON.parse(result.stdout)).toMatchObject({ error: { code: 'misused' } });
  });

  test('names an organization that is not there, and the one that was meant', async () => {
    const result = await set(KEY, ['acne', '--provider', HOST]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('There is no organization "acne". Nothing was changed. Did you mean "acme"?');
    expect(existsSync(state)).toBe(false);
  });

  test('says that the organization was not looked for where no database is named', async () => {
    const result = await key(['set', 'acne', '--provider', HOST], {
      ...typing(KEY),
      environment: { DATABASE_URL: '' },
    });
    expect(result).toMatchObject({ code: 0 });
    expect(result.stderr).toContain('it was not checked whether there is an organization "acne"');
  });

  test('names a host that is none of the providers', async () => {
    const door = { MODELGATE_PROVIDER_PORT: '8081', MODELGATE_PROVIDERS: 'https://openrouter.ai/api/v1' };
    const wrong = await key(['set', 'acme', '--provider', 'openruoter.ai'], { ...typing(KEY), environment: door });
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain('Did you mean "openrouter.ai"?');
    expect((await set(KEY, ['acme', '--provider', 'https://openrouter.ai/api/v1'])).code).toBe(2);
    expect(existsSync(state)).toBe(false);
  });
});

describe('key list and key remove', () => {
  test('show whose keys there are and never a key', async () => {
    await set();
    await set('sk-short', ['globex', '--provider', 'ollama:11434']);
    const listed = await key(['list']);
    expect(listed.stdout).toMatch(/acme +openrouter\.ai +…acme +20\d\d-.* +in use/);
    expect(listed.stdout).toMatch(/globex +ollama:11434 +… +20/);
    expect(shown(listed)).not.toMatch(/0123456789|short/);
    const { stdout } = await key(['list', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({
      keys: [
        { organization: 'acme', provider: HOST, ends_with: 'acme', opens: true },
        { organization: 'globex', ends_with: '' },
      ],
    });
  });

  test('say that keys cannot be read with another secret, and what that means', async () => {
    await set();
    const listed = await key(['list'], { environment: { MODELGATE_KEYS_SECRET: `${SECRET}-another` } });
    expect(listed.stdout).toContain('cannot be read');
    expect(listed.stderr).toContain('Calls that they would pay for are refused.');
  });

  test('make no ledger where there is none', async () => {
    for (const words of [['list'], ['remove', 'acme', '--provider', HOST]]) {
      const result = await key(words);
      expect(result.code).toBe(2);
      expect(result.stderr).toContain(`There is no ledger at ${join(state, 'usage.db')}`);
    }
    expect(existsSync(state)).toBe(false);
  });

  test('say that no organization has a key', async () => {
    openUsageFile(join(state, 'usage.db'), 1_000).close();
    expect(await key(['list'])).toMatchObject({ code: 0, stdout: 'No organization has a key of its own.\n' });
    expect(JSON.parse((await key(['list', '--json'])).stdout)).toEqual({ keys: [] });
  });

  test('take a key away once', async () => {
    await set();
    expect(await key(['remove', 'acme', '--provider', HOST.toUpperCase()])).toMatchObject({ code: 0, stderr: '' });
    expect(opened('acme')).toEqual({ kind: 'none' });
    const again = await key(['remove', 'acme', '--provider', HOST]);
    expect(again.code).toBe(1);
    expect(again.stderr).toContain('"acme" has no key of its own for "openrouter.ai"');
  });
});

describe('key list, where mAI keeps keys', () => {
  const mai = createDatabase();
  for (const id of ['acme', 'globex']) mai.addClientOrganization(id, 1);
  afterAll(() => mai.close());
  const ACCESS_KEY = 'an-access-key-of-more-than-32-letters';
  const door = {
    DATABASE_URL: `sqlite:///${mai.path}`,
    MODELGATE_UPSTREAM_URL: 'http://127.0.0.1:9',
    WEBUI_SECRET_KEY: 'a-secret-for-tests-only',
    MODELGATE_PROVIDER_PORT: '8081',
    MODELGATE_PROVIDER_ACCESS_KEY: ACCESS_KEY,
    MODELGATE_PROVIDERS: `https://${HOST}/api/v1`,
    OPENROUTER_API_KEY: 'sk-or-of-the-provider',
  };

  test('shows those too, each of which counts where none was set, and never a key', async () => {
    await set();
    const listed = await key(['list', '--database', mai.path]);
    expect(listed.stdout).toMatch(/acme +openrouter\.ai +…acme +20\S+ +in use\n/);
    expect(listed.stdout).toMatch(/acme +openrouter\.ai +…acme +by mAI +replaced by the one that was set here\n/);
    expect(listed.stdout).toMatch(/globex +openrouter\.ai +…obex +by mAI +in use\n/);
    expect(listed.stderr).toBe('');
    expect(shown(listed)).not.toContain('provider-key');
  });

  test('shows no access key of the provider door, which mAI sends there from the same column', async () => {
    await set();
    mai.run("UPDATE client_organizations SET openrouter_api_key = ? WHERE id = 'globex'", ACCESS_KEY);
    const { stdout } = await key(['list', '--json'], { environment: door });
    const { keys } = JSON.parse(stdout) as { keys: readonly Record<'organization' | 'source', string>[] };
    expect(keys.map(({ organization, source }) => `${organization} ${source}`)).toEqual(['acme mai', 'acme modelgate']);
  });

  test('says where they cannot be read; a database that was typed must be one', async () => {
    await set();
    const absent = join(mai.directory, 'absent.db');
    const listed = await key(['list'], { environment: { DATABASE_URL: `sqlite:///${absent}` } });
    expect(listed).toMatchObject({ code: 0, stdout: expect.stringMatching(/acme .* in use/) as string });
    expect(listed.stderr).toContain(`The keys that mAI keeps are not known. There is no file at ${absent}`);
    expect(await key(['list', '--database', absent])).toMatchObject({ code: 2, stdout: '' });
  });
});

describe('without the secret', () => {
  const unset = { MODELGATE_KEYS_SECRET: '' };

  test('key set sets nothing, and says how to make one', async () => {
    const result = await key(['set', 'acme', '--provider', HOST], { ...typing(KEY), environment: unset });
    expect(result.code).toBe(2);
    expect(result.stderr).toContain('MODELGATE_KEYS_SECRET');
    expect(result.stderr).toContain('openssl rand -hex 32');
    expect(existsSync(state)).toBe(false);
  });

  test('key list says which keys are lost, and key remove takes them away', async () => {
    await set();
    const listed = await key(['list'], { environment: unset });
    expect(listed.stdout).toMatch(/acme +openrouter\.ai +…acme +20.* cannot be read/);
    expect(listed.stderr).toContain('MODELGATE_KEYS_SECRET is not set. Calls that they would pay for are refused.');
    expect(await key(['remove', 'acme', '--provider', HOST], { environment: unset })).toMatchObject({ code: 0 });
    expect(opened('acme')).toEqual({ kind: 'none' });
  });
});

test('a process that sets a key has it in no argument and no output, and neither has the file', () => {
  mkdirSync(state);
  writeFileSync(join(state, 'secret'), `${SECRET}\n`);
  const words = ['key', 'set', 'acme', '--provider', HOST];
  const settings = environment({ MODELGATE_KEYS_SECRET: '', MODELGATE_KEYS_SECRET_FILE: join(state, 'secret') });
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...words], {
    env: settings,
    input: `${KEY}\n`,
    encoding: 'utf8',
    timeout: 30_000,
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: made() });
  expect(opened('acme')).toEqual({ kind: 'key', key: KEY });
  for (const text of [KEY, SECRET]) {
    expect(stdout).not.toContain(text);
    expect(readFileSync(join(state, 'usage.db')).includes(text)).toBe(false);
  }
});
