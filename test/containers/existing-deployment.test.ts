/** The deployment guide's own stack, which runs already, gets the gate as the README says under "Existing", and loses it again. */
import { appendFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { call, listModelIds, send, signUp, through, type Account } from '../openwebui/backend-client.ts';
import { question } from '../openwebui/tenants.ts';
import { engine } from './engine.ts';
import { NODE, OPEN_WEBUI } from './images.ts';
import type { Instructions } from './instructions.ts';
import { lines } from './folder.ts';
import { readCalls } from './ledger.ts';
import { type Stack, answers, createStack, eventually } from './stack.ts';

const CHAT = '/api/chat/completions';
const ACCESS_KEY = 'an-access-key-of-the-container-tests-0123456789';
const BACKEND = 'ghcr.io/your-org/mai-backend:latest';
const FRONTEND = 'ghcr.io/your-org/mai-frontend:latest';
/** The guide's step 2, but for the ports of the host, which the tests choose. */
const GUIDE = `version: '3.8'

services:
  mai-backend:
    image: ${BACKEND}
    container_name: mai-backend-\${CLIENT_NAME}
    env_file: .env
    volumes:
      - ./data:/app/backend/data
      - ./logs:/app/backend/logs
    ports:
      - "\${BACKEND_PORT}:8080"
    restart: unless-stopped
    healthcheck:
      test: ["CMD", "curl", "-f", "http://localhost:8080/health"]
      interval: 30s
      timeout: 10s
      retries: 3
      start_period: 40s
    deploy:
      resources:
        limits:
          memory: 4G
        reservations:
          memory: 2G

  mai-frontend:
    image: ${FRONTEND}
    container_name: mai-frontend-\${CLIENT_NAME}
    environment:
      - PUBLIC_API_BASE_URL=http://mai-backend:8080/api
    ports:
      - "\${FRONTEND_PORT}:3000"
    depends_on:
      - mai-backend
    restart: unless-stopped
`;
/** A page that shows what its server got from the API. */
const FRONTEND_SERVER = `require('node:http').createServer(async (_request, response) => {
  const answer = await fetch(process.env.PUBLIC_API_BASE_URL + '/version').catch(() => new Response('away', { status: 502 }));
  response.writeHead(answer.status).end(await answer.text());
}).listen(3000)`;
describe('an existing deployment', () => {
  let stack: Stack;
  let readme: Instructions;
  let admin: Account;

  beforeAll(async () => {
    await engine(['tag', OPEN_WEBUI, BACKEND]);
    stack = await createStack({
      files: {
        'docker-compose.yml': GUIDE,
        'server.js': FRONTEND_SERVER,
        Frontend: `FROM ${NODE}\nCOPY server.js /\nCMD ["node", "/server.js"]\n`,
      },
      ports: ['BACKEND_PORT', 'FRONTEND_PORT'],
      scheme: 'http',
      settings: (provider) => ({
        CLIENT_NAME: `acme-${process.pid}`,
        OPENAI_API_BASE_URL: `http://${provider}/v1`,
        OPENAI_API_KEY: 'provider-key',
      }),
    });
    readme = stack.follow('Existing');
    await engine(['build', '--tag', FRONTEND, '--file', 'Frontend', '.'], { cwd: stack.directory });
    await stack.compose('up', '-d');
    await stack.ready();
    admin = await signUp(stack.url, { name: 'Admin', email: 'admin@example.com' });
    await call(admin, 'POST', '/api/v1/models/create', {
      id: 'alpha',
      name: 'alpha',
      base_model_id: null,
      meta: {},
      params: {},
    });
  });

  afterAll(async () => {
    await stack[Symbol.asyncDispose]();
  });

  const asked = async (model: string) => {
    await listModelIds(admin);
    return (await send(admin, 'POST', CHAT, question(model))).status;
  };

  /** As the page of the Admin Panel does it. */
  const connectTo = (url: string, key: string) =>
    call(admin, 'POST', '/openai/config/update', {
      ENABLE_OPENAI_API: true,
      OPENAI_API_BASE_URLS: [url],
      OPENAI_API_KEYS: [key],
      OPENAI_API_CONFIGS: {},
    });

  test('before, each user who may sign in gets every model', async () => {
    expect(await asked('beta')).toBe(200);
  });

  test('the migration takes a verified backup first, and links users and models', async () => {
    await readme.next('docker build');
    await readme.next('chgrp');
    expect(await readme.next('migrate --org mai_client_acme')).toMatch(/backup/i);
    expect(readdirSync(join(stack.directory, 'data')).filter((name) => /backup|\.gz$/.test(name))).toHaveLength(1);
    using database = open(stack.database);
    expect(database.sql.prepare('SELECT user_id FROM organization_members').pluck().all()).toEqual([admin.id]);
    expect(database.sql.prepare('SELECT model_id FROM organization_models').pluck().all()).toEqual(['alpha']);
  });

  test('the gate stands on the port of the backend, which is published no more', async () => {
    await readme.next('>> .env');
    await readme.next('docker-compose.override.yml');
    await stack.ready();
    await eventually(async () => (await asked('alpha')) === 200, 'a permitted chat');
    expect(await asked('beta')).toBe(403);
    expect(await listModelIds(through(admin, stack.url))).toEqual(['alpha']);
    expect(await stack.inspect('mai-backend', '{{json .HostConfig.PortBindings}}')).not.toContain('HostPort');
    expect(await stack.logs('modelgate')).toContain('"msg":"modelgate listens"');
  });

  test('what the frontend asks goes through the gate too', async () => {
    const page = `http://127.0.0.1:${stack.settings['FRONTEND_PORT']}/`;
    await eventually(() => answers(page), 'the page of the frontend');
    await eventually(async () => (await stack.logs('modelgate')).includes('"path":"/api/version"'), 'its access line');
  });

  test('nginx on this machine is believed about who its clients are', async () => {
    const asks = async (client: string, path: string, init: RequestInit = {}) => {
      const headers = { 'content-type': 'application/json', 'x-forwarded-for': client };
      const answer = await fetch(stack.url + path, { ...init, headers });
      await answer.body?.cancel();
      return Number(answer.headers.get('x-ratelimit-remaining-requests'));
    };
    // a sign-in is paid as ten requests, by the address that it comes from
    const signIn = { method: 'POST', body: JSON.stringify({ email: 'nobody@example.com', password: 'wrong' }) };
    // as it was when they came, all at once: ten are due again each second, and a password takes the backend a while
    const signIns = Array.from({ length: 10 }, () => asks('203.0.113.7', '/api/v1/auths/signin', signIn));
    const left = Math.min(...(await Promise.all(signIns)));
    expect(left).toBeGreaterThan(0);
    expect(await asks('203.0.113.8', '/api/version')).toBeGreaterThan(left + 20);
  });

  test('with the commented lines of that file the provider door judges and counts, and its ledger has its volume', async () => {
    const { OPENAI_API_BASE_URL: provider = '' } = stack.settings;
    const file = join(stack.directory, 'docker-compose.override.yml');
    const text = readFileSync(file, 'utf8');
    const commented = /^( +)#(?=MODELGATE_|environment:)/gm;
    expect(text.match(commented)).toHaveLength(3);
    writeFileSync(file, text.replace(commented, '$1'));
    const keys = { MODELGATE_PROVIDER_ACCESS_KEY: ACCESS_KEY, MODELGATE_PROVIDERS: provider };
    appendFileSync(join(stack.directory, '.env'), lines(keys));
    await stack.compose('down');
    await stack.compose('up', '-d');
    await stack.ready();
    await connectTo(provider.replace('http://', 'http://modelgate:8081/'), ACCESS_KEY);
    await eventually(async () => (await asked('alpha')) === 200, 'a permitted chat through the door');
    expect(await asked('beta')).toBe(403);
    expect((await readCalls(stack)).at(-1)).toEqual({
      state: 'closed',
      organization_id: 'mai_client_acme',
      user_id: admin.id,
      model: 'alpha',
      measured: 'reported',
      input: 1,
      output: 8,
    });
    await connectTo(provider, 'provider-key');
  });

  test('rolled back, the backend has its port again, and its file has come to no harm', async () => {
    await readme.next('docker compose down');
    await stack.ready();
    expect(readme.rest()).toEqual([]);
    expect(await asked('beta')).toBe(200);
    using database = open(stack.database);
    expect(database.sql.pragma('integrity_check', { simple: true })).toBe('ok');
  });
});

function open(path: string): Disposable & { readonly sql: Database.Database } {
  const sql = new Database(path, { timeout: 10_000 });
  return { sql, [Symbol.dispose]: () => void sql.close() };
}
