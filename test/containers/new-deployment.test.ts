/** What the README says under "New", done: nginx, modelgate and the real Open WebUI in containers, one data folder for two users. */
import Database from 'better-sqlite3';
import { readdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { addUser, listModelIds, send, signUp, type Account } from '../openwebui/backend-client.ts';
import { question } from '../openwebui/tenants.ts';
import { makeCertificate } from '../support/gate/certificate.ts';
import { type Instructions, LEDGER } from './instructions.ts';
import { USAGE_FILE, readCalls, readUsage } from './ledger.ts';
import { scrapedTargets, watchedAlerts } from './monitoring.ts';
import { sendToPort } from './redirect.ts';
import { type Stack, answers, createStack, eventually } from './stack.ts';

const CHAT = '/api/chat/completions';

/** Of a provider that the README permits, by its prefix. */
const PERMITTED = 'openai/alpha';

const ACCESS_KEY = 'an-access-key-of-the-container-tests-0123456789';

describe('a new deployment', () => {
  let stack: Stack;
  let readme: Instructions;
  let ann: Account;
  let admin: Account;

  beforeAll(async () => {
    stack = await createStack({
      ports: ['HTTPS_PORT', 'HTTP_PORT', 'PROMETHEUS_PORT'],
      scheme: 'https',
      settings: (provider) => ({
        OPENROUTER_EXTERNAL_USER: 'mai_client_acme',
        ORGANIZATION_NAME: '"Acme and Sons"',
        MODELGATE_PROVIDER_ACCESS_KEY: ACCESS_KEY,
        FORWARD_USER_INFO_HEADER_JWT_SECRET: 'a-secret-of-the-container-tests-0123456789',
        MODELGATE_PROVIDERS: `http://${provider}/v1`,
        OPENAI_API_BASE_URL: `http://modelgate:8081/${provider}/v1`,
      }),
    });
    readme = stack.follow('New');
    await readme.next('cp .env.example .env');
    stack.fillIn(stack.settings);
    sendToPort(stack.settings['HTTPS_PORT'] ?? '', join(stack.directory, 'nginx/modelgate.conf'));
    await readme.next('mkdir tls');
    makeCertificate(join(stack.directory, 'tls'));
    await readme.next('10001 backups');
    await readme.next('docker compose up');
    await stack.ready();
    await readme.next('model allow');
    await readme.next('doctor');
    admin = await signUp(stack.url, { name: 'Admin', email: 'admin@example.com' });
    ann = await addUser(admin, { name: 'Ann', email: 'ann@example.com' });
    await listModelIds(ann);
  });

  afterAll(async () => stack[Symbol.asyncDispose]());

  beforeEach(() => stack.provider.reset());

  const chat = async (model: string) => {
    const answer = await send(ann, 'POST', CHAT, question(model));
    return { status: answer.status, text: await answer.text() };
  };
  const isServed = () =>
    chat(PERMITTED).then(
      ({ status }) => status === 200,
      () => false,
    );
  const onHost = <T>(act: (database: Database.Database) => T): T => {
    const database = new Database(stack.database, { timeout: 10_000 });
    try {
      return act(database);
    } finally {
      database.close();
    }
  };
  const insideGate = (script: string) => stack.exec('modelgate', 'node', '--print', script);

  test('a permitted chat is answered, a refused one runs nothing, and the list shows what is permitted', async () => {
    expect(await chat(PERMITTED)).toMatchObject({
      status: 200,
      text: expect.stringContaining(`I am ${PERMITTED}`) as string,
    });
    expect((await chat('beta')).status).toBe(403);
    expect(stack.provider.asked()).toEqual([PERMITTED]);
    expect(await listModelIds(ann)).toEqual([PERMITTED]);
  });

  test('Open WebUI has no way to the provider but through modelgate, and no key of it', async () => {
    const models = `${stack.settings['MODELGATE_PROVIDERS']}/models`;
    const ask = `fetch('${models}').then(({ status }) => console.log(status))`;
    expect(await stack.exec('modelgate', 'node', '--eval', ask)).toBe('200');
    const direct = ['curl', '--silent', '--show-error', '--max-time', '10', models];
    await expect(stack.exec('open-webui', ...direct)).rejects.toThrow(/curl: \((?:7|28)\)/);
    const variables = (await stack.exec('open-webui', 'env')).split('\n');
    expect(variables.filter((line) => line.includes('provider-key'))).toEqual([]);
    expect(variables).toContain(`OPENAI_API_KEY=${ACCESS_KEY}`);
  });

  test('what the provider gets says neither who asks nor the access key', async () => {
    await chat(PERMITTED);
    const names = stack.provider.requests.flatMap(({ rawHeaders }) => rawHeaders.filter((_, at) => at % 2 === 0));
    expect(names.filter((name) => /^(?:x-openwebui|authorization|cookie)/i.test(name))).toEqual([]);
    expect(stack.provider.requests.some(({ path }) => path.endsWith('/chat/completions'))).toBe(true);
  });

  test('a chat is in the ledger with its user, its organization and what the provider has counted', async () => {
    const [before, used] = [await readCalls(stack), await readUsage(stack)];
    await chat(PERMITTED);
    expect((await readCalls(stack)).slice(before.length)).toEqual([
      {
        state: 'closed',
        organization_id: 'mai_client_acme',
        user_id: ann.id,
        model: PERMITTED,
        measured: 'reported',
        input: 1,
        output: 8,
      },
    ]);
    expect(await readUsage(stack)).toMatchObject({ requests: used.requests + 1, output: used.output + 8 });
  });

  test('the ledger is on a volume of its own, which the user of the gate alone may open, and the backend does not have', async () => {
    const stat = (path: string) =>
      insideGate(`(({ uid, mode }) => uid + ' ' + (mode & 0o777).toString(8))(require('node:fs').statSync('${path}'))`);
    expect(await stat('/var/lib/modelgate')).toBe('10001 700');
    expect(await stat(USAGE_FILE)).toBe('10001 600');
    await expect(stack.exec('open-webui', 'ls', '/var/lib/modelgate')).rejects.toThrow('No such file');
  });

  test('new users are members of the organization of .env when they are first seen', async () => {
    const members = async () => {
      // again, where another program had the lock
      await listModelIds(admin);
      const ids = 'SELECT user_id FROM organization_members WHERE organization_id = ?';
      return onHost((database) => database.prepare(ids).pluck().all('mai_client_acme').sort());
    };
    await expect.poll(members).toEqual([admin.id, ann.id].sort());
  });

  test('only nginx is published', async () => {
    const bindings = async (service: string) => {
      const ports = JSON.parse(await stack.inspect(service, '{{json .NetworkSettings.Ports}}')) as Record<
        string,
        unknown[] | null
      >;
      return Object.keys(ports).filter((port) => (ports[port] ?? []).length > 0);
    };
    expect((await bindings('nginx')).sort()).toEqual(['443/tcp', '80/tcp']);
    expect(await bindings('modelgate')).toEqual([]);
    expect(await bindings('open-webui')).toEqual([]);
  });

  test('plain http is sent to https, on its port', async () => {
    const plain = `http://127.0.0.1:${stack.settings['HTTP_PORT']}/some/page?of=it`;
    const answer = await fetch(plain, { redirect: 'manual' });
    expect([answer.status, answer.headers.get('location')]).toEqual([308, `${stack.url}/some/page?of=it`]);
  });

  test('the admin listener answers in its own container alone', async () => {
    const ask = (host: string) =>
      stack.exec(
        'modelgate',
        'node',
        '--eval',
        `fetch('http://${host}:9464/readyz').then(async (answer) => console.log(await answer.text()), () => console.log('refused'))`,
      );
    const ready = async () => JSON.parse(await ask('127.0.0.1')) as unknown;
    // SQLite may not have answered one look within 20 ms
    await expect.poll(ready).toMatchObject({ ready: true, database: { missing: [], problem: null } });
    expect(await ask('modelgate')).toBe('refused');
  });

  test('the gate runs without root, has no capabilities, and cannot write its root', async () => {
    expect(await insideGate('`${process.getuid()}:${process.getgid()}`')).toBe('10001:0');
    const status = await insideGate("require('node:fs').readFileSync('/proc/self/status', 'utf8')");
    expect(status).toMatch(/^CapEff:\s*0+$/m);
    expect(status).toMatch(/^NoNewPrivs:\s*1$/m);
    const write = (path: string) =>
      `try { require('node:fs').writeFileSync('${path}', ''); 'written' } catch ({ code }) { code }`;
    expect(await insideGate(write('/app/src/main.ts'))).toBe('EROFS');
    expect(await insideGate(write('/etc/passwd'))).toBe('EROFS');
    expect(await insideGate(write('/tmp/scratch'))).toBe('written');
  });

  test('the database belongs to the backend, and both can write it and no other user', () => {
    const { uid, gid, mode } = statSync(stack.database);
    expect({ uid, gid, mode: (mode & 0o777).toString(8) }).toEqual({ uid: 0, gid: 0, mode: '660' });
  });

  test('two containers write the same file at the same time, and nothing is lost', async () => {
    const people = Array.from({ length: 6 }, (_, index) => ({ name: `P${index}`, email: `p${index}@example.com` }));
    const ids = people.map((_, index) => `shared-${index}`);
    const byBackend = (async () => {
      for (const person of people) await addUser(admin, person);
    })();
    const byGate = (async () => {
      for (const id of ids) await stack.exec('modelgate', 'modelgate', 'model', 'allow', id);
    })();
    await Promise.all([byBackend, byGate]);
    const found = onHost((database) => ({
      users: database.prepare(`SELECT count(*) FROM user WHERE email LIKE 'p_@example.com'`).pluck().get(),
      grants: database.prepare(`SELECT count(*) FROM organization_models WHERE model_id LIKE 'shared-%'`).pluck().get(),
      integrity: database.pragma('integrity_check', { simple: true }),
    }));
    expect(found).toEqual({ users: 6, grants: 6, integrity: 'ok' });
  });

  test.each([
    [
      'by a command in the container',
      (word: 'allow' | 'deny') => stack.exec('modelgate', 'modelgate', 'model', word, 'openai/*'),
    ],
    [
      'by hand on the host',
      (word: 'allow' | 'deny') =>
        onHost((database) =>
          database
            .prepare(`UPDATE organization_models SET is_active = ? WHERE model_id = 'openai/*'`)
            .run(word === 'allow' ? 1 : 0),
        ),
    ],
  ])('a grant that is changed %s is changed for the next request', async (_, change) => {
    await change('deny');
    expect((await chat(PERMITTED)).status).toBe(403);
    await change('allow');
    expect((await chat(PERMITTED)).status).toBe(200);
  });

  test('the health checks of all three are healthy', async () => {
    for (const service of ['nginx', 'modelgate', 'open-webui']) {
      const [kind, ...words] = (
        await stack.inspect(service, '{{range .Config.Healthcheck.Test}}{{println .}}{{end}}')
      ).split('\n');
      expect([service, kind]).toEqual([service, 'CMD']);
      await stack.exec(service, ...words);
    }
  });

  test('a stream that runs when the gate is stopped ends whole and counted, and the gate ends by itself', async () => {
    const before = await readCalls(stack);
    const answer = await send(ann, 'POST', CHAT, question(PERMITTED, { stream: true }));
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = (await reader.read()).value ?? '';
    const stopped = stack.compose('stop', 'modelgate');
    for (let part = await reader.read(); !part.done; part = await reader.read()) text += part.value;
    expect(text).toContain('answer.');
    expect(text).toContain('[DONE]');
    await stopped;
    expect(await stack.inspect('modelgate', '{{.State.ExitCode}}')).toBe('0');
    await expect.poll(() => stack.logs('modelgate')).toMatch(/"msg":"modelgate has stopped","requests_cut":0/);
    await stack.compose('start', 'modelgate');
    await eventually(isServed, 'served after a stop and a start');
    const calls = await readCalls(stack);
    expect(calls.at(before.length)).toMatchObject({ state: 'closed', user_id: ann.id, model: PERMITTED });
    expect(calls.filter(({ state }) => state === 'open')).toEqual([]);
  });

  test.each(['nginx', 'modelgate', 'open-webui'])('%s may be restarted alone', async (service) => {
    const before = await stack.inspect(service, '{{.State.StartedAt}}');
    await stack.compose('restart', service);
    expect(await stack.inspect(service, '{{.State.StartedAt}}')).not.toBe(before);
    await eventually(isServed, `served after a restart of ${service}`);
  });

  test('a gate that is killed comes back', async () => {
    const pid = Number(await stack.inspect('modelgate', '{{.State.Pid}}'));
    process.kill(pid, 'SIGKILL');
    await eventually(
      async () => ![0, pid].includes(Number(await stack.inspect('modelgate', '{{.State.Pid}}'))),
      'another process',
    );
    await eventually(isServed, 'served after a kill');
    expect(await answers(`${stack.url}/health`)).toBe(true);
  });

  test('no other user reads the keys, and the folder for backups takes one', async () => {
    expect((statSync(join(stack.directory, '.env')).mode & 0o777).toString(8)).toBe('600');
    await stack.exec('modelgate', 'modelgate', 'backup', '/backups');
    expect(readdirSync(join(stack.directory, 'backups')).filter((name) => name.endsWith('.gz'))).toHaveLength(2);
  });

  test('the ledger is backed up while it is written, and put back', async () => {
    const backedUp = await readCalls(stack);
    await stack.follow('Back up', LEDGER).next('modelgate backup');
    const folder = join(stack.directory, 'backups');
    const [copy = ''] = readdirSync(folder)
      .filter((name) => /^usage_[\d_]+\.db\.gz$/.test(name))
      .toSorted()
      .slice(-1);
    renameSync(join(folder, copy), join(folder, 'usage_20261127_030000.db.gz'));
    expect((await send(admin, 'POST', CHAT, question(PERMITTED))).status).toBe(200);
    expect((await readCalls(stack)).slice(backedUp.length)).toMatchObject([{ user_id: admin.id }]);
    const restore = stack.follow('Restore', LEDGER);
    for (const part of ['stop', 'run', 'start']) await restore.next(part);
    await eventually(isServed, 'served after the ledger was put back');
    const restored = await readCalls(stack);
    expect(restored.slice(0, backedUp.length)).toEqual(backedUp);
    expect(restored.slice(backedUp.length).filter(({ user_id: user }) => user === admin.id)).toEqual([]);
    expect(restore.rest()).toEqual([]);
  });

  test('the whole stack comes back after down and up, with what was granted and counted, and with Prometheus where it is asked for', async () => {
    const container = await stack.inspect('modelgate', '{{.Id}}');
    const counted = await readCalls(stack);
    await stack.compose('down');
    stack.fillIn({ MODELGATE_ADMIN_HOST: '0.0.0.0' });
    await readme.next('--profile monitoring');
    await stack.ready();
    await eventually(isServed, 'served after down and up');
    expect((await chat('beta')).status).toBe(403);
    expect(await stack.inspect('modelgate', '{{.Id}}')).not.toBe(container);
    expect((await readCalls(stack)).slice(0, counted.length)).toEqual(counted);
    expect(readme.rest()).toEqual([]);
  });

  test('Prometheus reaches the gate, and has read the alerts', async () => {
    const prometheus = `http://127.0.0.1:${stack.settings['PROMETHEUS_PORT']}`;
    const isUp = async () => (await scrapedTargets(prometheus)).some(([, health]) => health === 'up');
    await eventually(() => isUp().catch(() => false), 'a target is up');
    expect(await scrapedTargets(prometheus)).toEqual([['modelgate', 'up', '']]);
    const written = readFileSync(join(stack.directory, 'config/alerts.yml'), 'utf8').matchAll(/^ +- alert: (\w+)$/gm);
    const names = [...written].map(([, name]) => name);
    expect(names).toContain('ModelgateDown');
    expect(await watchedAlerts(prometheus)).toEqual(names);
  });
});
