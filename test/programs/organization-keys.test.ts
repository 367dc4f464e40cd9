/** A gate, and `modelgate key` beside it: two processes on one ledger. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, test } from 'vitest';
import { type TestDatabase, createDatabase } from '../support/database/database.ts';
import { chatAs } from '../support/gate/door-process.ts';
import { MAIN, type ServingProcess, serveModelgate } from '../support/gate/gate-process.ts';
import { ACCESS_KEY } from '../support/gate/provider-door.ts';
import { TEST_SECRET } from '../support/gate/session.ts';
import { until } from '../support/process/with-timeout.ts';
import { type Provider, startProvider } from '../support/upstream/providers.ts';

const SECRET = 'seals-the-keys-of-organizations-32';
const SHARED = 'gsk_of_all_0123456789abcdef';
const FIRST = 'gsk_of_acme_0123456789abcdef';
const SECOND = 'gsk_of_acme_again_0123456789';

function settingsOf({ path, directory }: TestDatabase, provider: Provider, secret: string): Record<string, string> {
  writeFileSync(join(directory, 'keys.yaml'), `${hostOf(provider)}: ${SHARED}\n`);
  return {
    MODELGATE_UPSTREAM_URL: provider.origin,
    DATABASE_URL: `sqlite:///${path}`,
    WEBUI_SECRET_KEY: TEST_SECRET,
    MODELGATE_PROVIDER_HOST: '127.0.0.1',
    MODELGATE_PROVIDER_PORT: '0',
    MODELGATE_PROVIDERS: provider.url,
    MODELGATE_PROVIDER_ACCESS_KEY: ACCESS_KEY,
    MODELGATE_PROVIDER_KEYS_FILE: join(directory, 'keys.yaml'),
    ...(secret === '' ? {} : { MODELGATE_KEYS_SECRET: secret }),
    LOG_LEVEL: 'DEBUG',
  };
}

const hostOf = ({ url }: Provider): string => new URL(url).host;

/** @returns what the command has printed, and the words by which every process of the machine knows it */
async function key(settings: Record<string, string>, words: readonly string[], input = '') {
  const child = spawn(process.execPath, [MAIN, 'key', ...words], { env: settings });
  const [stdout, stderr, ended] = [text(child.stdout), text(child.stderr), once(child, 'close')];
  let commandLine = '';
  const isThere = (): boolean => {
    commandLine = readFileSync(`/proc/${child.pid ?? 0}/cmdline`, 'latin1').replaceAll('\0', ' ');
    return commandLine !== '';
  };
  // there are none for a moment in which the kernel makes it this program; `set` waits for its input as long as that has not ended
  await until(() => child.exitCode !== null || isThere(), 10_000, 'the words of the command');
  child.stdin.end(input);
  await ended;
  return { code: child.exitCode, output: (await stdout) + (await stderr), commandLine };
}

async function ask(gate: ServingProcess, provider: Provider) {
  const door = String(gate.lines().find(({ provider_url: url }) => url !== undefined)?.['provider_url']);
  const messages = [{ role: 'user', content: 'hello' }];
  const response = await chatAs(`${door}/${hostOf(provider)}/v1`, 'ann', { model: 'A', messages });
  const answer = { status: response.status, body: await response.text() };
  const keys = provider.requests.flatMap((request) => request.all('authorization'));
  provider.reset();
  return { ...answer, keys };
}

async function outputOf(gate: ServingProcess): Promise<string> {
  gate.kill('SIGTERM');
  const { stdout, stderr } = await gate.ended();
  return stdout + stderr;
}

test(
  'a key that is set beside a gate that runs counts at the next call, and is shown nowhere',
  { timeout: 60_000 },
  async () => {
    using database = createDatabase();
    database.addUser({ id: 'ann' });
    database.addMember('acme', 'ann');
    database.grant('acme', 'A');
    await using provider = await startProvider({ models: ['A'] });
    const settings = settingsOf(database, provider, SECRET);
    const shown: string[] = [];
    {
      await using gate = await serveModelgate(settings);
      const at = ['acme', '--provider', hostOf(provider)];
      expect(await ask(gate, provider)).toMatchObject({ status: 200, keys: [`Bearer ${SHARED}`] });
      for (const own of [FIRST, SECOND]) {
        const { code, output, commandLine } = await key(settings, ['set', ...at], `${own}\n`);
        shown.push(output, commandLine);
        expect({ code, commandLine }).toEqual({
          code: 0,
          commandLine: expect.stringContaining('key set acme') as string,
        });
        expect(await ask(gate, provider)).toMatchObject({ status: 200, keys: [`Bearer ${own}`] });
      }
      shown.push((await key(settings, ['list', '--json'])).output);
      expect(shown.at(-1)).toContain('"ends_with":"6789"');
      for (const path of ['/metrics', '/', '/readyz']) shown.push(await (await fetch(gate.adminUrl + path)).text());
      expect(shown.at(-3)).toContain('modelgate_provider_requests_total');
      shown.push(await outputOf(gate));
    }
    for (const wrong of ['another-secret-of-thirty-two-characters', '']) {
      await using gate = await serveModelgate(settingsOf(database, provider, wrong));
      const refused = await ask(gate, provider);
      expect(refused).toMatchObject({ status: 503, keys: [] });
      expect(refused.body).toContain('`modelgate key set`');
      shown.push(refused.body, await outputOf(gate));
      expect(shown.at(-1)).toMatch(/"organization":"acme".*MODELGATE_KEYS_SECRET is (?:another one|not set)/);
    }
    expect(shown.join('\n')).toContain('"key":"organization"');
    for (const secret of [FIRST, SECOND, SHARED, SECRET]) expect(shown.join('\n')).not.toContain(secret);
    const ledger = readFileSync(join(database.directory, 'modelgate', 'usage.db'));
    for (const secret of [FIRST, SECOND, SHARED, SECRET]) expect(ledger.includes(secret)).toBe(false);
  },
);
