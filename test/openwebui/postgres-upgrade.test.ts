/** The real backend migrates a PostgreSQL database that has modelgate's objects in it: nothing of ours is in its way, and nothing is lost. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { startPostgres } from '../support/postgres.ts';
import { runCommand } from '../support/process/command.ts';
import { backendEnvironment } from './environment.ts';
import { installOpenWebui } from './install.ts';

const execute = promisify(execFile);

// the backend reads half a gigabyte of Python first
test('the chain of 0.12.4 passes over a migrated database of 0.6.18', { timeout: 300_000 }, async () => {
  await using server = await startPostgres();
  await using database = await server.createDatabase({ era: '0.6.18' });
  const { sql, url } = database;
  await sql.query(`INSERT INTO alembic_version VALUES ('d31026856c01')`);
  await sql.query(`INSERT INTO "user" (id, name, email, role, profile_image_url, created_at, updated_at, last_active_at)
    VALUES ('ada', 'Ada', 'ada@example.org', 'user', '', 1, 1, 1)`);
  await sql.query(`INSERT INTO model (id, user_id, name, params, meta, is_active, created_at, updated_at)
    VALUES ('gpt-4o', 'ada', 'GPT', '{}', '{}', true, 1, 1)`);
  const environment = { DATABASE_URL: url };
  const ask = async (...words: string[]): Promise<unknown> => {
    const { code, stdout, stderr } = await runCommand([...words, '--json'], { environment });
    expect([code, stderr]).toEqual([0, stderr]);
    return JSON.parse(stdout);
  };
  await ask('init', '--org', 'acme');
  await ask('model', 'allow', 'gpt-4o', '--org', 'acme');
  const before = (await sql.query('SELECT * FROM modelgate_organization_version')).rows;

  const { python } = await installOpenWebui('0.12.4');
  const dataDir = mkdtempSync(join(tmpdir(), 'modelgate-'));
  onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }));
  const settings = { dataDir, secretKey: 'a key of this test alone', providerUrl: 'http://127.0.0.1:9/v1' };
  // the settings are read, and the migrations run, as soon as this is imported
  const env = { ...backendEnvironment(settings), PATH: process.env['PATH'], ...environment };
  await execute(python, ['-c', 'import open_webui.config'], { env, cwd: dataDir, timeout: 240_000, maxBuffer: 1e8 });

  const { rows } = await sql.query<{ version_num: string }>('SELECT version_num FROM alembic_version');
  expect(rows).toEqual([{ version_num: '0bd252b206fb' }]);
  expect(await ask('init', '--org', 'acme')).toMatchObject({ made: 0, failed: 0, linked_users: 0 });
  expect(await ask('explain', '--user', 'ada', '--model', 'gpt-4o')).toMatchObject({ decision: 'permit' });
  expect((await sql.query('SELECT user_email, model_names FROM user_model_access_report')).rows).toEqual([
    { user_email: 'ada@example.org', model_names: 'GPT' },
  ]);
  expect((await sql.query('SELECT * FROM modelgate_organization_version')).rows).toEqual(before);
});
