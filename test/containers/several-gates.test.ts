/** What config/README.md says under "Several gates with Compose", done: three gates, two real backends, PostgreSQL behind PgBouncer, Valkey. */
import { appendFileSync, copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addUser, listModelIds, send, signUp, type Account } from '../openwebui/backend-client.ts';
import { question } from '../openwebui/tenants.ts';
import { makeCertificate } from '../support/gate/certificate.ts';
import { ENGINE, engine, run, shell } from './engine.ts';
import { prepareServers } from './images.ts';
import { SCALE } from './instructions.ts';
import { readUsage } from './ledger.ts';
import { type Stack, createStack, eventually } from './stack.ts';

const CHAT = '/api/chat/completions';
const PERMITTED = 'openai/alpha';
const SERVICES = ['nginx', 'modelgate', 'open-webui', 'open-webui-2', 'pgbouncer', 'postgres', 'valkey'];

/** Of one user at once; another one comes back every hour. */
const CHATS = 20;

describe('several gates', () => {
  let stack: Stack;
  let ann: Account;
  let others: readonly Account[];
  let gates: readonly string[];

  beforeAll(async () => {
    await prepareServers();
    stack = await createStack({
      composeFiles: 'docker-compose.yml:docker-compose.scale.yml',
      ports: ['HTTPS_PORT', 'HTTP_PORT'],
      scheme: 'https',
      settings: (provider) => ({
        OPENROUTER_EXTERNAL_USER: 'mai_client_acme',
        ORGANIZATION_NAME: '"Acme and Sons"',
        MODELGATE_PROVIDER_ACCESS_KEY: 'an-access-key-of-the-container-tests-0123456789',
        FORWARD_USER_INFO_HEADER_JWT_SECRET: 'a-secret-of-the-container-tests-0123456789',
        MODELGATE_PROVIDERS: `http://${provider}/v1`,
        OPENAI_API_BASE_URL: `http://modelgate:8081/${provider}/v1`,
        OPENWEBUI_DATABASE_PASSWORD: 'a'.repeat(64),
        GATE_DATABASE_PASSWORD: 'b'.repeat(64),
        REDIS_PASSWORD: 'c'.repeat(64),
        // the stand-in for Open WebUI has no driver of pgvector, and reads no documents here
        VECTOR_DB: 'chroma',
      }),
    });
    const at = (name: string) => join(stack.directory, name);
    copyFileSync(at('.env.example'), at('.env'));
    stack.fillIn(stack.settings);
    appendFileSync(at('.env'), `MODELGATE_LIMIT_CHAT=1/1h:${CHATS - 1}\n`);
    mkdirSync(at('tls'));
    makeCertificate(at('tls'));
    await shell('sudo install --directory --owner 10001 backups', { cwd: stack.directory });
    await stack.follow('Start', SCALE).next('--file docker-compose.scale.yml up');
    await stack.ready();
    gates = await stack.containers('modelgate');
    await stack.exec('modelgate', 'modelgate', 'model', 'allow', 'openai/*');
    const admin = await signUp(stack.url, { name: 'Admin', email: 'admin@example.com' });
    ann = await addUser(admin, { name: 'Ann', email: 'ann@example.com' });
    others = await Promise.all(
      ['Bob', 'Cyd', 'Dee'].map((name) => addUser(admin, { name, email: `${name}@example.com` })),
    );
    for (const user of [ann, ...others]) await listModelIds(user);
  });

  afterAll(async () => stack[Symbol.asyncDispose]());

  const chat = async (model: string) => (await send(ann, 'POST', CHAT, question(model))).status;

  /** Past nginx, at one gate, one after the other. @returns the statuses, and how often Redis or PostgreSQL was late for it meanwhile */
  const askGate = async (gate: string, user: Account, times = 1) => {
    const headers = { authorization: `Bearer ${user.token}`, 'content-type': 'application/json' };
    const request = JSON.stringify({ method: 'POST', headers, body: JSON.stringify(question(PERMITTED)) });
    const script = `
      const late = async () => (await (await fetch('http://127.0.0.1:9464/metrics')).text())
        .matchAll(/^modelgate_(?:limits_without_redis|database_errors)_total.* (\\d+)$/gm).reduce((sum, [, count]) => sum + Number(count), 0);
      const before = await late();
      const statuses = [];
      for (let at = 0; at < ${times}; at++) statuses.push((await fetch('http://127.0.0.1:8080${CHAT}', ${request})).status);
      console.log(JSON.stringify({ statuses, late: await late() - before }));`;
    const words = ['exec', gate, 'node', '--input-type=module', '--eval', script];
    return JSON.parse(await engine(words)) as { statuses: number[]; late: number };
  };

  /** @returns the status that each gate has for one chat, and whether Redis or PostgreSQL was late for one of them */
  const askAll = async (user: Account) => {
    const asked = await Promise.all(gates.map((gate) => askGate(gate, user)));
    return { statuses: asked.flatMap(({ statuses }) => statuses), isLate: asked.some(({ late }) => late > 0) };
  };

  const isReady = async (gate: string) => {
    const script =
      "fetch('http://127.0.0.1:9464/readyz').then(({ status }) => console.log(status), () => console.log(0))";
    return (await engine(['exec', gate, 'node', '--eval', script]).catch(() => '')) === '200';
  };

  test('all nine are healthy, and nginx alone is published', async () => {
    expect(gates).toHaveLength(3);
    for (const service of SERVICES) {
      const probe = '{{range .Config.Healthcheck.Test}}{{println .}}{{end}}';
      for (const container of await stack.containers(service)) {
        const [kind, ...words] = (await engine(['inspect', '--format', probe, container])).split('\n');
        expect([service, kind]).toEqual([service, 'CMD']);
        // the second backend starts when the first one is healthy
        const isHealthy = async () => (await run(ENGINE, ['exec', container, ...words])).code === 0;
        await eventually(isHealthy, `${container} is healthy`);
        const ports = JSON.parse(
          await engine(['inspect', '--format', '{{json .NetworkSettings.Ports}}', container]),
        ) as Record<string, unknown[] | null>;
        const published = Object.keys(ports).filter((port) => (ports[port] ?? []).length > 0);
        expect([service, published.toSorted()]).toEqual([service, service === 'nginx' ? ['443/tcp', '80/tcp'] : []]);
      }
    }
  });

  test('a permitted chat is answered, a refused one runs nothing, and both doors of all gates have counted', async () => {
    const before = await readUsage(stack);
    expect(await chat(PERMITTED)).toBe(200);
    expect(await chat('beta')).toBe(403);
    expect((await askAll(ann)).statuses).toEqual([200, 200, 200]);
    expect(await readUsage(stack)).toMatchObject({ requests: before.requests + 4 });
  });

  test('a grant that is taken away is away for the next request at each gate, and back as fast', async () => {
    // a gate for which the database is late answers by its last good state
    const asked = async (): Promise<number[]> => {
      const { statuses, isLate } = await askAll(ann);
      return isLate ? asked() : statuses;
    };
    await stack.exec('modelgate', 'modelgate', 'model', 'deny', 'openai/*');
    expect(await asked()).toEqual([403, 403, 403]);
    await stack.exec('modelgate', 'modelgate', 'model', 'allow', 'openai/*');
    expect(await asked()).toEqual([200, 200, 200]);
  });

  test('all gates count one limit', async () => {
    const once = async (user: Account) => {
      const asked = await Promise.all(gates.map((gate) => askGate(gate, user, CHATS / 2)));
      // a machine that has other things to do: Redis had no 50 ms, and each gate counted its share
      if (asked.some(({ late }) => late > 0)) return undefined;
      return asked.flatMap(({ statuses }) => statuses).toSorted();
    };
    let statuses: number[] | undefined;
    for (const user of others) statuses ??= await once(user);
    const [permitted, refused] = [200, 429].map((status) => statuses?.filter((found) => found === status).length);
    expect({ permitted, refused }).toEqual({ permitted: CHATS, refused: CHATS / 2 });
  });

  test('the role of the gate reads the tables of the backend and cannot write them, and doctor finds nothing wrong', async () => {
    const asGate = (sql: string) =>
      stack.exec(
        'postgres',
        ...['psql', '--username', 'postgres', '--dbname', 'openwebui', '--quiet', '--tuples-only', '--no-align'],
        ...['--command', `SET ROLE modelgate; ${sql}`],
      );
    expect(await asGate('SELECT count(*) FROM "user"')).toBe('5');
    await expect(asGate(`UPDATE "user" SET role = 'admin'`)).rejects.toThrow('permission denied for table user');
    await expect(asGate('DELETE FROM chat')).rejects.toThrow('permission denied for table chat');
    expect(await stack.exec('open-webui', 'env')).not.toContain('b'.repeat(64));
    const variables = await stack.exec('modelgate', 'node', '--print', 'JSON.stringify(process.env)');
    expect(variables).toContain('b'.repeat(64));
    expect(variables).not.toContain('a'.repeat(64));
    const { host } = new URL(stack.settings['MODELGATE_PROVIDERS'] ?? '');
    await stack.exec('modelgate', 'modelgate', 'price', 'set', host, '*', '--free');
    // it warns of a Redis that takes 10 ms, as each does on a machine that has other things to do
    const doctor = () => stack.exec('modelgate', 'modelgate', 'doctor');
    await expect.poll(doctor, { timeout: 60_000 }).toContain('Nothing is wrong.');
  });

  test('nobody but PgBouncer reaches PostgreSQL, and nginx nothing but gates', async () => {
    const answers = async (service: string, address: string) =>
      (await stack.exec(service, 'bash', '-c', `timeout 5 bash -c '</dev/tcp/${address}' 2>/dev/null; echo $?`)) ===
      '0';
    expect(await answers('open-webui', 'pgbouncer/6432')).toBe(true);
    expect(await answers('open-webui', 'postgres/5432')).toBe(false);
    expect(await answers('nginx', 'modelgate/8080')).toBe(true);
    for (const other of ['pgbouncer/6432', 'valkey/6379', 'open-webui/8080', 'postgres/5432']) {
      expect([other, await answers('nginx', other)]).toEqual([other, false]);
    }
  });

  test('gates that are restarted one by one lose no request, and one more is found', async () => {
    const lost: unknown[] = [];
    let asked = 0;
    const over = new AbortController();
    const worker = async () => {
      while (!over.signal.aborted) {
        asked++;
        const status = await listModelIds(ann).then(
          () => 200,
          (error: unknown) => error,
        );
        if (status !== 200) lost.push(status);
        await delay(100);
      }
    };
    const workers = [worker(), worker()];
    const restart = stack.follow('Restart', SCALE);
    await restart.next('docker restart');
    for (const gate of gates) await eventually(() => isReady(gate), `${gate} is ready again`);
    await stack.compose('up', '--detach', '--no-recreate', '--scale', `modelgate=${gates.length + 1}`);
    const known = () =>
      stack.exec('nginx', 'grep', '--only-matching', 'server [0-9.]*:8080 max_fails=0;', '/tmp/conf.d/default.conf');
    // in both upstreams
    await eventually(
      async () => new Set((await known()).split('\n')).size === gates.length + 1,
      'nginx knows one gate more',
    );
    over.abort();
    await Promise.all(workers);
    expect(restart.rest()).toEqual([]);
    expect(asked).toBeGreaterThan(100);
    const errors = (await stack.logs('nginx')).split('\n').filter((line) => line.includes('[error]'));
    const failed = (await stack.logs('modelgate'))
      .split('\n')
      .filter((line) => /"status":50\d|cannot be reached/.test(line));
    const why = lost.length > 0 ? [...errors.slice(-40), ...failed.slice(-20)] : [];
    expect({ lost, why }).toEqual({ lost: [], why: [] });
  });

  test('one backend is enough for those that are signed in', async () => {
    await stack.compose('stop', 'open-webui-2');
    await eventually(
      async () => (await listModelIds(ann).catch(() => [])).length === 1,
      'a list from the other backend',
    );
    await stack.compose('start', 'open-webui-2');
  });

  test('nothing is left after down with its volumes', async () => {
    const [gate = ''] = gates;
    const project = gate.replace(/[_-]modelgate[_-]1$/, '');
    // podman-compose takes down as many as the file says, Docker Compose all
    const more = (await stack.containers('modelgate')).filter((name) => !gates.includes(name));
    await engine(['rm', '--force', ...more]);
    await stack.compose('down', '--volumes');
    for (const kind of ['container', 'network', 'volume']) {
      const words =
        kind === 'container' ? ['ps', '--all', '--format', '{{.Names}}'] : [kind, 'ls', '--format', '{{.Name}}'];
      expect((await engine(words)).split('\n').filter((name) => name.startsWith(`${project}_`))).toEqual([]);
    }
  });
});
