/** Each release serves on PostgreSQL, and the gate holds there what it holds on a file. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../support/process/with-timeout.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { reachedBy } from './attack.ts';
import { PRESET_ATTACKS } from './attacks-preset.ts';
import { STORED_ATTACKS } from './attacks-stored.ts';
import { call, createApiKey, listModelIds, send, signIn, signUp, through } from './backend-client.ts';
import { createAutomation, createPreset } from './backend-content.ts';
import { ORGANIZATION, REFUSED, answered, ask, startPostgresWorld } from './postgres-world.ts';
import { RELEASES } from './release.ts';
import { type Tenants, NO_LIMITS, startTenants } from './tenants.ts';

let server: PostgresServer;
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server[Symbol.asyncDispose]());

// 0.6.18 makes its tables in the first schema of the role's search path, and then looks for them in DATABASE_SCHEMA
describe.each(RELEASES)('Open WebUI %s on PostgreSQL', (version) => {
  const schema = version === '0.12.4' ? 'chat' : 'public';
  let world: Awaited<ReturnType<typeof startPostgresWorld>>;
  beforeAll(async () => {
    world = await startPostgresWorld(server, { version, schema });
    await world.command('model', 'allow', 'alpha', 'beta');
  });
  afterAll(() => world[Symbol.asyncDispose]());
  beforeEach(() => world.provider.reset());

  it('has the tables of the gate beside those of the backend', async () => {
    const { rows } = await world.sql.query<{ name: string }>(
      `SELECT table_name AS name FROM information_schema.tables
       WHERE table_schema = $1 AND table_name IN ('user', 'organization_members', 'organization_models') ORDER BY 1`,
      [schema],
    );
    expect(rows.map(({ name }) => name)).toEqual(['organization_members', 'organization_models', 'user']);
  });

  it('lists and answers what is granted, to a session and to an API key, and refuses the rest', async () => {
    const key = { ...world.ann, token: await createApiKey(world.ann) };
    for (const account of [world.ann, key]) {
      expect((await listModelIds(account)).filter((id) => id !== 'arena-model').sort()).toEqual(['alpha', 'beta']);
      expect(await ask(account, 'alpha')).toEqual(answered('alpha'));
      expect(await ask(account, 'gamma')).toEqual(REFUSED);
    }
    expect(world.provider.asked()).toEqual(['alpha']);
  });

  it('enrols who signs up through the gate', async () => {
    const bob = await signUp(world.gate.url, { name: 'Bob', email: 'bob@acme.example' });
    expect(await listModelIds(bob)).toContain('alpha');
    expect(await ask(bob, 'alpha')).toEqual(answered('alpha'));
    const members = 'SELECT organization_id AS id FROM organization_members WHERE user_id = $1 AND is_active = 1';
    expect((await world.sql.query(members, [bob.id])).rows).toEqual([{ id: ORGANIZATION }]);
  });

  it('knows of a grant, taken away by a command or by hand, on the next request', async () => {
    const byHand = (active: number) =>
      world.sql.query('UPDATE organization_models SET is_active = $1 WHERE model_id = $2', [active, 'beta']);
    for (let round = 0; round < 3; round += 1) {
      await world.command('model', 'deny', 'beta');
      expect(await ask(world.ann, 'beta')).toEqual(REFUSED);
      await world.command('model', 'allow', 'beta');
      expect(await ask(world.ann, 'beta')).toEqual(answered('beta'));
      await byHand(0);
      expect([await ask(world.ann, 'beta'), await listModelIds(world.ann)]).toEqual([
        REFUSED,
        expect.not.arrayContaining(['beta']),
      ]);
      await byHand(1);
      expect(await ask(world.ann, 'beta')).toEqual(answered('beta'));
    }
    expect(world.provider.requests.filter(({ method }) => method === 'POST')).toHaveLength(6);
  });

  it('judges a preset by its base when it runs', async () => {
    await createPreset(world.ann, { id: 'helper', base_model_id: 'beta' });
    expect(await ask(world.ann, 'helper')).toEqual(answered('beta'));
    await world.command('model', 'deny', 'beta');
    expect(await ask(world.ann, 'helper')).toEqual(REFUSED);
    await world.command('model', 'allow', 'beta');
  });

  it('asks the provider for nothing that only the provider door can see', async () => {
    const behind = through(world.ann, world.backend.url);
    expect(await ask(behind, 'alpha')).toEqual(answered('alpha'));
    expect(await ask(behind, 'gamma')).toMatchObject({ speaks: undefined });
    expect(world.provider.asked()).toEqual(['alpha']);
  });

  if (version === '0.6.18') return;

  it('runs an automation as long as its model is granted', async () => {
    const automation = await createAutomation(world.ann, 'beta');
    const run = (url: string) => send(through(world.ann, url), 'POST', `/api/v1/automations/${automation}/run`);
    expect((await run(world.gate.url)).status).toBe(200);
    await world.provider.arrival(({ models }) => models.includes('beta'), 20_000);
    await world.command('model', 'deny', 'beta');
    world.provider.reset();
    expect((await run(world.gate.url)).status).toBe(403);
    // as the scheduler of the backend does it, past the front door
    expect((await run(world.backend.url)).status).toBe(200);
    const denial = /"door":"provider".*"decision":"deny".*"model":"beta"/;
    await until(() => denial.test(world.gate.log()), 20_000, 'the provider door refuses the automation');
    expect(world.provider.asked()).toEqual([]);
    await world.command('model', 'allow', 'beta');
  });

  it('ends all sessions of a user with the password, at the gate as at the backend', async () => {
    const person = { name: 'Cleo', email: 'cleo@acme.example' };
    const cleo = await signUp(world.gate.url, person);
    expect(await ask(cleo, 'alpha')).toEqual(answered('alpha'));
    const change = { password: cleo.password, new_password: 'Another-horse-8' };
    await call(cleo, 'POST', '/api/v1/auths/update/password', change);
    const old = await Promise.all(
      [world.gate.url, world.backend.url].map(async (url) => (await ask(through(cleo, url), 'alpha')).status),
    );
    expect(old).toEqual([401, 401]);
    // the gate itself: a model that is denied is 403 to whom it knows
    expect(await ask(cleo, 'gamma')).toMatchObject({ status: 401 });
    const again = await signIn(world.gate.url, { ...person, password: 'Another-horse-8' });
    expect(await ask(again, 'alpha')).toEqual(answered('alpha'));
  });

  it('takes the role of this moment, as the backend does', async () => {
    const dan = await signUp(world.gate.url, { name: 'Dan', email: 'dan@acme.example' });
    const become = (role: string) => world.sql.query('UPDATE "user" SET role = $1 WHERE id = $2', [role, dan.id]);
    expect(await ask(dan, 'alpha')).toEqual(answered('alpha'));
    await become('pending');
    world.provider.reset();
    expect(await ask(dan, 'alpha')).toMatchObject({ speaks: undefined });
    expect(world.provider.asked()).toEqual([]);
    await become('user');
    expect(await ask(dan, 'alpha')).toEqual(answered('alpha'));
  });
});

describe('what is stored in PostgreSQL, and run later by Open WebUI 0.12.4', () => {
  let tenants: Tenants;
  beforeAll(async () => {
    tenants = await startTenants({ version: '0.12.4', postgres: server, gateSettings: NO_LIMITS });
  });
  afterAll(() => tenants.close());

  const attacks = [...STORED_ATTACKS, ...PRESET_ATTACKS].filter(({ onlyOn }) => onlyOn?.includes('0.12.4') !== false);
  it.each(attacks)('no forbidden model is reached by $name', async ({ run }) => {
    expect(await reachedBy(run, tenants)).toEqual([]);
  });
});
