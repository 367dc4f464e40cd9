/**
 * What a command writes is in force on the very next request to a gate that runs: two processes and one file, because
 * the commands run in that of the test.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startSampleBackend } from '../../../support/upstream/sample-backend/backend.ts';
import { type Era, createDatabase } from '../../../support/database/database.ts';
import { serveModelgate } from '../../../support/gate/gate-process.ts';
import { TEST_SECRET, mintSession } from '../../../support/gate/session.ts';
import { runCommand } from '../../../support/process/command.ts';

async function start(era: Era) {
  const database = createDatabase({ era });
  for (const id of ['ann', 'bob']) database.addUser({ id });
  database.addUser({ id: 'pen', role: 'pending' });
  database.addMember('acme', 'ann');
  database.grant('acme', 'A');
  const backend = await startSampleBackend({
    database: database.path,
    secretKey: TEST_SECRET,
    provider: ['A', 'F', 'acme/one'].map((id) => ({ id, name: id, owner: 'openai' as const })),
  });
  const url = `sqlite:///${database.path}`;
  const gate = await serveModelgate({
    MODELGATE_UPSTREAM_URL: backend.url,
    DATABASE_URL: url,
    WEBUI_SECRET_KEY: TEST_SECRET,
  });
  const ask = async (user: string, path: string, body?: unknown) =>
    fetch(`${gate.url}${path}`, {
      method: body === undefined ? 'GET' : 'POST',
      headers: { authorization: `Bearer ${await mintSession(user)}`, 'content-type': 'application/json' },
      body: body === undefined ? null : JSON.stringify(body),
    });
  return {
    database,
    /** Models that the user is shown. */
    async list(user: string) {
      const { data } = (await (await ask(user, '/api/models')).json()) as { data: { id: string }[] };
      return data.map(({ id }) => id);
    },
    /** Status of a request that uses the model. */
    async use(user: string, model: string) {
      const answer = await ask(user, '/api/chat/completions', {
        model,
        messages: [{ role: 'user', content: 'hello' }],
      });
      await answer.text();
      return answer.status;
    },
    /** Fails where the command fails. @returns what it printed */
    async command(...words: string[]) {
      const ended = await runCommand(words, { environment: { DATABASE_URL: url } });
      expect(ended).toMatchObject({ code: 0 });
      return ended.stdout;
    },
    /** The id in the refusal of a model. */
    async refused(user: string, model: string) {
      const answer = await ask(user, '/api/chat/completions', { model, messages: [] });
      return /decision (d-\w+)/.exec(await answer.text())?.[1] ?? '';
    },
    adminUrl: gate.adminUrl,
    async [Symbol.asyncDispose]() {
      await gate[Symbol.asyncDispose]();
      await backend.close();
      database.close();
    },
  };
}

// outside of WAL mode each commit locks readers out for a moment, and in it the news comes by another way
describe('a gate on a file of 0.6.18, without WAL', () => {
  let running: Awaited<ReturnType<typeof start>>;
  beforeAll(async () => void (running = await start('0.6.18')));
  afterAll(() => running[Symbol.asyncDispose]());

  test('sees every change of the models', async () => {
    const { list, use, command } = running;
    expect([await list('ann'), await use('ann', 'F')]).toEqual([['A'], 403]);
    await command('model', 'allow', 'F', 'acme/*', '--org', 'acme');
    expect([await use('ann', 'F'), await list('ann')]).toEqual([200, ['A', 'F', 'acme/one']]);
    await command('model', 'deny', 'F', '--org', 'acme');
    expect([await use('ann', 'F'), await list('ann')]).toEqual([403, ['A', 'acme/one']]);
    await command('model', 'deny', 'acme/*', '--purge', '--org', 'acme');
    expect([await use('ann', 'acme/one'), await list('ann')]).toEqual([403, ['A']]);
  });
});

