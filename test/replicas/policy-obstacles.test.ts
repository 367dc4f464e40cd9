/** What stands in the way of one gate on PostgreSQL: locks, rights, a migration under it, a server that is frozen. */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openStore } from '../support/database/opened-store.ts';
import { addressOf, policyOf, policyOfAcme } from '../support/database/postgres-policy.ts';
import { serveModelgate } from '../support/gate/gate-process.ts';
import { TEST_SECRET, mintSession } from '../support/gate/session.ts';
import { PASSWORD, type PostgresDatabase, type PostgresServer, execute, startPostgres } from '../support/postgres.ts';
import { until } from '../support/process/with-timeout.ts';
import { startRecordingUpstream } from '../support/upstream/upstreams.ts';
import { TIMED } from './timed.ts';

const ACME = { organization: { id: 'acme', name: 'Acme' }, autoEnroll: true };

let server: PostgresServer;
beforeAll(async () => void (server = await startPostgres()));
afterAll(async () => server[Symbol.asyncDispose]());

/** Ada is of acme, which has `gpt`. @param grants of a role of the gate's own; left out, it has that of the backend */
async function world(options: Parameters<typeof openStore>[1] = {}, grants?: string) {
  const database = await server.createDatabase();
  const policy = await policyOfAcme(database, ['ada'], 'gpt');
  const opened = await openStore(addressOf(grants === undefined ? database.url : await asRole(database, grants)), {
    now: () => performance.now(),
    ...options,
  });
  return {
    ...{ database, policy, opened },
    [Symbol.asyncDispose]: async () => {
      await opened.store.close();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** @param grants statements with the right of the owner @returns the URL of a role that has nothing else */
async function asRole({ name, sql }: PostgresDatabase, grants: string): Promise<string> {
  await execute(server.url('postgres', 'postgres'), `CREATE ROLE gate_${name} LOGIN PASSWORD '${PASSWORD}'`);
  if (grants !== '') await sql.query(grants.replaceAll('THE_GATE', `gate_${name}`));
  return server.url(name, `gate_${name}`);
}

const SLACK_MS = 250;
const READS = 'GRANT SELECT ON ALL TABLES IN SCHEMA public TO THE_GATE';

test('enrolment waits a moment for a lock, says so, and is done when the user comes again', async () => {
  await using met = await world(ACME);
  const { database, policy, opened } = met;
  await policy.addUser('eve');
  await database.sql.query('BEGIN; LOCK TABLE organization_members IN SHARE ROW EXCLUSIVE MODE');
  const startedAt = performance.now();
  expect(await opened.effect('eve', 'gpt')).toBe('deny');
  // and not as long as a statement may take
  expect(performance.now() - startedAt).toBeLessThan(2_000);
  expect(opened.warnings.join('\n')).toContain('a new user could not be enrolled');
  // no one else waits
  expect(await opened.effect('ada', 'gpt')).toBe('permit');
  await database.sql.query('COMMIT');
  await until(async () => (await opened.effect('eve', 'gpt')) === 'permit', 10_000, 'eve is enrolled');
  const { rows } = await policy.run("SELECT organization_id FROM organization_members WHERE user_id = 'eve'");
  expect(rows).toEqual([{ organization_id: 'acme' }]);
});

test('a role that may only read decides, and says which right enrolment lacks', async () => {
  await using met = await world(ACME, READS);
  await met.policy.addUser('eve');
  expect(await met.opened.effect('ada', 'gpt')).toBe('permit');
  expect(await met.opened.effect('eve', 'gpt')).toBe('deny');
  expect(met.opened.warnings.join('\n')).toMatch(
    /could not be enrolled.*permission denied for table organization_members/,
  );
  expect((await met.opened.store.health()).writeProblem).toContain('permission denied');
});

test('a role that may read nothing gets the lines that give it its rights, and decides nothing', async () => {
  await using met = await world({}, '');
  await expect(met.opened.effect('ada', 'gpt')).rejects.toMatchObject({ code: 'policy_unavailable' });
  const { problem } = await met.opened.store.health();
  expect(problem).toMatch(/may not do this \(permission denied for .*GRANT SELECT ON ALL TABLES IN SCHEMA "public" TO/);
});

test('where rows may be hidden from its role, a gate decides nothing, until a policy shows it all of them', async () => {
  await using met = await world({ maxStaleMs: 0 }, READS);
  const { database, policy, opened } = met;
  await policy.addClientOrganization('acme', 0);
  await policy.run(`GRANT SELECT ON client_organizations TO gate_${database.name}`);
  await until(async () => (await opened.effect('ada', 'gpt')) === 'deny', 10_000, 'the organization is off');
  await policy.run('ALTER TABLE client_organizations ENABLE ROW LEVEL SECURITY');
  // it is noticed within a second; until then the row that switches it off is not seen
  await until(
    () =>
      opened.effect('ada', 'gpt').then(
        () => false,
        () => true,
      ),
    10_000,
    'nothing is decided',
  );
  expect((await opened.store.health()).problem).toMatch(
    /rows of the table client_organizations may be hidden from the role gate_\w+ by row level security$/,
  );
  await policy.run(`CREATE POLICY all_rows ON client_organizations FOR SELECT TO gate_${database.name} USING (true)`);
  await until(
    () =>
      opened.effect('ada', 'gpt').then(
        (effect) => effect === 'deny',
        () => false,
      ),
    10_000,
    'it is off',
  );
});

test('while there is nothing to read yet, each attempt gives its connection back', async () => {
  await using database = await server.createDatabase({ era: 'none' });
  using opened = await openStore(addressOf(database.url), { now: () => performance.now() });
  await sleep(2_000);
  expect((await opened.store.health()).problem).toContain('table user is missing');
  const open = `SELECT FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'modelgate%'`;
  const isFew = async () => ((await database.sql.query(open, [database.name])).rowCount ?? 0) < 4;
  // a session of the server ends after its connection
  await until(isFew, 5_000, 'few connections are open');
});

test('an id that is no text is named, with its column', async () => {
  await using database = await server.createDatabase();
  await database.sql.query('CREATE TABLE organization_members (id text, organization_id text, user_id uuid)');
  using opened = await openStore(addressOf(database.url), { now: () => performance.now() });
  await expect(opened.effect('ada', 'gpt')).rejects.toMatchObject({ code: 'policy_unavailable' });
  expect((await opened.store.health()).problem).toMatch(
    /in the schema public the column user_id of the table organization_members is of the type uuid, and not text$/,
  );
});

test('a migration that changes columns under the gate is followed, and no decision is wrong', async () => {
  await using met = await world();
  const { policy, opened } = met;
  expect(await opened.effect('ada', 'gpt')).toBe('permit');
  const changes = [
    'ALTER TABLE "user" ALTER COLUMN role TYPE text',
    'ALTER TABLE "user" ADD COLUMN added_by_a_release text',
    'ALTER TABLE model ALTER COLUMN base_model_id TYPE varchar(500)',
    'ALTER TABLE organization_models ALTER COLUMN model_id TYPE varchar(600)',
    'ALTER TABLE organization_members ALTER COLUMN is_active TYPE bigint',
  ];
  for (const change of changes) {
    await policy.run(change).catch(async () => {
      // our own views stand on it: the release would drop and make them anew
      await policy.run('DROP VIEW IF EXISTS user_available_models, user_model_access_report');
      await policy.run(change);
    });
    expect(await opened.effect('ada', 'gpt')).toBe('permit');
    await policy.withdraw('acme', 'gpt');
    expect(await opened.effect('ada', 'gpt')).toBe('deny');
    await policy.run('UPDATE organization_models SET is_active = 1');
  }
});

test('a frozen server delays no route that needs no policy', TIMED, async () => {
  await using database = await server.createDatabase();
  const policy = policyOf(database);
  await policy.initialize();
  await policy.addUser('ada');
  await using upstream = await startRecordingUpstream((_incoming, outgoing) => void outgoing.end('{}'));
  await using gate = await serveModelgate({
    MODELGATE_UPSTREAM_URL: upstream.origin,
    DATABASE_URL: database.url,
    WEBUI_SECRET_KEY: TEST_SECRET,
    MODELGATE_LIMIT_ADDRESS: 'off',
  });
  const ask = async (path: string, token?: string): Promise<readonly [status: number, ms: number]> => {
    const startedAt = performance.now();
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const { status } = await fetch(`${gate.url}${path}`, { headers });
    return [status, performance.now() - startedAt];
  };
  const token = await mintSession('ada');
  expect((await ask('/api/v1/chats/', token))[0]).toBe(200);
  server.signal('SIGSTOP');
  try {
    for (let round = 0; round < 5; round += 1) {
      for (const path of ['/', '/static/app.js', '/api/version', '/health', '/api/v1/auths/']) {
        const [status, ms] = await ask(path);
        expect([path, status, ms < SLACK_MS]).toEqual([path, 200, true]);
      }
    }
  } finally {
    server.signal('SIGCONT');
  }
});
