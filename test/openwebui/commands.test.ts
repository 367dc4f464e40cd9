/** The operators' commands beside a real backend that serves: what they read and write is what people then have. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Ended, runModelgate } from '../support/gate/gate-process.ts';
import { type Provider, startOllama, startProvider } from '../support/upstream/providers.ts';
import { type Account, addUser, call, createApiKey, listModelIds, send, signUp, through } from './backend-client.ts';
import { createChat, createPreset, presetBody } from './backend-content.ts';
import { type OpenWebui, startOpenWebui } from './backend.ts';
import { type RealGate, startRealGate } from './gate.ts';
import { RELEASES } from './release.ts';
import { askPermitted, question } from './tenants.ts';

/** What the connections below offer, but for the one that the `model` table switches off. */
const OFFERED = ['alpha', 'vendor/one:free', 'eu.beta', 'eu.vendor/two', 'local.llama3:latest'];
const LEFT_OUT = { presets: ['helper'], arena: ['duel'], switched_off: ['asleep'], unusable: [] };

interface Plan {
  readonly allow: string[];
  readonly switch_off: string[];
  readonly uncertain: string[];
  readonly left_out: Record<string, string[]>;
  readonly gaps: string[];
  readonly written: boolean;
}

describe.each(RELEASES)('the commands beside Open WebUI %s', (version) => {
  let provider: Provider;
  let ollama: Provider;
  let backend: OpenWebui;
  let gate: RealGate;
  let ada: Account;
  let ann: Account;
  let directory: string;

  const configureProviders = (configs: Record<string, object>, urls = Array<string>(3).fill(provider.url)) =>
    call(ada, 'POST', '/openai/config/update', {
      ENABLE_OPENAI_API: true,
      OPENAI_API_BASE_URLS: urls,
      OPENAI_API_KEYS: urls.map(() => 'provider-key'),
      OPENAI_API_CONFIGS: configs,
    });
  const CONFIGS = {
    '0': { enable: true, model_ids: ['alpha', 'vendor/one:free', 'asleep'] },
    '1': { enable: true, model_ids: ['beta', 'vendor/two'], prefix_id: 'eu' },
    '2': { enable: false, model_ids: ['disabled'] },
  };

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'modelgate-commands-'));
    provider = await startProvider({ models: ['not', 'asked', 'for'], gapMs: 5 });
    ollama = await startOllama({ models: ['llama3:latest', 'other:latest'] });
    backend = await startOpenWebui({ version, providerUrl: provider.url, ollamaUrl: ollama.url });
    ada = await signUp(backend.url, { name: 'Ada', email: 'ada@example.com' });
    ann = await addUser(ada, { name: 'Ann', email: 'ann@acme.example' });
    await configureProviders(CONFIGS);
    await call(ada, 'POST', '/ollama/config/update', {
      ENABLE_OLLAMA_API: true,
      OLLAMA_BASE_URLS: [ollama.url],
      OLLAMA_API_CONFIGS: { '0': { enable: true, model_ids: ['llama3:latest'], prefix_id: 'local' } },
    });
    await call(ada, 'POST', '/api/v1/evaluations/config', {
      ENABLE_EVALUATION_ARENA_MODELS: true,
      EVALUATION_ARENA_MODELS: [
        { id: 'duel', name: 'Duel', meta: { model_ids: ['alpha', 'eu.beta'], description: '', access_control: null } },
      ],
    });
    await createPreset(ada, { id: 'helper', base_model_id: 'alpha' });
    const asleep = presetBody({ id: 'asleep', base_model_id: null });
    await call(ada, 'POST', '/api/v1/models/create', { ...asleep, is_active: false });
    gate = await startRealGate(backend);
  });

  afterAll(async () => {
    await gate.close();
    await backend.close();
    await provider.close();
    await ollama.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const command = (...words: string[]): Promise<Ended> =>
    runModelgate(words, { DATA_DIR: backend.dataDir, MODELGATE_UPSTREAM_URL: backend.url }, directory);

  async function ask<T>(...words: string[]): Promise<T> {
    const { code, stdout, stderr } = await command(...words, '--json');
    if (code !== 0) throw new Error(stderr);
    return JSON.parse(stdout) as T;
  }

  const token = (name: string, text: string): string => {
    writeFileSync(join(directory, name), `${text}\n`, { mode: 0o600 });
    return name;
  };

  const seen = async (account: Account): Promise<string[]> =>
    (await listModelIds(through(account, gate.url))).toSorted();

  it('find what the backend itself lists', async () => {
    const listed = await listModelIds(ada);
    expect(listed.toSorted()).toEqual([...OFFERED, 'helper', 'duel'].toSorted());
  });

  it('synchronize with the running backend, by the key of an admin', async () => {
    expect(await seen(ann)).toEqual([]);
    const key = token('key', await createApiKey(ada));
    const words = ['model', 'sync', '--org', 'acme', '--create', '--from', 'live', '--token-file', key, '--yes'];
    const plan = await ask<Plan>(...words);
    expect(plan.allow.toSorted()).toEqual(OFFERED.toSorted());
    expect(plan.left_out).toMatchObject(LEFT_OUT);
    expect([plan.gaps, plan.written]).toEqual([[], true]);
  });

  it('synchronize with its configuration, to the same end', async () => {
    const plan = await ask<Plan>('model', 'sync', '--org', 'globex', '--create', '--from', 'config', '--yes');
    expect(plan.allow.toSorted()).toEqual(OFFERED.toSorted());
    expect(plan.left_out).toMatchObject(LEFT_OUT);
    expect(plan.gaps).toEqual([]);
  });

  it('let a new member see exactly that, on the next request', async () => {
    await ask('member', 'add', 'ann@acme.example', '--org', 'acme');
    expect(await seen(ann)).toEqual([...OFFERED, 'helper'].toSorted());
    const member = through(ann, gate.url);
    await askPermitted(member, 'alpha');
    const response = await send(member, 'POST', '/api/chat/completions', question('duel'));
    expect(response.status).toBe(403);
    await response.body?.cancel();
  });

  it('allow and deny one model, on the next request', async () => {
    await ask('model', 'deny', 'eu.beta', '--org', 'acme');
    expect(await seen(ann)).not.toContain('eu.beta');
    const stays = await ask<Plan & { stays_off: string[] }>(
      'model',
      'sync',
      '--org',
      'acme',
      '--from',
      'config',
      '--yes',
    );
    expect(stays).toMatchObject({ allow: [], stays_off: ['eu.beta'], written: false });
    await ask('model', 'allow', 'eu.*', '--org', 'acme');
    expect(await seen(ann)).toEqual([...OFFERED, 'helper'].toSorted());
    await ask('model', 'deny', 'eu.*', '--org', 'acme', '--purge');
    await ask('model', 'allow', 'eu.beta', '--org', 'acme');
  });

  it('refuse to take the gate, or what a user sees, for the catalogue', async () => {
    const session = token('session', ada.token);
    const words = ['model', 'sync', '--org', 'acme', '--from', 'live', '--remove', '--yes', '--token-file'];
    const gated = await command(...words, session, '--url', gate.url);
    expect(gated).toMatchObject({ code: 1, stdout: '' });
    expect(gated.stderr).toContain('Ask the backend itself and not the gate');
    const user = await command(...words, token('user', ann.token));
    expect(user).toMatchObject({ code: 1, stdout: '' });
    expect(user.stderr).toMatch(/answers \/api\/models\/base with 401.*not one of an admin/);
    const wrong = await command(...words, token('wrong', 'sk-unknown'));
    expect(wrong.stderr).toMatch(/answers \/api\/models\?refresh=true with 401/);
    expect(await seen(ann)).toEqual([...OFFERED, 'helper'].toSorted());
  });

  it('switch off what a connection no longer has, and nothing of one that is silent', async () => {
    const session = token('session', ada.token);
    const words = ['model', 'sync', '--org', 'acme', '--from', 'live', '--token-file', session, '--remove', '--yes'];
    await configureProviders({ ...CONFIGS, '1': { enable: false } });
    const gone = await ask<Plan>(...words);
    expect(gone.switch_off).toEqual(['eu.beta', 'eu.vendor/two']);
    expect(await seen(ann)).toEqual(['alpha', 'helper', 'local.llama3:latest', 'vendor/one:free']);
    // no process listens on the discard port: the backend shows the rest of its list, without a word
    const silent = [...Array<string>(2).fill(provider.url), 'http://127.0.0.1:9/v1'];
    await configureProviders({ '0': { enable: true, model_ids: ['vendor/one:free'] }, '1': { enable: false } }, silent);
    const kept = await ask<Plan>(...words);
    expect([kept.switch_off, kept.uncertain]).toEqual([[], ['alpha']]);
    expect(kept.gaps).toEqual([expect.stringContaining('OpenAI connection 3 ("http://127.0.0.1:9/v1") lists nothing')]);
    await configureProviders(CONFIGS);
  });

  it('report what the database says', async () => {
    const { rows } = await ask<{ rows: { email: string; model_names: string[] }[] }>('report');
    // of the models, only presets and those that an administrator has edited have a row
    expect(rows).toEqual([]);
    await ask('model', 'allow', 'helper', '--org', 'acme');
    const { stdout, stderr } = await command('report', '--csv');
    expect(stdout.split('\r\n')[1]).toBe('ann@acme.example,Ann,acme,1,Preset helper,');
    expect(stderr).toMatch(/it leaves out \d+ grants of models without a row there/);
    const { organizations, admins_outside: outside } = await ask<{
      organizations: { organization: string }[];
      admins_outside: { email: string }[];
    }>('audit');
    expect(organizations.map(({ organization }) => organization)).toEqual(['acme']);
    expect(outside.map(({ email }) => email)).toEqual(['ada@example.com']);
  });

  it('back up the file while the backend goes on writing', async () => {
    const done = new AbortController();
    const writing = (async () => {
      let chats = 0;
      for (; !done.signal.aborted; chats += 1) await createChat(ada, 'alpha');
      return chats;
    })();
    try {
      await ask('backup', join(directory, 'backups'));
    } finally {
      done.abort();
    }
    expect(await writing).toBeGreaterThan(0);
    const [name = ''] = readdirSync(join(directory, 'backups')).filter((file) => file.endsWith('.gz'));
    const copy = join(directory, 'copy.db');
    writeFileSync(copy, gunzipSync(readFileSync(join(directory, 'backups', name))));
    const sql = new Database(copy, { readonly: true });
    expect(sql.pragma('integrity_check', { simple: true })).toBe('ok');
    expect(sql.prepare('SELECT count(*) FROM organization_members').pluck().get()).toBe(1);
    sql.close();
  });
});