describe('a gate on a file of 0.12.4, with WAL', () => {
  let running: Awaited<ReturnType<typeof start>>;
  beforeAll(async () => void (running = await start('0.12.4')));
  afterAll(() => running[Symbol.asyncDispose]());

  test('sees every change of the members', async () => {
    const { list, use, command } = running;
    expect(await use('bob', 'A')).toBe(403);
    await command('member', 'add', 'bob', '--org', 'acme');
    expect([await use('bob', 'A'), await list('bob')]).toEqual([200, ['A']]);
    await command('member', 'remove', 'bob', '--org', 'acme');
    expect([await use('bob', 'A'), await list('bob')]).toEqual([403, []]);
    await command('member', 'remove', 'bob', '--purge', '--org', 'acme');
    await command('member', 'add', '--all', '--org', 'acme');
    expect([await use('bob', 'A'), await list('bob')]).toEqual([200, ['A']]);
    await command('member', 'remove', 'bob@example.org', '--purge', '--org', 'acme');
    expect([await use('bob', 'A'), await list('bob')]).toEqual([403, []]);
  });

  test('sees whom and what `init` links', async () => {
    const { database, list, use, command } = running;
    database.addModel({ id: 'F' });
    expect(await use('bob', 'F')).toBe(403);
    await command('init', '--org', 'globex', '--name', 'Globex');
    expect([await use('bob', 'F'), await list('bob')]).toEqual([200, ['F']]);
  });

  test('sees whom and what `migrate` links, with a backup made while it runs', async () => {
    const { database, list, use, command } = running;
    database.addUser({ id: 'late' });
    database.addModel({ id: 'acme/one' });
    expect(await use('late', 'acme/one')).toBe(403);
    await command('migrate', '--org', 'initech', '--name', 'Initech');
    expect([await use('late', 'acme/one'), await list('late')]).toEqual([200, ['F', 'acme/one']]);
  });

  test('explains a decision by the id that the user was told', async () => {
    const { refused, command, adminUrl, database } = running;
    const id = await refused('ann', 'secret-model');
    const printed = await command('explain', id, '--admin-url', adminUrl);
    expect(printed).toMatch(/^decision +deny \(not_granted\): no organization of the user grants this model\n/);
    expect(printed).toMatch(/^user +ann <ann@example\.org>, role user$/m);
    expect(printed).toMatch(/^organizations +acme/m);
    expect(printed).toMatch(/^request +POST \/api\/chat\/completions 403$/m);
    expect(printed).toMatch(/^Now: deny\. /m);
    await command('model', 'allow', 'secret-model', '--org', 'acme');
    const told = JSON.parse(await command('explain', id, '--admin-url', adminUrl, '--json')) as object;
    expect(told).toMatchObject({
      id,
      decision: 'deny',
      reason: 'not_granted',
      enforced: true,
      user: { id: 'ann', email: 'ann@example.org', role: 'user' },
      model: 'secret-model',
      status: 403,
      gate: adminUrl,
      now: { decision: 'permit', reason: 'grant' },
    });
    // the record of the gate itself names no address and no person
    const record = await (await fetch(`${adminUrl}/decisions/${id}`)).text();
    expect(record).not.toContain('ann@example.org');
    const gone = await runCommand(['explain', 'd-0123456789', '--admin-url', adminUrl, '--database', database.path]);
    expect(gone).toMatchObject({ code: 1, stdout: '' });
    expect(gone.stderr).toContain(`The gate at ${adminUrl} does not keep "d-0123456789" any more, or never made it`);
    expect(gone.stderr).toMatch(/it has the last \d+ decisions since 20\d\d-/);
    expect(await runCommand(['explain', 'gpt-4o', '--admin-url', adminUrl])).toMatchObject({ code: 2, stdout: '' });
  });

  test('keeps `restore` from its file, and is named', async () => {
    const { database, use } = running;
    const folder = join(database.directory, 'backups');
    const words = ['--database', database.path];
    expect(await runCommand(['backup', folder, ...words])).toMatchObject({ code: 0 });
    const [file] = readdirSync(folder);
    const refused = await runCommand(['restore', join(folder, file!), '--yes', ...words]);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toMatch(
      /webui\.db is in use by .*process \d+ \(\S*node \S*main\.ts serve\).*Stop the backend and the gate/,
    );
    expect(await use('late', 'acme/one')).toBe(200);
  });
});
