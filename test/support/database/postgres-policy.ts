/** What a backend and an operator write into a PostgreSQL database of a test. */
import type pg from 'pg';
import { type PostgresAddress, parsePostgresUrl } from '../../../src/config/postgres-url.ts';
import { initializePostgres } from '../../../src/store/postgres/initialize.ts';
import type { PostgresDatabase } from '../postgres.ts';

const SECONDS = 1_700_000_000;

/** SQLite does not enforce them: tests store what belongs to no one. */
export const WITHOUT_FOREIGN_KEYS = `DO $$ DECLARE one record; BEGIN
  FOR one IN SELECT conrelid::regclass AS owner, conname FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace
  LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', one.owner, one.conname); END LOOP;
END $$`;

export function addressOf(url: string, schema?: string): PostgresAddress {
  const address = parsePostgresUrl(url);
  if (typeof address === 'string') throw new Error(address);
  return schema === undefined ? address : { ...address, schema };
}

/** A database with our tables, in which the users are of acme, and acme has the model. @returns its policy */
export async function policyOfAcme(database: PostgresDatabase, users: readonly string[], model: string) {
  const policy = policyOf(database);
  await policy.initialize();
  for (const user of users) {
    await policy.addUser(user);
    await policy.addMember('acme', user);
  }
  await policy.grant('acme', model);
  return policy;
}

/** Rows of the tables, as the real backend and `modelgate` write them. */
export function policyOf({ sql, schema }: Pick<PostgresDatabase, 'sql' | 'schema'>) {
  const run = async (text: string, ...values: unknown[]): Promise<pg.QueryResult> => sql.query(text, values);
  const insert = (table: string, row: Readonly<Record<string, unknown>>) => {
    const names = Object.keys(row);
    const places = names.map((_, at) => `$${at + 1}`);
    return run(`INSERT INTO ${table} (${names.join(', ')}) VALUES (${places.join(', ')})`, ...Object.values(row));
  };
  const isOld = async (): Promise<boolean> => {
    const { rows } = await run(
      "SELECT 1 FROM pg_attribute WHERE attrelid = '\"user\"'::regclass AND attname = 'api_key'",
    );
    return rows.length > 0;
  };
  return {
    run,
    /** Our tables, triggers and views. */
    initialize: () =>
      initializePostgres(async (text, values) => (await sql.query(text, [...(values ?? [])])).rows as never, schema),
    addUser: async (id: string, role = 'user') => {
      const times = { created_at: SECONDS, updated_at: SECONDS, last_active_at: SECONDS };
      await insert('"user"', {
        id,
        name: id,
        email: `${id}@example.org`,
        role,
        profile_image_url: '/user.png',
        ...times,
      });
      return id;
    },
    addApiKey: async (user: string, key: string) =>
      (await isOld())
        ? run('UPDATE "user" SET api_key = $2 WHERE id = $1', user, key)
        : insert('api_key', { id: `key_${key}`, user_id: user, key, created_at: SECONDS, updated_at: SECONDS }),
    addModel: (id: string, base: string | null = null, params: unknown = {}, owner = 'admin') => {
      const row = { id, user_id: owner, base_model_id: base, name: id, params: JSON.stringify(params), meta: '{}' };
      return insert('model', { ...row, is_active: true, created_at: SECONDS, updated_at: SECONDS });
    },
    addMember: (organization: string, user: string, active: number | null = 1, joinedAt: number | null = SECONDS) => {
      const row = { id: `om_${user}_${organization}`, organization_id: organization, user_id: user };
      return insert('organization_members', { ...row, is_active: active, joined_at: joinedAt });
    },
    removeMember: (organization: string, user: string) =>
      run('DELETE FROM organization_members WHERE organization_id = $1 AND user_id = $2', organization, user),
    grant: (organization: string, model: string, active: number | null = 1) => {
      const row = { id: `orgmod_${organization}_${model}`, organization_id: organization, model_id: model };
      return insert('organization_models', { ...row, is_active: active, created_at: SECONDS, updated_at: SECONDS });
    },
    withdraw: (organization: string, model: string) =>
      run(
        'UPDATE organization_models SET is_active = 0 WHERE organization_id = $1 AND model_id = $2',
        organization,
        model,
      ),
    addClientOrganization: async (id: string, active: number | boolean | null, isBoolean = false) => {
      await run(`CREATE TABLE IF NOT EXISTS client_organizations (
        id text PRIMARY KEY, name text NOT NULL, openrouter_api_key text, monthly_limit real, timezone text,
        is_active ${isBoolean ? 'boolean' : 'integer'})`);
      const row = { id, name: `Name of ${id}`, openrouter_api_key: `provider-key-of-${id}`, is_active: active };
      await insert('client_organizations', row);
    },
    switchOrganization: (id: string, active: number) =>
      run('UPDATE client_organizations SET is_active = $2 WHERE id = $1', id, active),
  };
}
