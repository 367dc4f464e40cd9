/** The schemas of `test/support/schemas` are what the real releases make of an empty PostgreSQL; and both read one URL alike. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parsePostgresUrl } from '../../src/config/postgres-url.ts';
import { run } from '../support/postgres-programs.ts';
import { PASSWORD, type PostgresServer, ROLE, startPostgres } from '../support/postgres.ts';
import { backendEnvironment } from './environment.ts';
import { installOpenWebui } from './install.ts';
import { RELEASES, type Release } from './release.ts';

const PATIENCE_MS = 240_000;
const execFileAsync = promisify(execFile);

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server[Symbol.asyncDispose]());

/** The interpreter of a release runs this. @returns what it printed */
async function python(release: Release, script: string, settings: Record<string, string> = {}): Promise<string> {
  const { python: interpreter } = await installOpenWebui(release);
  const dataDir = mkdtempSync(join(tmpdir(), 'modelgate-openwebui-'));
  const basic = backendEnvironment({ dataDir, secretKey: 'a-key', providerUrl: 'http://127.0.0.1:9/v1' });
  try {
    const options = { env: { ...basic, ...settings }, cwd: dataDir, timeout: PATIENCE_MS, maxBuffer: 2 ** 26 };
    return (await execFileAsync(interpreter, ['-c', script], options)).stdout;
  } finally {
    rmSync(dataDir, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** As `pg_dump` prints it, without what is the same in every dump, and without the name of the schema. */
function dumped(database: string, schema: string): string {
  const words = ['--schema-only', '--no-owner', '--no-privileges', '--no-comments', `--schema=${schema}`];
  const where = ['-h', server.host, '-p', String(server.port), '-U', ROLE, database];
  const lines = run('pg_dump', [...words, ...where], { PGPASSWORD: PASSWORD }).split('\n');
  const noise = /^(?:$|--|\\|SET |SELECT pg_catalog\.set_config|CREATE SCHEMA )/;
  return `${lines
    .filter((line) => !noise.test(line))
    .join('\n')
    .replaceAll(`${schema}.`, '')}\n`;
}

describe.each(RELEASES)('Open WebUI %s', { timeout: 300_000 }, (release) => {
  test.each(release === '0.12.4' ? ['public', 'chat'] : ['public'])(
    'makes the schema that tests use, in %s',
    async (schema) => {
      await using database = await server.createDatabase({ era: 'none', schema });
      const place: Record<string, string> = schema === 'public' ? {} : { DATABASE_SCHEMA: schema };
      // the migrations run when the settings are imported, as at every start
      await python(release, 'import open_webui.config', { DATABASE_URL: database.url, ...place });
      const kept = new URL(`../support/schemas/open-webui-${release}.postgresql.sql`, import.meta.url);
      expect(dumped(database.name, schema)).toBe(readFileSync(kept, 'utf8'));
    },
  );
});

const URLS = [
  'postgresql://ann:p%40ss%2Fword@db:6432/chat',
  'postgresql+psycopg2://ann:50%off@db/chat',
  'postgresql://ann:a/b?c:d#e+f@db/chat',
  'postgresql://a%40b@10.0.0.1/a%20b',
  'postgresql://ann:%C3%A9@[::1]:6432/x',
  'postgresql://ann@one,two:6432/x',
  'postgresql://ann@/x?host=one:1&host=two:2',
  'postgresql://ann@/x?host=one,two&port=1,2',
  'postgresql://ann@/x?host=/var/run/postgresql',
  'postgresql://db/x?user=ann&password=a%26b&sslmode=require',
];

/** What the driver gets from SQLAlchemy, as the backend hands URLs to it. */
const SCRIPT = `
import json, sys
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.engine.url import make_url
for url in json.loads('${JSON.stringify(URLS)}'):
    print(json.dumps(PGDialect_psycopg2().create_connect_args(make_url(url))[1]))
`;

test.each(RELEASES)('a URL leads to where the SQLAlchemy of %s leads', async (release) => {
  const lines = (await python(release, SCRIPT)).trim().split('\n');
  const theirs = lines.map((line) => {
    const given = JSON.parse(line) as Record<string, string | number | undefined>;
    const hosts = String(given['host']).split(',');
    const ports = String(given['port'] ?? '').split(',');
    return {
      hosts: hosts.map((host, index) => ({ host, port: Number(ports[index] || ports.at(-1) || 5432) })),
      ...{ user: given['user'], password: given['password'], database: given['dbname'] },
    };
  });
  expect(URLS.map((url) => parsePostgresUrl(url))).toMatchObject(theirs);
});
