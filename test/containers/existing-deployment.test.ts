/** The deployment guide's own stack, which runs already, gets the gate from `docker-compose.modelgate.yml`, and loses it again. */
import { chmodSync, chownSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { call, listModelIds, send, signUp, through } from '../openwebui/backend-client.ts';
import type { Account } from '../openwebui/backend-client.ts';
import { question } from '../openwebui/tenants.ts';
import { engine } from './engine.ts';
import { MODELGATE, NODE, OPEN_WEBUI, ROOT } from './images.ts';
import type { Stack } from './stack.ts';
import { createStack, eventually } from './stack.ts';

const CHAT = '/api/chat/completions';
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
const NETWORK = {
  name: 'docker-compose.network.yml',
  text: 'networks: {default: {ipam: {config: [{subnet: "${NETWORK_PREFIX}.0/24"}]}}}\n',
};

describe('an existing deployment', () => {
  let stack: Stack;
  let withGate: readonly string[];
  let before: readonly string[];
  let admin: Account;

  beforeAll(async () => {
    await engine(['tag', OPEN_WEBUI, BACKEND]);
    const addition = readFileSync(join(ROOT, 'docker-compose.modelgate.yml'), 'utf8').replace(
      '8080:8080',
      '${BACKEND_PORT}:8080',
    );
    stack = await createStack({
      files: [{ name: 'docker-compose.yml', text: GUIDE }, NETWORK],
      ports: ['BACKEND_PORT', 'FRONTEND_PORT'],
      env: { CLIENT_NAME: `acme-${process.pid}`, OPENAI_API_KEY: 'provider-key' },
    });
    before = stack.files;
    withGate = [...before, 'docker-compose.modelgate.yml'];
    writeFileSync(join(stack.directory, 'docker-compose.modelgate.yml'), addition);
    writeFileSync(join(stack.directory, 'server.js'), FRONTEND_SERVER);
    writeFileSync(join(stack.directory, 'Frontend'), `FROM ${NODE}\nCOPY server.js /\nCMD ["node", "/server.js"]\n`);
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

  test('before, everybody who may sign in gets every model', async () => {
    expect(await asked('beta')).toBe(200);
  });

  test('the migration takes a verified backup first, and links users and models', async () => {
    await stack.compose('down');
    // what the text says: sudo chgrp 0 data data/webui.db*; sudo chmod g+rwx data; sudo chmod g+rw,o= data/webui.db*
    for (const name of readdirSync(join(stack.directory, 'data')).filter((name) => name.startsWith('webui.db'))) {
      chownSync(join(stack.directory, 'data', name), 0, 0);
      chmodSync(join(stack.directory, 'data', name), 0o660);
    }
    chmodSync(join(stack.directory, 'data'), 0o775);
    const words = ['migrate', '--org', 'mai_client_acme', '--name', 'Acme and Sons'];
    const volume = ['--volume', `${stack.directory}/data:/app/backend/data`, '--env', 'DATA_DIR=/app/backend/data'];
    const said = await engine(['run', '--rm', '--network', 'none', ...volume, MODELGATE, ...words]);
    expect(said).toMatch(/backup/i);
    expect(readdirSync(join(stack.directory, 'data')).filter((name) => /backup|\.gz$/.test(name))).toHaveLength(1);
    using database = open(stack.database);
    expect(database.sql.prepare('SELECT user_id FROM organization_members').pluck().all()).toEqual([admin.id]);
    expect(database.sql.prepare('SELECT model_id FROM organization_models').pluck().all()).toEqual(['alpha']);
  });

  test('with the second file the gate stands on the port of the backend, which is published no more', async () => {
    await stack.use(withGate).compose('up', '-d');
    await stack.ready();
    await eventually(async () => (await asked('alpha')) === 200, 'a permitted chat');
    expect(await asked('beta')).toBe(403);
    expect(await listModelIds(through(admin, stack.url))).toEqual(['alpha']);
    expect(await stack.inspect('mai-backend', '{{json .HostConfig.PortBindings}}')).not.toContain('HostPort');
    expect(await stack.logs('modelgate')).toContain('"msg":"modelgate listens"');
  });

  test('what the frontend asks goes through the gate too', async () => {
    const port = /^FRONTEND_PORT=(\d+)$/m.exec(readFileSync(join(stack.directory, '.env'), 'utf8'))?.[1];
    const answer = await fetch(`http://127.0.0.1:${port}/`);
    expect(answer.status).toBe(200);
    expect(await stack.logs('modelgate')).toContain('"path":"/api/version"');
  });

  test('rolled back, the backend has its port again, and its file has come to no harm', async () => {
    await stack.use(withGate).compose('down');
    await stack.use(before).compose('up', '-d');
    await stack.ready();
    expect(await asked('beta')).toBe(200);
    using database = open(stack.database);
    expect(database.sql.pragma('integrity_check', { simple: true })).toBe('ok');
  });
});

function open(path: string): Disposable & { readonly sql: Database.Database } {
  const sql = new Database(path, { timeout: 10_000 });
  return { sql, [Symbol.dispose]: () => void sql.close() };
}
